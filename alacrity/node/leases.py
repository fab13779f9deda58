"""
Renewals of leases and hints on a node: whichever member gets them, they go to the leader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from alacrity.cluster.notes import NoteRefused, Notes, NoteUnanswered
from alacrity.cluster.proposals import ProposalRefused
from alacrity.cluster.replica import Replica
from alacrity.health.lease_keeper import LeaseKeeper
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal

_log: Final = Logger()

ACKNOWLEDGED_WITHIN: Final = 1.5
"""Seconds for which the proof that a node leads is good enough to acknowledge a renewal. A new
leader grants so much more than a full lease, as the one before may have acknowledged renewals
for so long after it was deposed."""

_PROOF: Final = 0.6
"""Seconds that the proof may take, about."""

_ANSWER: Final = 0.8
"""Seconds that a leader has for its answer. Another may lead by then."""

_PATIENCE: Final = 2.0
"""Seconds that a renewal waits at most for a leader that answers: longer than an election."""

_PAUSE: Final = 0.1
"""Seconds between two attempts."""

_RENEW: Final = "renew"
_HINT: Final = "hint"


class Leases:
    """
    The renewals that come to this node, and those that come to the leader, if that is this node.
    """

    def __init__(self, replica: Replica, keeper: LeaseKeeper, clock: IReactorTime) -> None:
        self._clock = clock
        self._replica = replica
        self._keeper = keeper
        replica.notes.answer(_RENEW, self._renew)

    async def renew(self, id: str) -> Renewal:
        """
        Renew the lease of a server.

        @raise NoSuchServer: the server has to register again.
        @raise HasNoLease: it is registered without a lease.
        @raise ProposalRefused: there is no leader, or none that answers. Nothing happened, or
            the lease was renewed nevertheless; trying again is safe.
        """
        match await self._ask(id):
            case [int() | float() as lease, int() | float() as renew_after]:
                return Renewal(float(lease), float(renew_after))
            case "unknown":
                raise NoSuchServer(id)
            case "no lease":
                raise HasNoLease(id)
        raise ProposalRefused("the lease cannot be renewed: the leader's answer is not understood")

    def terms(self, asked: float) -> Renewal:
        """
        The terms of a lease that a registration asks for, for documents.

        @param asked: in seconds.
        """
        return self._keeper.terms(asked)

    async def _ask(self, id: str) -> Any:
        """
        Ask the leader, and if it does not answer, the one that leads then.

        @raise ProposalRefused: none has answered in time.
        """
        clock, replica = self._clock, self._replica
        deadline = clock.seconds() + _PATIENCE
        fault = "there is no leader"
        while True:
            leader = replica.leader_name
            if leader is not None:
                try:
                    return await replica.notes.ask(leader, _RENEW, id, timeout=_ANSWER)
                except NoteUnanswered as error:
                    fault = str(error)
            if clock.seconds() + _PAUSE > deadline:
                raise ProposalRefused(f"the lease cannot be renewed: {fault}")
            await deferLater(clock, _PAUSE)

    async def _renew(self, name: str, id: Any) -> Any:
        """
        Answer a member that has got a renewal.
        """
        if not isinstance(id, str):
            raise NoteRefused("an id must be text")
        proven = await self._replica.authority.prove(ACKNOWLEDGED_WITHIN, _PROOF)
        # The first leader may be deposed in a step that is not on disk yet, or may not serve.
        if not proven or not self._keeper.running or not self._replica.is_leader:
            raise NoteRefused("it is not the leader, or cannot tell whether it still is")
        # From here on without waiting: the proof is of this moment.
        try:
            renewal = self._keeper.renew(id)
        except NoSuchServer:
            return "unknown"
        except HasNoLease:
            return "no lease"
        return [renewal.lease, renewal.renew_after]


class Hints:
    """
    Hints of the data path that a server fails, on their way to the leader's checks. They may be
    lost.
    """

    def __init__(
        self, notes: Notes, leader: Callable[[], str | None], hint: Callable[[str], object]
    ) -> None:
        """
        @param leader: gives the name of the leader; L{None}: there is none.
        @param hint: tells the checks of this node, which run if it leads, of a server's id.
        """
        self._notes = notes
        self._leader = leader
        self._hint = hint
        notes.answer(_HINT, self._take)

    def send(self, id: str, reason: str) -> None:
        """
        Send the hint that a server fails.

        @param reason: in a few words.
        """
        leader = self._leader()
        if leader is not None:
            self._notes.tell(leader, _HINT, [id, reason])

    def _take(self, name: str, body: Any) -> None:
        match body:
            case [str() as id, str() as reason]:
                _log.debug(
                    "{name} hints that {server} fails: {reason}",
                    name=name,
                    server=id,
                    reason=reason,
                )
                self._hint(id)
            case _:
                raise NoteRefused("a hint must have an id and a reason")
