"""
Second opinions by notes: this node asks the other members while it leads, and answers the one
that leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Annotated, Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from alacrity.cluster.notes import LEAST_FORMAT, NoteRefused
from alacrity.cluster.proposals import ProposalRefused
from alacrity.health.witness import MOST_QUESTIONS, Witness
from alacrity.node.lending import Noting
from alacrity.pool import Server
from alacrity.pool.model import SHORTEST_TIMEOUT

KIND: Final = "witness"
"""The notes that are L{Questions}, and are answered."""

HANDED_OVER_KIND: Final = "sight"
"""The notes by which a leader tells all members that it hands over since another member sees
more: the next leader must not hand over again soon. The next leader has the note before it is
asked to take over, as both come on one connection."""

ANSWER_WAIT: Final = 0.5
"""Seconds for which an answer is awaited after the time limit of the checks."""

HAND_OVER_ATTEMPTS: Final = 3
"""How often a member is asked to take over. It may miss the end of the log at first."""

HAND_OVER_TIME: Final = 1.0
"""Seconds that a hand-over may take, before it is tried again."""

_LONGEST_TIMEOUT: Final = 86400.0


class Questions(msgspec.Struct, frozen=True, array_like=True):
    """
    The question that the leader asks a witness.

    @ivar timeout: seconds for each check.
    @ivar servers: the ids of the servers, with the revisions of their registrations.
    """

    timeout: Annotated[float, msgspec.Meta(ge=SHORTEST_TIMEOUT, le=_LONGEST_TIMEOUT)]
    servers: Annotated[list[tuple[str, int]], msgspec.Meta(max_length=MOST_QUESTIONS)]


class Cluster(Protocol):
    """
    The cluster, as this node knows it; see L{alacrity.cluster.replica.Replica}.
    """

    @property
    def format(self) -> int: ...

    @property
    def is_leader(self) -> bool: ...

    @property
    def member_names(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> Noting: ...

    def hand_over(self, target: str | None = None) -> None: ...


class NodeWitnesses:
    """
    The other members as witnesses, and this node as one.
    """

    _log = Logger()

    def __init__(
        self, cluster: Cluster, name: str, witness: Witness, *, are_asked: bool, clock: IReactorTime
    ) -> None:
        """
        @param name: this node's.
        @param are_asked: whether this node asks others while it leads.
        """
        self._cluster = cluster
        self._name = name
        self._witness = witness
        self._are_asked = are_asked
        self._clock = clock
        self._handed_over = -inf
        cluster.notes.answer(KIND, self._answer)
        cluster.notes.answer(HANDED_OVER_KIND, self._note_hand_over)

    # This node asks

    @property
    def others(self) -> list[str]:
        """See L{Witnesses<alacrity.health.witness.Witnesses>}."""
        cluster = self._cluster
        if not self._are_asked or cluster.format < LEAST_FORMAT:
            return []
        return [each for each in cluster.member_names if each != self._name]

    @property
    def settled_for(self) -> float:
        """See L{Witnesses<alacrity.health.witness.Witnesses>}."""
        return self._clock.seconds() - self._handed_over

    def ask(
        self, name: str, servers: Sequence[Server], timeout: float
    ) -> Deferred[dict[str, bool]]:
        """See L{Witnesses<alacrity.health.witness.Witnesses>}."""
        questions = Questions(timeout, [(each.id, each.revision) for each in servers])
        asking = self._cluster.notes.ask(
            name, KIND, msgspec.to_builtins(questions), timeout=timeout + ANSWER_WAIT
        )
        return asking.addCallback(msgspec.convert, dict[str, bool])

    def hand_over(self, name: str) -> None:
        """See L{Witnesses<alacrity.health.witness.Witnesses>}."""
        self._handed_over = self._clock.seconds()
        for each in self.others:
            self._cluster.notes.tell(each, HANDED_OVER_KIND, None)
        self._try_to_hand_over(name, HAND_OVER_ATTEMPTS)

    def _try_to_hand_over(self, name: str, attempts: int) -> None:
        try:
            self._cluster.hand_over(name)
        except ProposalRefused as error:
            self._log.warn("{name} cannot take over: {error}", name=name, error=str(error))
            return
        if attempts > 1:
            self._clock.callLater(HAND_OVER_TIME, self._hand_over_again, name, attempts - 1)

    def _hand_over_again(self, name: str, attempts: int) -> None:
        if self._cluster.is_leader:
            self._try_to_hand_over(name, attempts)

    # This node is asked

    async def _answer(self, name: str, body: Any) -> dict[str, bool]:
        try:
            questions = msgspec.convert(body, Questions)
        except msgspec.ValidationError as error:
            raise NoteRefused(f"these are no questions about servers: {error}") from None
        return await self._witness.check(questions.servers, questions.timeout)

    def _note_hand_over(self, name: str, body: Any) -> None:
        self._handed_over = self._clock.seconds()
