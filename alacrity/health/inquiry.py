"""
Questions to other members about servers that fail their checks on the leader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.health.opinions import Opinion, judge, witnesses_needed
from alacrity.health.watch import Watch
from alacrity.health.witness import Witnesses
from alacrity.pool import Server

MOST_ASKED: Final = 64
"""Servers that are asked about of those in doubt at once. If the members are of one opinion on
all of them, the others follow."""

ANSWERS: Final = 10
"""Answers that are given in a moment, as many as the monitor begins checks in one. Each may lead
to a proposal, while requests wait."""

MOMENT: Final = 0.002
"""Seconds from one moment to the next."""

ROUNDS_IN_FLIGHT: Final = 4
"""Rounds of questions at a time. A server that comes into doubt waits for no other, unless many
do; then they are decided together."""

_log: Final = Logger()


class Answer(msgspec.Struct, frozen=True):
    """
    The opinion on a server.

    @ivar reached_by: the names of members that reach it; empty where it follows from the
        opinion on others.
    """

    opinion: Opinion
    reached_by: tuple[str, ...] = ()


async def ask_members(
    witnesses: Witnesses, names: Iterable[str], servers: Sequence[Server], timeout: float
) -> dict[str, dict[str, bool]]:
    """
    Ask members about servers, all at the same time.

    @param timeout: seconds for each check.
    @return: by the names of those that have answered, whether they reach a server, by its id.
    """
    names = list(names)
    results: list[tuple[bool, Any]] = await DeferredList(
        [witnesses.ask(name, servers, timeout) for name in names], consumeErrors=True
    )
    answers: dict[str, dict[str, bool]] = {}
    for name, (succeeded, result) in zip(names, results, strict=True):
        if succeeded:
            answers[name] = result
        else:
            assert isinstance(result, Failure)
            _log.debug(
                "{name} tells nothing of {count} servers: {error}",
                name=name,
                count=len(servers),
                error=result.getErrorMessage(),
            )
    return answers


class Inquiry:
    """
    Asks other members about servers, in rounds.

    A round asks as many members as make a majority with the leader, about at most
    L{MOST_ASKED} servers. Instead of a member that does not answer, another one is asked.
    """

    def __init__(
        self, witnesses: Witnesses, clock: IReactorTime, rng: Random, *, asks_all: bool = False
    ) -> None:
        """
        @param asks_all: whether all members are asked at once.
        """
        self._witnesses = witnesses
        self._clock = clock
        self._rng = rng
        self._asks_all = asks_all
        self._waiting: dict[Watch, Deferred[Answer | None]] = {}
        self._begin_call: IDelayedCall | None = None
        self._to_deliver: deque[tuple[Deferred[Answer | None], Answer | None]] = deque()
        self._is_delivering = False
        self._in_flight = 0
        # The members that were the last to reach a server: they are asked first, so that chance
        # does not decide again and again about a server that few members reach.
        self._dissenters: set[str] = set()

    def ask(self, watch: Watch) -> Deferred[Answer | None]:
        """
        Ask about a server that fails its checks here. It must not be asked about already.

        @return: fires with the opinion; L{None}: it is not watched any more.
        """
        answer: Deferred[Answer | None] = Deferred()
        self._waiting[watch] = answer
        self._begin_soon()
        return answer

    def _begin_soon(self) -> None:
        # Servers whose checks end in one turn are asked about in one round.
        if self._begin_call is None and self._in_flight < ROUNDS_IN_FLIGHT:
            self._begin_call = self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._begin_call = None
        for watch in [each for each in self._waiting if each.is_gone]:
            self._waiting.pop(watch).callback(None)
        if not self._waiting:
            return
        # A round takes as long as its longest check.
        timeout = next(iter(self._waiting)).timeout
        batch = [each for each in self._waiting if each.timeout == timeout]
        answers = {watch: self._waiting.pop(watch) for watch in batch}
        self._in_flight += 1
        deciding = Deferred.fromCoroutine(self._decide(batch, timeout))
        deciding.addBoth(self._decided, answers)
        if self._waiting:
            self._begin_soon()

    async def _decide(self, batch: list[Watch], timeout: float) -> dict[Watch, Answer]:
        """
        Ask about some servers.

        @return: the opinions, without those on servers that have to be asked about, too.
        """
        sample = batch
        if len(batch) > MOST_ASKED:
            sample = self._rng.sample(batch, MOST_ASKED)
        members = len(self._witnesses.others) + 1
        votes = await self._collect([each.server for each in sample], timeout)
        answers = {}
        for watch in sample:
            reached = votes[watch.server.id]
            names = tuple(sorted(name for name, passed in reached.items() if passed))
            answers[watch] = Answer(judge(reached, members), names)
        opinions = {each.opinion for each in answers.values()}
        if len(opinions) == 1:
            follows = Answer(opinions.pop())
            for watch in batch:
                answers.setdefault(watch, follows)
        return answers

    def _decided(self, answers: Any, waiting: dict[Watch, Deferred[Answer | None]]) -> None:
        self._in_flight -= 1
        if isinstance(answers, Failure):
            _log.failure("the members cannot be asked about servers", answers)
            answers = dict.fromkeys(waiting)
        for watch, deferred in waiting.items():
            if watch in answers:
                self._to_deliver.append((deferred, answers[watch]))
            else:
                self._waiting[watch] = deferred
        if not self._is_delivering:
            self._deliver()
        if self._waiting:
            self._begin_soon()

    def _deliver(self) -> None:
        for _ in range(min(ANSWERS, len(self._to_deliver))):
            deferred, answer = self._to_deliver.popleft()
            deferred.callback(answer)
        self._is_delivering = bool(self._to_deliver)
        if self._is_delivering:
            self._clock.callLater(MOMENT, self._deliver)

    async def _collect(
        self, servers: Sequence[Server], timeout: float
    ) -> Mapping[str, dict[str, bool]]:
        """
        Ask members until each server has enough answers, or one that it is reached, or no
        member is left.

        @return: by server id, whether the members reach it, by name.
        """
        names = self._order()
        needed = len(names) if self._asks_all else witnesses_needed(len(names) + 1)
        votes: dict[str, dict[str, bool]] = {each.id: {} for each in servers}
        unclear = list(servers)
        while unclear and names:
            lacking = max(needed - len(votes[each.id]) for each in unclear)
            asked, names = names[:lacking], names[lacking:]
            answers = await ask_members(self._witnesses, asked, unclear, timeout)
            for name, reached in answers.items():
                for server in unclear:
                    if server.id in reached:
                        votes[server.id][name] = reached[server.id]
            unclear = [
                each
                for each in unclear
                if len(votes[each.id]) < needed and not any(votes[each.id].values())
            ]
        self._dissenters = {
            name for each in votes.values() for name, passed in each.items() if passed
        }
        return votes

    def _order(self) -> list[str]:
        """
        The other members, in the order in which they are asked.
        """
        names = list(self._witnesses.others)
        self._rng.shuffle(names)
        return sorted(names, key=lambda name: name not in self._dissenters)
