"""
A drill in peace: the members hand over leadership, each takes proposals, each reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.cluster.proposals import ProposalRefused
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
        *,
        strict: bool,
    ) -> None:
        """
        @param members: their names.
        @param strict: whether links are so quick that all that is asked must succeed.
        """
        self._world = world
        self._ledger = ledger
        self._nodes = nodes
        self._members = members
        self._strict = strict
        self._round = 0
        self._names: list[str] = []

    def take_place(self, over: Callable[[], bool]) -> None:
        """
        Have two members lead in turn, and ask each for a change and a consistent read.
        """
        world = self._world
        self._names = names = [
            name for name in self._members() if isinstance(self._nodes[name], Node)
        ]
        if not self._wait(lambda: self._follow_one(names), over, "the members follow one leader"):
            return
        for name in world.rng.sample(names, min(2, len(names))):
            if not self._hand_over(name, world.rng.choice(names), over):
                return
        reads: dict[str, list[Any]] = {name: [] for name in names}
        for name, read in reads.items():
            self._nodes[name].barrier().addBoth(read.append)
        results = self._propose("last")
        if not self._wait(
            lambda: all(results.values()) and all(reads.values()), over, "answers of all members"
        ):
            return
        # In small slices over slow links, a snapshot may take longer than a proposal may.
        late = self._without_entries(names)
        self._judge(results, late)
        for name, (read,) in reads.items():
            if isinstance(read, Failure) and self._strict and name not in late:
                self._ledger.violate(f"in peace, a read on {name}: {read.getErrorMessage()}")

        if len(names) == 1:
            replica = self._nodes[names[0]].replica
            removal: list[Any] = []
            asked = Deferred.fromCoroutine(replica.remove_member(names[0]))
            asked.addBoth(removal.append)
            self._wait(lambda: bool(removal), over, "a word on the last member's removal")

    def _follow_one(self, names: list[str]) -> bool:
        statuses = [
            node.replica.status()
            for node in map(self._nodes.__getitem__, names)
            if node.replica is not None and node.running
        ]
        return len(statuses) == len(names) and len(
            {(each.leader, each.term, each.stale) for each in statuses}
        ) == 1 == sum(self._nodes[name].leads for name in names)

    def _without_entries(self, names: list[str]) -> set[str]:
        """
        The members that are behind the beginning of another member's log: they are being sent
        a snapshot.
        """
        engines = {name: self._nodes[name].replica._engine for name in names}
        first = max(engine.raft.log[0][1] for engine in engines.values())
        return {name for name, engine in engines.items() if engine.last_index < first}

    def _hand_over(self, target: str, through: str, over: Callable[[], bool]) -> bool:
        world = self._world
        asked = -1.0
        # What is proposed when the leader changes reaches the next one.
        results = self._propose(f"{target[1:]}{self._round}")
        self._round += 1

        def led() -> bool:
            nonlocal asked
            node = self._nodes[through]
            if self._nodes[target].leads:
                return True
            if world.now > asked + 1.0 and node.replica is not None:
                asked = world.now
                try:
                    node.replica.hand_over(target)
                except ProposalRefused:
                    pass
            return False

        return self._wait(led, over, f"{target} leads, as {through} was asked for") and self._wait(
            lambda: all(results.values()) and self._judge(results), over, "answers at a hand-over"
        )

    def _propose(self, label: str) -> dict[str, list[Any]]:
        """
        Ask each member for a change.

        @return: by request id, what will come of it.
        """
        results: dict[str, list[Any]] = {}
        for name in self._names:
            command = Register("10.0.0.1", 1, HttpCheck(f"/{label}"), 1, self._world.now)
            request_id = f"drill{label}{name}-1"
            results[request_id] = []
            self._nodes[name].propose(command, request_id).addBoth(results[request_id].append)
        return results

    def _judge(self, results: dict[str, list[Any]], late: Collection[str] = ()) -> bool:
        """
        @param late: members whose proposals may have no known outcome.
        """
        for request_id, (result,) in results.items():
            is_late = any(request_id.endswith(f"{name}-1") for name in late)
            if not isinstance(result, Failure):
                self._ledger.acknowledge(request_id)
            elif self._strict and not is_late:
                self._ledger.violate(f"in peace, {request_id} came to: {result.getErrorMessage()}")
            elif result.check(ProposalRefused):
                self._ledger.refuse(request_id)
        return True

    def _wait(self, what: Callable[[], bool], over: Callable[[], bool], said: str) -> bool:
        world = self._world
        world.run(world.now + _PATIENCE, lambda: over() or what())
        if not over() and not what():
            self._ledger.violate(f"in peace, this does not come: {said}")
            return False
        return not over()
