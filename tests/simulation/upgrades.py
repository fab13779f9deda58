"""
The upgrade of a cluster, one node at a time, by an operator who waits for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.cluster.log.formats import NAMING_FORMAT, NEWEST_FORMAT
from alacrity.cluster.proposals import ProposalRefused
from alacrity.pool import HttpCheck, Register
from tests.simulation.ledger import Ledger
from tests.simulation.newer import new_command
from tests.simulation.nodes import Node
from tests.simulation.world import World


class Upgrade:
    """
    Takes a cluster of two versions to the newer one, with a step back on the way. Until
    the last step, one node at least is old.
    """

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        nodes: dict[str, Node],
        versions: tuple[int, int],
        *,
        asks: bool,
    ) -> None:
        """
        To be made before the nodes start.

        @param versions: the older and the newer.
        @param asks: whether to propose a command that only the newer understands.
        """
        self._old, self._new = versions
        self._asks = asks
        self._world = world
        self._ledger = ledger
        self._nodes = nodes
        rng = world.rng
        names = rng.sample(sorted(nodes), len(nodes))
        new = names[: rng.randint(0, len(names) - 1)]
        for name, node in nodes.items():
            node.version = self._new if name in new else self._old
            if node.version == self._old:
                ledger.older.add(name)
        plan = names[len(new) :]
        back = rng.choice(names[:-1])
        # One goes back once it is new, and is upgraded again, perhaps as the last.
        again = rng.randint(max(0, names.index(back) + 1 - len(new)), len(plan) - 1)
        self._plan = [(name, self._new) for name in plan]
        self._plan.insert(again, (back, self._old))
        self._plan.insert(rng.randint(again + 1, len(self._plan)), (back, self._new))
        # The last step is sometimes left to peaceful times.
        self._left = rng.randint(0, 1)
        self._restarting = False
        self._mark = 0
        self._probes = 0

    def step(self) -> None:
        """
        Go on, if the last one is back and all is well.
        """
        if len(self._plan) > self._left and self._ready():
            self._go_on()

    def _go_on(self) -> None:
        world = self._world
        name, version = self._plan.pop(0)
        node = self._nodes[name]
        world.note(f"{name} gets version {version}")
        self._mark = max(
            node.replica.status().applied_index
            for node in self._nodes.values()
            if node.replica is not None
        )
        node.kill()
        node.version = version
        if version == self._old:
            self._ledger.older.add(name)
        else:
            self._ledger.older.discard(name)
        self._restarting = True

        def start() -> None:
            if not node.running:
                node.start()
            self._restarting = False

        world.schedule(world.rng.uniform(0.01, 1.0), world.outside, start)

    def _ready(self) -> bool:
        """
        Whether all nodes say that all is well, and have caught up since the last step.
        """
        leaders = set()
        for node in self._nodes.values():
            if not node.running or node.time.paused or node.replica is None:
                return False
            status = node.replica.status()
            if status.stale or status.applied_index < self._mark:
                return False
            leaders.add((status.leader, status.term))
        return not self._restarting and len(leaders) == 1

    def finish(self, over: Callable[[], bool]) -> None:
        """
        In peace: see that the old hold back what is new, and nothing else; take the last
        steps; see that what is new is accepted then.
        """
        while not over() and self._wait(over):
            if not self._plan:
                self._world.run(self._world.now + 1.0, over)
                self._expect_raised(over)
                for name in sorted(self._nodes) if self._asks else ():
                    self._ask(name, new_command(self._new, 1, self._world.now), over)
                return
            for name, node in sorted(self._nodes.items()):
                self._ask(
                    name,
                    Register("10.0.0.1", 1, HttpCheck("/probe"), 1, self._world.now),
                    over,
                )
                if node.version == self._new and self._asks:
                    self._ask(name, new_command(self._new, 1, self._world.now), over, refused=True)
            if not over() and self._wait(over):
                self._go_on()

    def _expect_raised(self, over: Callable[[], bool]) -> None:
        """
        See that the format is raised once all nodes are new, and that the cluster has an id if
        the format allows it.
        """
        format = min(self._new, NEWEST_FORMAT)

        def raised() -> bool:
            replicas = [node.replica for node in self._nodes.values()]
            return all(
                each is not None
                and each.format >= format
                and (format < NAMING_FORMAT or bool(each.greeting.cluster_id))
                for each in replicas
            )

        self._world.run(self._world.now + 5.0, lambda: over() or raised())
        if not over():
            self._ledger.expect(raised(), lambda: "the format is not raised, or there is no id")

    def _wait(self, over: Callable[[], bool]) -> bool:
        world = self._world
        world.run(world.now + 5.0, lambda: over() or self._ready())
        if not over():
            self._ledger.expect(self._ready(), lambda: "all is not well, 5 s after a restart")
        return not over()

    def _ask(
        self, name: str, command: Any, over: Callable[[], bool], *, refused: bool = False
    ) -> None:
        """
        Have a node propose a command, and see that it is accepted, or refused.
        """
        if over():
            return
        world, ledger = self._world, self._ledger
        self._probes += 1
        request_id = f"probe-{self._probes}"
        if not isinstance(command, Register):
            ledger.newer.add(request_id)
        results: list[Any] = []
        proposal: Deferred[Any] = self._nodes[name].propose(command, request_id)
        proposal.addBoth(results.append)
        world.run(world.now + 4.0, lambda: over() or bool(results))
        if over():
            return
        (result,) = results or (None,)
        if not isinstance(result, Failure):
            if result is not None:
                ledger.acknowledge(request_id)
        elif result.check(ProposalRefused):
            ledger.refuse(request_id)
        was = isinstance(result, Failure) and result.check(ProposalRefused) is not None
        if was != refused or result is None or (isinstance(result, Failure) and not was):
            ledger.violate(f"{command} through {name} came to {_said(result)}")


def _said(result: Any) -> str:
    return result.getErrorMessage() if isinstance(result, Failure) else str(result)
