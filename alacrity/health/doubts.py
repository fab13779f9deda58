"""
The leader's doubts: servers that fail their checks here, and may pass them elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from math import inf
from random import Random
from typing import Final

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from alacrity.health.faults import FaultLog
from alacrity.health.inquiry import Answer, Inquiry
from alacrity.health.leader_choice import LEAST_BETWEEN, LeaderChoice
from alacrity.health.opinions import Opinion
from alacrity.health.watch import Watch
from alacrity.health.witness import Witnesses
from alacrity.pool import State

RETURN_INTERVAL: Final = 15.0
"""Seconds between two questions about servers that are down and fail their checks here: whether
others reach them again."""

RISING_INTERVAL: Final = 1.0
"""The same about servers that a majority has reached when it was asked last."""


class Conclusion(msgspec.Struct, frozen=True):
    """
    The state of a server that fails its checks here, as the members see it.

    @ivar disputed: whether it is in that state by the word of others.
    @ivar remark: to be added to the reason.
    """

    state: State
    disputed: bool = False
    remark: str = ""


DOWN: Final = Conclusion(State.DOWN)
_ALONE: Final = Conclusion(State.DOWN, remark="; no other node has told what it sees")


class Doubts:
    """
    Asks the other members about servers that fail their checks here.

    A server that is not down goes down if a majority fails to reach it. One that is down comes
    back, and a pending one is let in, if a majority reaches it, though this node does not: it
    may lead for long, since no member need see more than it does.
    """

    _log = Logger()

    def __init__(
        self,
        witnesses: Witnesses,
        *,
        clock: IReactorTime,
        rng: Random,
        only_leader: bool = False,
        least_between: float = LEAST_BETWEEN,
    ) -> None:
        """
        @param only_leader: whether the leader alone serves.
        @param least_between: seconds between two hand-overs of leadership, at the least.
        """
        self._witnesses = witnesses
        self._clock = clock
        self._alone = FaultLog(self._log, clock)
        self._before_down = Inquiry(witnesses, clock, rng)
        self._of_return = Inquiry(witnesses, clock, rng, asks_all=True)
        # Failing servers that other members reach.
        self._disputed: dict[Watch, None] = {}
        self._rising: Counter[Watch] = Counter()
        self._return_due: dict[Watch, float] = {}
        self._choice = LeaderChoice(
            witnesses,
            self._disputes,
            clock=clock,
            rng=rng,
            only_leader=only_leader,
            least_between=least_between,
        )

    def start(self, watches: Callable[[], Collection[Watch]]) -> None:
        """
        Start, since this node has become the leader.

        @param watches: gives all servers that are checked.
        """
        self._disputed.clear()
        self._rising.clear()
        self._return_due.clear()
        self._choice.start(watches)

    def stop(self) -> None:
        """
        Stop. Answers that come later are about servers that are not watched any more.
        """
        self._choice.stop()

    def ask(self, watch: Watch) -> Deferred[Conclusion | None]:
        """
        Ask the other members about a server that fails its checks here: it has failed as often
        as takes it down, or is down.

        @return: fires with the conclusion, at once if there is nobody to ask; L{None}: it stays
            as it is.
        """
        if watch.server.state is State.DOWN:
            return self._ask_of_return(watch)
        if not self._witnesses.others:
            return succeed(DOWN)
        return self._before_down.ask(watch).addCallback(self._conclude, watch)

    def forget(self, watch: Watch) -> None:
        """
        Forget what was said of a server: its state has changed, or it is not watched any more.
        """
        self._disputed.pop(watch, None)
        self._return_due.pop(watch, None)
        self._rising.pop(watch, None)

    def _disputes(self) -> list[Watch]:
        """
        The failing servers that other members reach.
        """
        found = [each for each in self._disputed if each.failed > 0 and not each.is_gone]
        self._disputed = dict.fromkeys(found)
        return found

    def _conclude(
        self, answer: Answer | None, watch: Watch
    ) -> Conclusion | Deferred[Conclusion | None] | None:
        if answer is None or watch.is_gone:
            return None
        match answer.opinion:
            case Opinion.DOWN:
                self._disputed.pop(watch, None)
                return DOWN
            case Opinion.DOWN_ALONE:
                self._disputed.pop(watch, None)
                self._alone.error(
                    "no other node has told what it sees of {server} and others that fail their "
                    "checks here; this node decides alone",
                    server=watch.server.id,
                )
                return _ALONE
        self._disputed[watch] = None
        self._choice.consider()
        if watch.server.state is State.PENDING:
            return self._of_return.ask(watch).addCallback(self._conclude_return, watch, answer)
        return Conclusion(watch.server.state, disputed=True, remark=_reached_by(answer))

    def _ask_of_return(self, watch: Watch) -> Deferred[Conclusion | None]:
        """
        Ask about a server that is down, now and then.
        """
        now = self._clock.seconds()
        if (
            now < self._return_due.setdefault(watch, now + RETURN_INTERVAL)
            or watch.server.condition.lease_expired
            or not self._witnesses.others
        ):
            return succeed(None)
        self._return_due[watch] = inf
        return self._of_return.ask(watch).addCallback(self._conclude_return, watch)

    def _conclude_return(
        self, answer: Answer | None, watch: Watch, first: Answer | None = None
    ) -> Conclusion | None:
        """
        @param first: the opinion on a pending server, which needs to be reached once.
        """
        if watch.is_gone:
            return None
        now = self._clock.seconds()
        if answer is None:
            # The members could not be asked.
            self._return_due[watch] = now + RETURN_INTERVAL
            return None
        if answer.opinion is Opinion.REACHED_BY_MAJORITY:
            self._rising[watch] += 1
            self._return_due[watch] = now + RISING_INTERVAL
            if first is not None or self._rising[watch] >= watch.rise:
                return Conclusion(State.UP, disputed=True, remark=_reached_by(answer))
        else:
            self._rising.pop(watch, None)
            self._return_due[watch] = now + RETURN_INTERVAL
        if first is not None:
            return Conclusion(State.PENDING, disputed=True, remark=_reached_by(first))
        return None


def _reached_by(answer: Answer) -> str:
    return f" for the leader; {', '.join(answer.reached_by) or 'another node'} can reach it"
