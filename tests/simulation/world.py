"""
Time: what happens when, and to whom.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


class Violation(Exception):
    """
    An invariant is violated.
    """


@implementer(IDelayedCall)
class Call:
    """
    Something that is to happen.
    """

    def __init__(self, at: float, process: Time, what: Callable[[], object]) -> None:
        self.at = at
        self.process = process
        self.what: Callable[[], object] | None = what

    def getTime(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.what = None

    def delay(self, secondsLater: float) -> None:
        raise NotImplementedError

    def reset(self, secondsFromNow: float) -> None:
        self.process.put_off(self, secondsFromNow)

    def active(self) -> bool:
        return self.what is not None

    def run(self) -> None:
        """
        Happen, unless it was cancelled while the process was paused.
        """
        what, self.what = self.what, None
        if what is not None:
            what()


class World:
    """
    The clock of all, and chance.

    @ivar trace: lines, oldest first.
    @ivar events: how much has happened.
    @ivar drift: seconds that pass when PySyncObj looks at the clock.
    """

    drift = 0.0
    events = 0

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.now = 100.0
        self.rng = Random(seed)
        self.trace: list[str] = []
        self._verbose = verbose
        self._calls: list[tuple[float, int, Call]] = []
        self._numbers = count()
        self.outside = Time(self)

    def note(self, text: str) -> None:
        line = f"{self.now - 100:8.3f}  {text}"
        self.trace.append(line)
        if self._verbose:
            print(line)  # noqa: T201

    def schedule(self, delay: float, process: Time, what: Callable[[], object]) -> Call:
        call = Call(self.now + max(delay, 0.0), process, what)
        heapq.heappush(self._calls, (call.at, next(self._numbers), call))
        return call

    def put_off(self, call: Call, delay: float) -> None:
        """
        Have a call happen at another time.
        """
        call.at = self.now + max(delay, 0.0)
        heapq.heappush(self._calls, (call.at, next(self._numbers), call))

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> bool:
        """
        Let time pass, up to a moment, or until C{done}.

        @return: whether it was done.
        """
        calls = self._calls
        while calls and calls[0][0] <= until:
            at, _, call = heapq.heappop(calls)
            self.now = max(self.now, at)
            # One that was put off is there at its former time, too.
            if call.active() and call.at == at:
                self.events += 1
                call.process.happen(call.run)
                if done():
                    return True
        self.now = until
        return done()


@implementer(IReactorTime)
class Time:
    """
    A process's clock. What is called later on it does not happen while the process is
    paused, and never once it has ended.

    @ivar rested: seconds for which the process was paused, up to the last time it went on.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.ended = False
        self.rested = 0.0
        self._paused_at = 0.0
        self._held: list[Callable[[], object]] | None = None

    def seconds(self) -> float:
        return self._world.now

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> IDelayedCall:
        return self._world.schedule(delay, self, lambda: callable(*args, **kw))

    def put_off(self, call: Call, delay: float) -> None:
        """
        See L{World.put_off}.
        """
        self._world.put_off(call, delay)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        raise NotImplementedError

    @property
    def paused(self) -> bool:
        return self._held is not None

    def happen(self, what: Callable[[], object]) -> None:
        if self.ended:
            return
        if self._held is not None:
            self._held.append(what)
        else:
            what()

    def pause(self) -> None:
        if self._held is None:
            self._held = []
            self._paused_at = self._world.now

    def resume(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self.rested += self._world.now - self._paused_at
        for what in held or []:
            self.happen(what)
