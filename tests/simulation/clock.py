"""
PySyncObj's own clock and chance, replaced by the simulation's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pysyncobj.syncobj

from tests.simulation.world import World

_current: list[World] = []


def now() -> float:
    world = _current[-1]
    world.now += world.drift
    return world.now


class _Chance:
    """
    In the place of the module C{random}.
    """

    @staticmethod
    def random() -> float:
        return _current[-1].rng.random()


def use(world: World) -> None:
    """
    Let PySyncObj live in a world.
    """
    _current[:] = [world]


@contextmanager
def patched() -> Iterator[None]:
    """
    PySyncObj with the clock of the L{World} that is in use.
    """
    module = pysyncobj.syncobj
    clock, chance = module.monotonicTime, module.random
    module.monotonicTime, module.random = now, _Chance
    try:
        yield
    finally:
        module.monotonicTime, module.random = clock, chance
        _current.clear()
