"""
Periods that double.
"""

from __future__ import annotations

import msgspec


class Period(msgspec.Struct, frozen=True, gc=False):
    """
    A time for which a server is kept from requests. Once it is over, one request tries the
    server.

    @ivar length: in seconds.
    @ivar until: its end.
    """

    length: float
    until: float


def next_period(before: Period | None, now: float, *, first: float, longest: float) -> Period:
    """
    The period after a failure.

    @param before: the one that the failure follows at once; L{None}: it is the first.
    @param first: the length of the first; each that follows is twice as long.
    """
    length = min(first if before is None else before.length * 2, longest)
    return Period(length, now + length)
