"""
Incremental collection of reference cycles.

Python's own full collection scans all objects. With 10,000 servers and as many connections
that stops the node for some 150 ms, and while many servers register, each second.
Connections and requests leave no cycles behind when they end, so old objects are frozen:
they are scanned again only once there are many more of them.
"""

from __future__ import annotations

import gc
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

PERIOD: Final = 1.0
"""Seconds between two collections of new objects."""

COUNT_EVERY: Final = 60
"""Passes between two counts of the frozen objects; counting is slow."""

GROWTH: Final = 2.0
"""Factor by which the frozen objects must have grown before a full collection."""

SPARE: Final = 200_000
"""Objects that must have been added besides: about 20 MB."""

YOUNG: Final = (5000, 10, 1_000_000)
"""Arguments of L{gc.set_threshold}; the third keeps Python from full collections."""


class Cycles(Protocol):
    """
    The functions of L{gc} that are used.
    """

    def collect(self) -> int:
        """Collect all objects that are not frozen."""

    def freeze(self) -> None:
        """Exempt all present objects from collection."""

    def unfreeze(self) -> None:
        """Make frozen objects subject to collection again."""

    def get_freeze_count(self) -> int:
        """Count the frozen objects."""

    def get_threshold(self) -> tuple[int, int, int]:
        """The thresholds of automatic collection."""

    def set_threshold(self, young: int, middle: int, old: int, /) -> None:
        """Set the thresholds of automatic collection."""


class Collector:
    """
    Collects cycles while a service runs.
    """

    def __init__(self, clock: IReactorTime, cycles: Cycles = gc) -> None:
        self._cycles = cycles
        self._passes = 0
        self._next_full = 0.0
        self._usual = cycles.get_threshold()
        self._looping = LoopingCall(self._collect_new)
        self._looping.clock = clock

    def start(self) -> None:
        """
        Start, with a full collection.
        """
        self._usual = self._cycles.get_threshold()
        self._cycles.set_threshold(*YOUNG)
        self._collect_all()
        self._looping.start(PERIOD, now=False)

    def stop(self) -> None:
        """
        Stop, and restore Python's own collection.
        """
        if self._looping.running:
            self._looping.stop()
            self._cycles.unfreeze()
            self._cycles.set_threshold(*self._usual)

    def _collect_new(self) -> None:
        self._cycles.collect()
        self._cycles.freeze()
        self._passes += 1
        if self._passes % COUNT_EVERY == 0 and self._cycles.get_freeze_count() > self._next_full:
            self._collect_all()

    def _collect_all(self) -> None:
        self._cycles.unfreeze()
        self._cycles.collect()
        self._cycles.freeze()
        self._next_full = self._cycles.get_freeze_count() * GROWTH + SPARE
