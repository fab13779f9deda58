"""
Clients, who register and remove servers through any node, and try again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from twisted.python.failure import Failure

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.pool import (
    Command,
    Deregister,
    HttpCheck,
    Register,
    Report,
    State,
    format_of,
    server_id,
)
from tests.simulation.newer import Touch, new_command
from tests.simulation.operators import Operators
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.world import World

_LATEST: Final = 700
"""From how many of the latest requests a repeat is chosen. 2,048 are remembered, and others
come while it is under way."""

_STATES: Final = (State.PENDING, State.UP, State.DOWN)
"""Those of format 1."""


class Client:
    """
    One after the other, it makes requests, each until it is answered or given up.
    """

    def __init__(
        self,
        world: World,
        ledger: RaftLedger,
        name: str,
        nodes: Callable[[], list[Any]],
        pause: tuple[float, float],
        barriers: float,
        newer: float,
        version: int,
        repeats: float,
        operators: Operators | None,
        administration: float,
    ) -> None:
        """
        @param nodes: those that run.
        @param barriers: the share of consistent reads.
        @param newer: the share of commands that only newer nodes understand.
        @param version: those nodes'.
        @param repeats: the share of requests that were acknowledged before.
        @param operators: who make a share of the commands.
        @param administration: that share.
        """
        self._operators = operators
        self._administration = administration
        self._version = version
        self._world = world
        self._ledger = ledger
        self._name = name
        self._nodes = nodes
        self._pause = pause
        self._barriers = barriers
        self._newer = newer
        self._repeats = repeats
        self._count = 0
        self._began = 0
        self.stopped = False
        self.idle = True
        self._next()

    def _next(self) -> None:
        self.idle = True
        world = self._world
        world.schedule(world.rng.uniform(*self._pause), world.outside, self._begin)

    def _begin(self) -> None:
        if self.stopped:
            return
        self.idle = False
        if self._world.rng.random() < self._barriers:
            self._read()
            return
        if self._repeats and self._world.rng.random() < self._repeats:
            self._repeat()
            return
        self._count += 1
        command, newer = self._command()
        request_id = f"{self._name}-{self._count}"
        if newer:
            self._ledger.newer.add(request_id)
        if self._repeats:
            self._ledger.commands[request_id] = command
        self._began = self._ledger.newest_acknowledged
        self._ask(request_id, command, 0, doubt=False)

    def _command(self) -> tuple[Command | Touch, bool]:
        """
        A command, and whether it is one of the newer version.
        """
        rng = self._world.rng
        port = rng.randint(1, 6)
        at = self._world.now
        if self._newer and rng.random() < self._newer:
            return new_command(self._version, port, at), True
        if self._operators is not None and rng.random() < self._administration:
            command = self._operators.command(self._count)
            return command, format_of(command) > 1
        kind = rng.random()
        if kind < 0.6:
            register = Register("10.0.0.1", port, HttpCheck(path=f"/{self._count}"), 1, at)
            return register, False
        id = server_id("10.0.0.1", port)
        if kind < 0.8:
            return Deregister(id, at, "asked"), False
        return Report(id, rng.randint(0, 30), rng.choice(_STATES), "said", at), False

    def _ask(self, request_id: str, command: Command | Touch, attempt: int, *, doubt: bool) -> None:
        world = self._world
        rng = world.rng
        nodes = [node for node in self._nodes() if not node.time.paused]
        if request_id in self._ledger.newer:
            # An old node has no way to ask for it.
            nodes = [node for node in nodes if node.version == self._version]
        if not nodes:
            self._over(request_id, doubt=doubt)
            return
        node = rng.choice(nodes)
        process = node.time
        answered = False

        def answer(result: Any) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            again = doubt
            if isinstance(result, Failure):
                if result.check(ProposalRefused, OutcomeUnknown) is None:
                    self._ledger.violate(f"{request_id}: {result.getTraceback()}")
                again = doubt or result.check(OutcomeUnknown) is not None
                if attempt < 3 and self._in_time(node) and rng.random() < 0.7:
                    world.schedule(
                        rng.uniform(0, 0.5),
                        world.outside,
                        lambda: self._ask(request_id, command, attempt + 1, doubt=again),
                    )
                else:
                    self._over(request_id, doubt=again)
                return
            self._ledger.acknowledge(request_id)
            self._ledger.shown(node.name, request_id, node.pool.index)
            self._next()

        def patience() -> None:
            # The node may have died with the request.
            if not answered:
                if not process.ended and not process.paused and node.time is process:
                    self._ledger.violate(f"{request_id}: no outcome in time from {node.name}")
                answer(Failure(OutcomeUnknown("no answer")))

        world.schedule(9.0, world.outside, patience)
        node.propose(command, request_id).addBoth(answer)
        if process.ended:
            answer(Failure(OutcomeUnknown("it died")))

    def _in_time(self, node: Any) -> bool:
        """
        Whether a repeat would be told for one.
        """
        passed = self._ledger.newest_acknowledged - self._began
        return bool(node.knows_requests) and passed < _LATEST // 2

    def _repeat(self) -> None:
        """
        Ask again for what was acknowledged, as late as it is promised to be told: it counts
        once.
        """
        world, ledger = self._world, self._ledger
        nodes = [node for node in self._nodes() if not node.time.paused]
        least = ledger.newest_acknowledged - _LATEST
        known = [
            each
            for each in islice(reversed(ledger.acknowledged), _LATEST)
            if ledger.applied_at[each] > least
        ]
        if not nodes or not known:
            self._next()
            return
        node = world.rng.choice(nodes)
        request_id = world.rng.choice(known)
        answered = False

        def answer(result: Any) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            if not isinstance(result, Failure):
                ledger.shown(node.name, request_id, node.pool.index)
            self._next()

        world.schedule(9.0, world.outside, lambda: answer(Failure(OutcomeUnknown("no answer"))))
        node.propose(ledger.commands[request_id], request_id).addBoth(answer)

    def _over(self, request_id: str, *, doubt: bool) -> None:
        if doubt:
            self._ledger.unknown[request_id] = None
        else:
            self._ledger.refuse(request_id)
        self._next()

    def _read(self) -> None:
        """
        A consistent read shows all that was acknowledged before it was asked for.
        """
        world = self._world
        nodes = [node for node in self._nodes() if not node.time.paused]
        if not nodes:
            self._next()
            return
        node = world.rng.choice(nodes)
        ledger = self._ledger
        wanted = ledger.newest_acknowledged
        committed = ledger.last_committed
        answered = False

        def answer(result: Any) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            if not isinstance(result, Failure):
                ledger.barriers += 1
                ledger.read(node.name, committed)
                ledger.expect(
                    node.pool.index >= wanted,
                    lambda: (
                        f"a consistent read on {node.name} shows index {node.pool.index}, and "
                        f"{wanted} was acknowledged before"
                    ),
                )
            elif result.check(ProposalRefused, OutcomeUnknown) is None:
                ledger.violate(f"barrier: {result.getTraceback()}")
            self._next()

        world.schedule(9.0, world.outside, lambda: answer(Failure(OutcomeUnknown("no answer"))))
        node.barrier().addBoth(answer)
