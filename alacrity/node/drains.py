"""
The requests in flight of removed servers, on all nodes of the cluster.

Each node remembers the latest removals that it has applied, and tells others by notes how many
requests of a server it has in flight. While callers wait for some, the node that they have called
asks the others, about all of these servers at once, a few times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol, TypeAlias

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from alacrity.cluster.notes import NoteRefused, NoteUnanswered
from alacrity.management.documents.removals import (
    CannotWait,
    NodeDrain,
    RegisteredAgain,
    Removal,
)
from alacrity.node.data_path import InFlight
from alacrity.pool import Change, PoolView

POLL: Final = 0.2
"""Seconds between two rounds of asking all nodes."""

ANSWER: Final = 1.0
"""Seconds that a node has for its answer."""

PATIENCE: Final = 3.0
"""Seconds for which a node may be unreachable. Then callers are told so, if there is nothing else
to wait for."""

MOST_REMEMBERED: Final = 1024
"""Removals that are remembered at most."""

REMEMBERED: Final = 3600.0
"""Seconds for which a removal is remembered."""

_DRAIN: Final = "drain"


class DrainReport(msgspec.Struct, frozen=True, array_like=True):
    """
    A node's answer about one server.

    @ivar in_flight: the server's requests in flight.
    @ivar applied: whether the node has applied the removal.
    @ivar index: see L{Removal}; -1: the node remembers no removal.
    @ivar version: see L{Removal}.
    """

    in_flight: Annotated[int, msgspec.Meta(ge=0)]
    applied: bool
    index: int
    version: int | None


_Question: TypeAlias = tuple[str, int]
"""A server's id, and the index of its removal."""


class DrainNotes(Protocol):
    """
    The part of L{Notes<alacrity.cluster.notes.Notes>} that is used here.
    """

    def answer(self, kind: str, handler: Callable[[str, Any], Any]) -> None:
        """Have a kind of notes handled."""

    def ask(self, node: str, kind: str, body: Any, *, timeout: float) -> Deferred[Any]:
        """Ask another node."""


class RemovalMemory:
    """
    The latest removals that a node has applied. A node that is started anew knows those that are
    in the part of the log that it replays; for others, it asks the other nodes.
    """

    def __init__(self, view: PoolView, clock: IReactorTime) -> None:
        self._view = view
        self._clock = clock
        # In the order of the removals, each with its time.
        self._removals: dict[str, tuple[Removal, float]] = {}

    def changed(self, change: Change) -> None:
        """
        Note a change of the pool.
        """
        before, after = change.before, change.after
        if after is not None:
            if before is None:
                self._removals.pop(after.id, None)
            return
        assert before is not None
        self._removals.pop(before.id, None)
        removal = Removal(self._view.pool.index, before.version)
        self._removals[before.id] = (removal, self._clock.seconds())
        if len(self._removals) > MOST_REMEMBERED:
            del self._removals[next(iter(self._removals))]

    def get(self, id: str) -> Removal | None:
        """
        A server's latest removal; L{None}: it is not known, or was long ago.
        """
        removal, time = self._removals.get(id, (None, 0.0))
        if removal is not None and self._clock.seconds() - time > REMEMBERED:
            del self._removals[id]
            return None
        return removal


class _Wait:
    """
    A caller that waits for the requests of a removed server.

    @ivar nodes: the nodes, as far as they have told.
    @ivar ended: fires with the nodes, or fails.
    """

    def __init__(self, id: str, removal: Removal, nodes: Sequence[NodeDrain]) -> None:
        self.id = id
        self.removal = removal
        self.nodes = nodes
        self.ended: Deferred[Sequence[NodeDrain]] = Deferred()
        self._silent_since: dict[str, float] = {}

    def look(self, nodes: Sequence[NodeDrain], now: float) -> None:
        """
        Take the answers of a round, and end if there is nothing to wait for.
        """
        self.nodes = nodes
        silent = {each.name for each in nodes if each.in_flight is None}
        self._silent_since = {
            name: since for name, since in self._silent_since.items() if name in silent
        } | {name: now for name in silent if name not in self._silent_since}
        given_up = {name for name, since in self._silent_since.items() if now - since >= PATIENCE}
        if all(each.done or each.name in given_up for each in nodes):
            self.end()

    def end(self) -> None:
        """End with the present counts."""
        if not self.ended.called:
            self.ended.callback(self.nodes)

    def registered_again(self) -> None:
        """End: the server is in the pool again."""
        if not self.ended.called:
            self.ended.errback(RegisteredAgain())


class Drains:
    """
    Waits for the requests of removed servers on all nodes, and tells other nodes of this one's.
    """

    _log = Logger()

    def __init__(
        self,
        view: PoolView,
        notes: DrainNotes,
        name: str,
        members: Callable[[], Sequence[str]],
        in_flight: Callable[[str], InFlight],
        clock: IReactorTime,
        *,
        limit: int,
    ) -> None:
        """
        @param name: the name of this node.
        @param members: gives the names of all nodes.
        @param in_flight: counts this node's attempts under way with the servers of an id.
        @param limit: the callers that may wait at a time.
        """
        self._view = view
        self._notes = notes
        self._name = name
        self._members = members
        self._in_flight = in_flight
        self._clock = clock
        self._limit = limit
        self._memory = RemovalMemory(view, clock)
        self._waits: dict[_Wait, None] = {}
        self._asking = False
        self._stopped = False
        notes.answer(_DRAIN, self._answer)
        view.subscribe(self._changed)

    def __repr__(self) -> str:
        return f"<Drains of {self._name}: {len(self._waits)} wait>"

    def stop(self) -> None:
        """
        Answer all callers that wait. Further ones are refused.
        """
        self._stopped = True
        for wait in list(self._waits):
            wait.end()

    # For callers

    def removal(self, id: str) -> Removal | None:
        """
        A server's latest removal, as this node remembers it; L{None}: it remembers none.
        """
        return self._memory.get(id)

    async def find(self, id: str) -> Removal | None:
        """
        A server's latest removal, as any node remembers it; or, if a node has requests of a
        server that has left the pool, what is known of that. L{None}: there is none.
        """
        known = self._memory.get(id)
        if known is not None:
            return known
        answers = await self._ask_all([(id, 0)])
        reports = [each[0] for each in answers.values() if each]
        found = [Removal(each.index, each.version) for each in reports if each.index >= 0]
        if found:
            return max(found, key=lambda each: each.index)
        if any(each.in_flight for each in reports):
            return Removal(self._view.pool.index)
        return None

    async def wait(self, id: str, removal: Removal, seconds: float) -> Sequence[NodeDrain]:
        """
        Wait until all nodes have applied a removal and finished the server's requests; or some
        have, and the others are unreachable; or until the time is over.

        @return: the nodes.
        @raise RegisteredAgain: the server is in the pool again.
        @raise CannotWait: too many callers wait already, or this node stops.
        """
        if self._stopped:
            raise CannotWait("this node stops")
        if len(self._waits) >= self._limit:
            raise CannotWait(f"{self._limit} others wait already")
        if id in self._view.pool.servers:
            raise RegisteredAgain
        wait = _Wait(id, removal, [NodeDrain(name) for name in self._nodes()])
        self._waits[wait] = None
        late = self._clock.callLater(seconds, wait.end)
        if not self._asking:
            self._asking = True
            Deferred.fromCoroutine(self._ask_while_waiting()).addErrback(self._failed)
        try:
            return await wait.ended
        finally:
            del self._waits[wait]
            if late.active():
                late.cancel()

    def _changed(self, change: Change) -> None:
        self._memory.changed(change)
        if change.before is None and change.after is not None:
            id = change.after.id
            for wait in [each for each in self._waits if each.id == id]:
                wait.registered_again()

    # Asking

    def _nodes(self) -> Sequence[str]:
        """
        The names of all nodes. One that was removed from the cluster still counts itself.
        """
        members = self._members()
        return members if self._name in members else (self._name, *members)

    async def _ask_while_waiting(self) -> None:
        try:
            while self._waits:
                await self._ask_once()
                if self._waits:
                    await deferLater(self._clock, POLL)
        finally:
            self._asking = False

    def _failed(self, failure: Any) -> None:
        self._log.failure("the requests of removed servers cannot be counted", failure)
        for wait in list(self._waits):
            wait.end()

    async def _ask_once(self) -> None:
        """
        Ask all nodes about all servers that callers wait for.
        """
        waits = list(self._waits)
        answers = await self._ask_all([(each.id, each.removal.index) for each in waits])
        now = self._clock.seconds()
        for at, wait in enumerate(waits):
            if wait in self._waits:
                wait.look([_node(name, answers[name], at) for name in answers], now)

    async def _ask_all(self, questions: Sequence[_Question]) -> dict[str, list[DrainReport] | None]:
        """
        Ask all nodes.

        @return: for each node one report for each question; L{None}: it did not answer.
        """
        names = list(self._nodes())
        others = [name for name in names if name != self._name]
        body = [list(each) for each in questions]
        results = await DeferredList(
            [self._notes.ask(name, _DRAIN, body, timeout=ANSWER) for name in others],
            consumeErrors=True,
        )
        answers: dict[str, list[DrainReport] | None] = dict.fromkeys(names)
        answers[self._name] = [self._report(*each) for each in questions]
        for name, (succeeded, result) in zip(others, results, strict=True):
            if succeeded:
                answers[name] = _read_reports(result, len(questions))
            else:
                result.trap(NoteUnanswered)
        return answers

    # Answering

    def _answer(self, sender: str, body: Any) -> list[Any]:
        try:
            questions = msgspec.convert(body, list[_Question])
        except msgspec.ValidationError as error:
            raise NoteRefused(f"malformed: {error}") from None
        return [msgspec.to_builtins(self._report(*each)) for each in questions]

    def _report(self, id: str, index: int) -> DrainReport:
        in_flight = self._in_flight(id)
        applied = self._view.pool.index >= index
        removal = self._memory.get(id)
        return DrainReport(
            in_flight.removed + (0 if applied else in_flight.present),
            applied,
            -1 if removal is None else removal.index,
            None if removal is None else removal.version,
        )


def _node(name: str, reports: list[DrainReport] | None, at: int) -> NodeDrain:
    if reports is None:
        return NodeDrain(name)
    return NodeDrain(name, reports[at].in_flight, reports[at].applied)


def _read_reports(body: Any, count: int) -> list[DrainReport] | None:
    """
    Read a node's answer; L{None}: it is not valid.
    """
    try:
        reports = msgspec.convert(body, list[DrainReport])
    except msgspec.ValidationError:
        return None
    return reports if len(reports) == count else None
