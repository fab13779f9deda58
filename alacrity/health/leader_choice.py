"""
Leadership by sight: a leader that does not reach servers that other members reach hands over to
one that reaches more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf
from random import Random
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from alacrity.health.inquiry import MOST_ASKED, ask_members
from alacrity.health.opinions import Sight, SightOf, better_leaders
from alacrity.health.watch import Watch
from alacrity.health.witness import Witnesses
from alacrity.pool import State

LEAST_BETWEEN: Final = 60.0
"""Seconds between two hand-overs by sight in a cluster, at the least."""

SURVEY_INTERVAL: Final = 3.0
"""Seconds between two surveys, at the least."""

CONFIRMATION: Final = 1.0
"""Seconds after which a survey is repeated: a member must be better twice, so that a server that
answers now and then moves nothing."""

_LONGEST_CHECK: Final = 10.0
"""Seconds that a check in a survey may take at most."""


class LeaderChoice:
    """
    Finds out which member sees more than this node, while this node leads, and hands over to it.
    """

    _log = Logger()

    def __init__(
        self,
        witnesses: Witnesses,
        disputes: Callable[[], Sequence[Watch]],
        *,
        clock: IReactorTime,
        rng: Random,
        only_leader: bool,
        least_between: float,
    ) -> None:
        """
        @param disputes: gives the servers that fail their checks here, and that other members
            reach.
        @param only_leader: whether the leader alone serves. Then one server more is reason
            enough to hand over.
        @param least_between: seconds between two hand-overs, at the least.
        """
        self._witnesses = witnesses
        self._disputes = disputes
        self._clock = clock
        self._rng = rng
        self._only_leader = only_leader
        self._least_between = least_between
        self._watches: Callable[[], Collection[Watch]] = tuple
        self._surveyed = -inf
        self._is_asking = False
        # The members that were better at the last survey.
        self._better: set[str] = set()
        self._leadership = 0
        self._later: IDelayedCall | None = None

    def start(self, watches: Callable[[], Collection[Watch]]) -> None:
        """
        Start, since this node has become the leader.

        @param watches: gives all servers that are checked.
        """
        self._watches = watches
        self._better.clear()
        self._surveyed = -inf
        self._is_asking = False
        self._leadership += 1

    def stop(self) -> None:
        """
        Stop: this node leads no more.
        """
        self._leadership += 1
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def consider(self) -> None:
        """
        Find out soon whether another member sees more: a server is in dispute.
        """
        since = self._clock.seconds() - self._surveyed
        is_due = since >= SURVEY_INTERVAL and self._may_hand_over()
        if is_due and not self._is_asking and self._later is None:
            # In a turn of its own: others of the same turn may be in dispute, too.
            self._later = self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._later = None
        self._is_asking = True
        self._surveyed = self._clock.seconds()
        leadership = self._leadership
        survey = Deferred.fromCoroutine(self._survey(leadership))
        survey.addErrback(lambda failure: self._log.failure("a survey has failed", failure))
        survey.addCallback(lambda _: self._end(leadership))

    def _end(self, leadership: int) -> None:
        if leadership == self._leadership:
            self._is_asking = False

    async def _survey(self, leadership: int) -> None:
        """
        Ask all members about servers that fail here and servers that pass here, and act on it.
        """
        doubtful = self._disputes()
        passing = [each for each in self._watches() if _passes(each)]
        if not doubtful:
            return
        asked = [self._sample(doubtful), self._sample(passing)]
        servers = [each.server for part in asked for each in part]
        timeout = min(_LONGEST_CHECK, max(each.timeout for part in asked for each in part))
        answers = await ask_members(self._witnesses, self._witnesses.others, servers, timeout)
        if leadership != self._leadership:
            return
        # What has changed its mind here meanwhile proves nothing.
        failing = [each for each in asked[0] if each.failed and not each.is_gone]
        passed = [each for each in asked[1] if _passes(each)]
        sights = {
            name: SightOf(_sight(reached, failing), _sight(reached, passed))
            for name, reached in answers.items()
        }
        better = better_leaders(
            sights,
            len(doubtful),
            len(passing),
            any_is_enough=self._only_leader,
            is_sampled=len(servers) < len(doubtful) + len(passing),
        )
        confirmed = [name for name in better if name in self._better]
        self._better = set(better)
        if confirmed:
            self._hand_over(confirmed[0], sights[confirmed[0]], len(doubtful))
        elif better:
            self._later = self._clock.callLater(CONFIRMATION, self._begin)

    def _sample(self, watches: Sequence[Watch]) -> Sequence[Watch]:
        return watches if len(watches) <= MOST_ASKED else self._rng.sample(watches, MOST_ASKED)

    def _may_hand_over(self) -> bool:
        return self._witnesses.settled_for >= self._least_between

    def _hand_over(self, name: str, sight: SightOf, doubtful: int) -> None:
        if not self._may_hand_over():
            return
        self._better.clear()
        self._log.warn(
            "this node hands over to {name}, which reaches {reached} of {asked} servers that "
            "fail their checks here, of {doubtful} in dispute",
            name=name,
            reached=sight.doubtful.reached,
            asked=sight.doubtful.asked,
            doubtful=doubtful,
        )
        self._witnesses.hand_over(name)


def _passes(watch: Watch) -> bool:
    # One that was not checked yet since this node leads counts: it may well pass.
    return watch.server.state is State.UP and not watch.failed and not watch.is_gone


def _sight(reached: dict[str, bool], watches: Sequence[Watch]) -> Sight:
    told = [reached[each.server.id] for each in watches if each.server.id in reached]
    return Sight(len(told), sum(told))
