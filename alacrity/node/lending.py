"""
A node's part in the lending of slots: it answers reports while it leads, and reports itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.cluster.lending import MOST_ENTRIES, Ledger, Report, SlotHolder, share
from alacrity.cluster.notes import LEAST_FORMAT, NoteRefused, NoteUnanswered
from alacrity.proxy.upstream.server import UpstreamServer

KIND: Final = "slots"
"""The notes that are L{Report}s, and are answered."""

LOOK_KIND: Final = "slots-look"
"""The notes by which the leader asks for a report now: some node needs slots."""

PERIOD: Final = 0.1
"""Seconds between two looks at whether to report."""

REPORT_EVERY: Final = 1.0
"""Seconds between two reports, where nothing waits and nothing is to be given back."""

ANSWER_WAIT: Final = 0.5
"""Seconds for which the answer to a report is awaited."""


class Noting(Protocol):
    """
    The notes between members; see L{alacrity.cluster.notes.Notes}.
    """

    def answer(self, kind: str, handler: Callable[[str, Any], Any]) -> None: ...

    def ask(self, node: str, kind: str, body: Any, *, timeout: float) -> Deferred[Any]: ...

    def tell(self, node: str, kind: str, body: Any) -> bool: ...


class Members(Protocol):
    """
    The cluster, as this node knows it; see L{alacrity.cluster.replica.Replica}.
    """

    @property
    def format(self) -> int: ...

    @property
    def is_leader(self) -> bool: ...

    @property
    def leader_name(self) -> str | None: ...

    @property
    def member_names(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> Noting: ...


class SlotLender:
    """
    The leader's side: keeps the ledger while this node leads.
    """

    def __init__(
        self,
        cluster: Members,
        *,
        servers: Callable[[], Collection[str]],
        cap_of: Callable[[str], int],
        clock: IReactorTime,
    ) -> None:
        """
        @param servers: gives the ids of the servers in the pool.
        @param cap_of: gives a server's cap by its id; 0: it has none.
        """
        self._cluster = cluster
        self._servers = servers
        self._cap_of = cap_of
        self._clock = clock
        self._ledger: Ledger | None = None
        self._looked = 0.0
        cluster.notes.answer(KIND, self._answer)

    def lead(self, leading: bool) -> None:
        """
        This node has begun to lead, or leads no more.
        """
        self._ledger = (
            Ledger(self._clock.seconds(), self._cluster.member_names, self._servers())
            if leading
            else None
        )

    def _answer(self, name: str, body: Any) -> dict[str, int]:
        if self._ledger is None or not self._cluster.is_leader:
            raise NoteRefused("this node does not lead")
        try:
            report = msgspec.convert(body, Report)
        except msgspec.ValidationError as error:
            raise NoteRefused(f"not a report of slots: {error}") from None
        now, members = self._clock.seconds(), self._cluster.member_names
        answer, lacks = self._ledger.report(now, name, report, members, self._cap_of)
        if lacks and now - self._looked >= PERIOD:
            self._looked = now
            for each in members:
                if each != name:
                    self._cluster.notes.tell(each, LOOK_KIND, None)
        return answer


class SlotBorrower:
    """
    A node's own side: reports what it holds and needs, and keeps to the answers.
    """

    _log = Logger()

    def __init__(
        self,
        cluster: Members,
        name: str,
        holder: SlotHolder,
        *,
        upstreams: Callable[[], Collection[UpstreamServer]],
        cap_of: Callable[[UpstreamServer], int],
        room_changed: Callable[[UpstreamServer], object],
        waiting: Callable[[], int],
        clock: IReactorTime,
    ) -> None:
        """
        @param name: this node's.
        @param upstreams: gives the servers; none, where each node has caps of its own.
        @param cap_of: gives a server's cap in the cluster; 0: it has none.
        @param room_changed: called with a server of which this node may have more or fewer
            requests than before.
        @param waiting: counts the requests that wait for room.
        """
        self._cluster = cluster
        self._name = name
        self._holder = holder
        self._upstreams = upstreams
        self._cap_of = cap_of
        self._room_changed = room_changed
        self._waiting = waiting
        self._clock = clock
        self._asking = False
        self._reported = 0.0
        self._is_due = True
        # The servers that the present round of reports has still to name.
        self._rest: list[UpstreamServer] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        cluster.notes.answer(LOOK_KIND, self._asked_to_look)

    def start(self) -> None:
        """Begin to report."""
        self._looking.start(PERIOD)

    def stop(self) -> None:
        """Report no more."""
        if self._looking.running:
            self._looking.stop()

    def _asked_to_look(self, name: str, body: Any) -> None:
        self._is_due = True
        if self._looking.running:
            self._look()

    def _look(self) -> None:
        now = self._clock.seconds()
        members = self._cluster.member_names
        if self._cluster.format < LEAST_FORMAT:
            shares = {
                upstream.id: share(self._name, members, self._cap_of(upstream))
                for upstream in self._upstreams()
                if self._cap_of(upstream)
            }
            self._limits_changed(self._holder.take_shares(shares))
            return
        if self._holder.is_isolated(now):
            caps = {upstream.id: self._cap_of(upstream) for upstream in self._upstreams()}
            self._limits_changed(
                self._holder.isolated(now, lambda id: share(self._name, members, caps.get(id, 0)))
            )
        if self._asking:
            return
        if self._is_due or self._rest or self._waiting() or now - self._reported >= REPORT_EVERY:
            self._report(now)

    def _report(self, now: float) -> None:
        leader = self._cluster.leader_name
        if leader is None:
            return
        self._is_due = False
        self._reported = now
        if not self._rest:
            self._rest = [each for each in self._upstreams() if self._cap_of(each)]
            self._holder.forget({each.id for each in self._rest})
        named, self._rest = self._rest[:MOST_ENTRIES], self._rest[MOST_ENTRIES:]
        report = self._holder.report(
            {each.id: each.active for each in named}, self._waiting(), is_complete=not self._rest
        )
        self._asking = True
        asked = self._cluster.notes.ask(
            leader, KIND, msgspec.to_builtins(report), timeout=ANSWER_WAIT
        )
        asked.addCallback(self._answered, report)
        asked.addErrback(self._unanswered)

    def _answered(self, body: Any, report: Report) -> None:
        self._asking = False
        answer = msgspec.convert(body, dict[str, int])
        changed = self._holder.answered(self._clock.seconds(), report, answer)
        # What is given up is to be said at once: another node may wait for it.
        self._is_due = any(
            0 != count < report.entries[id][0] for id, count in answer.items() if id in changed
        )
        self._limits_changed(changed)
        if self._is_due and self._looking.running:
            self._look()

    def _unanswered(self, failure: Failure) -> None:
        self._asking = False
        # The round begins anew: another leader may be asked next.
        self._rest = []
        if not failure.check(NoteUnanswered):
            self._log.failure("slots could not be borrowed", failure)

    def _limits_changed(self, ids: set[str]) -> None:
        if ids:
            for upstream in self._upstreams():
                if upstream.id in ids:
                    self._room_changed(upstream)
