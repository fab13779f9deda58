"""
The reactor's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def steady(
    wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """
    A clock that starts at the time of day and advances as the monotonic clock does, so that
    setting the time of day has no effect on it.

    @param wall: the time of day, in seconds since the epoch.
    @param monotonic: seconds since an arbitrary moment.
    """
    offset = wall() - monotonic()
    return lambda: offset + monotonic()


def keep_steady(reactor: Any) -> None:
    """
    Replace a reactor's clock by a L{steady} one.

    Twisted's reactors go by the time of day, also on uvloop: after it is set back, no delayed
    call is made for as long; after it is set forward, all time limits are over. Calls that
    were scheduled before keep their times.
    """
    reactor.seconds = steady()
