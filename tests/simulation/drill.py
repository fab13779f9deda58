"""
What must work in peace: the members hand over, each takes proposals, each reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.python.failure import Failure

from alacrity.cluster.replica import Refused
from alacrity.pool import HttpCheck, Register
from tests.simulation.nodes import Node
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.world import World

_PATIENCE: Final = 8.0
"""Seconds of virtual time for each step."""


class Drill:
    """
    One round through the members.
    """

    def __init__(
        self,
        world: World,
        ledger: RaftLedger,
        nodes: dict[str, Any],
        members: Callable[[], list[str]],
    ) -> None:
        self._world = world
        self._ledger = ledger
        self._nodes = nodes
        self._members = members

    def take_place(self, over: Callable[[], bool]) -> None:
        """
        Have two members lead in turn, and ask each for a change and a consistent read.
        """
        world = self._world
        names = [name for name in self._members() if isinstance(self._nodes[name], Node)]
        if not self._wait(lambda: self._follow_one(names), over, "the members follow one leader"):
            return
        for name in world.rng.sample(names, min(2, len(names))):
            if not self._hand_over(name, world.rng.choice(names), over):
                return
        results: dict[str, list[Any]] = {}
        for name in names:
            node = self._nodes[name]
            command = Register("10.0.0.1", 1, HttpCheck("/drill"), 1, world.now)
            request_id = f"drill-{name[1:]}"
            results |= {f"a read on {name}": [], request_id: []}
            node.barrier().addBoth(results[f"a read on {name}"].append)
            node.propose(command, request_id).addBoth(results[request_id].append)
        if not self._wait(lambda: all(results.values()), over, f"{len(results)} answers"):
            return
        for what, (result,) in results.items():
            if not isinstance(result, Failure):
                if what.startswith("drill"):
                    self._ledger.acknowledge(what)
            elif result.check(Refused) and what.startswith("drill"):
                self._ledger.refuse(what)

    def _follow_one(self, names: list[str]) -> bool:
        statuses = [
            node.replica.status()
            for node in map(self._nodes.__getitem__, names)
            if node.replica is not None and node.running
        ]
        return len(statuses) == len(names) and len(
            {(each.leader, each.term, each.stale) for each in statuses}
        ) == 1 == sum(self._nodes[name].leads for name in names)

    def _hand_over(self, target: str, through: str, over: Callable[[], bool]) -> bool:
        world = self._world
        asked = -1.0

        def led() -> bool:
            nonlocal asked
            node = self._nodes[through]
            if self._nodes[target].leads:
                return True
            if world.now > asked + 1.0 and node.replica is not None:
                asked = world.now
                try:
                    node.replica.hand_over(target)
                except Refused:
                    pass
            return False

        return self._wait(led, over, f"{target} leads, as {through} was asked for")

    def _wait(self, what: Callable[[], bool], over: Callable[[], bool], said: str) -> bool:
        world = self._world
        world.run(world.now + _PATIENCE, lambda: over() or what())
        if not over() and not what():
            self._ledger.violate(f"in peace, this does not come: {said}")
            return False
        return not over()
