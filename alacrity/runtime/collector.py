"""
When Python collects cycles: a little at a time.

Left to itself, Python now and then looks through all that there is. With 10,000
servers and as many connections that stops everything for some 150 ms, and were many
servers registered, each second. What matters here is freed without it: connections
and requests leave no cycles behind when they end, so what is old is not looked at
again, until there is much more of it.
"""

from __future__ import annotations

import gc
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

PERIOD: Final = 1.0
"""Seconds between two looks at what is new."""

COUNT_EVERY: Final = 60
"""By how many looks what is old is counted once, which takes a while too."""

GROWTH: Final = 2.0
"""How many times as much there must be, for all to be looked through."""

SPARE: Final = 200_000
"""How many objects more there must be besides: about 20 MB."""

YOUNG: Final = (5000, 10, 1_000_000)
"""The thresholds of L{gc.set_threshold}: the third makes it leave the old to us."""


class Cycles(Protocol):
    """
    The part of L{gc} that is used.
    """

    def collect(self) -> int:
        """Look through all that is not frozen."""

    def freeze(self) -> None:
        """Look at what is there now no more."""

    def unfreeze(self) -> None:
        """Look at it again."""

    def get_freeze_count(self) -> int:
        """How many objects are frozen."""

    def get_threshold(self) -> tuple[int, int, int]:
        """When it looks of itself."""

    def set_threshold(self, young: int, middle: int, old: int, /) -> None:
        """Say when."""


class Collector:
    """
    Collects cycles while a service runs.
    """

    def __init__(self, clock: IReactorTime, cycles: Cycles = gc) -> None:
        self._cycles = cycles
        self._looks = 0
        self._enough = 0.0
        self._usual = cycles.get_threshold()
        self._looping = LoopingCall(self._look)
        self._looping.clock = clock

    def start(self) -> None:
        """
        Begin, with a look through all.
        """
        self._usual = self._cycles.get_threshold()
        self._cycles.set_threshold(*YOUNG)
        self._look_through_all()
        self._looping.start(PERIOD, now=False)

    def stop(self) -> None:
        """
        Leave it to Python again.
        """
        if self._looping.running:
            self._looping.stop()
            self._cycles.unfreeze()
            self._cycles.set_threshold(*self._usual)

    def _look(self) -> None:
        self._cycles.collect()
        self._cycles.freeze()
        self._looks += 1
        if self._looks % COUNT_EVERY == 0 and self._cycles.get_freeze_count() > self._enough:
            self._look_through_all()

    def _look_through_all(self) -> None:
        self._cycles.unfreeze()
        self._cycles.collect()
        self._cycles.freeze()
        self._enough = self._cycles.get_freeze_count() * GROWTH + SPARE
