"""
The time by which durations are measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def steady(
    wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """
    A clock that begins with the time of day, and then goes as the monotonic clock does:
    nobody can set it.

    @param wall: the time of day, in seconds since the epoch.
    @param monotonic: seconds since whenever.
    """
    offset = wall() - monotonic()
    return lambda: offset + monotonic()


def keep_steady(reactor: Any) -> None:
    """
    Have a reactor measure time by a L{steady} clock.

    All of Twisted's go by the time of day, also on uvloop: when it is set back, none of
    their calls is made for as long; when it is set forward, all time limits are over.
    Calls that were asked for before keep their times.
    """
    reactor.seconds = steady()
