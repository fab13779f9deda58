"""
The table C{[health]}.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from alacrity.config.readers import (
    boolean,
    count,
    duration,
    duration_or_never,
    fraction,
    time_limit,
)

SHORTEST_INTERVAL: Final = 0.1
"""Seconds of the shortest interval between two checks of a server."""


class HealthSettings(msgspec.Struct, frozen=True):
    """
    C{[health]}: the checks of servers that ask for no others; durations in seconds.

    @ivar interval: between two checks of a server.
    @ivar fast_interval: the same while its state may be changing.
    @ivar jitter: the part of an interval by which it varies at most, to either side.
    @ivar timeout: for one check.
    @ivar rise: passes in a row that bring a down server back.
    @ivar fall: failures in a row that take a server down.
    @ivar deregister_after: down for so long, a server is removed, though never the last
        one; 0: no server is.
    @ivar lease_deregister_after: the same for a server that has a lease.
    @ivar fail_open: whether, when no server is eligible, those get requests that were up once
        and whose checks do not show that they are dead.
    @ivar guard_share: the part of the servers whose leases may expire, or that may be removed
        after C{deregister_after}, in C{guard_window}; one always may.
    @ivar guard_window: in seconds.
    @ivar witnesses: whether the leader asks other members before it takes a server down.
    """

    interval: Annotated[float, duration(SHORTEST_INTERVAL)] = 5.0
    fast_interval: Annotated[float, duration(SHORTEST_INTERVAL)] = 1.0
    jitter: Annotated[float, fraction] = 0.1
    timeout: Annotated[float, time_limit] = 2.0
    rise: Annotated[int, count] = 2
    fall: Annotated[int, count] = 3
    deregister_after: Annotated[float, duration_or_never] = 86400.0
    lease_deregister_after: Annotated[float, duration_or_never] = 300.0
    fail_open: Annotated[bool, boolean] = True
    guard_share: Annotated[float, fraction] = 0.2
    guard_window: Annotated[float, duration(1.0)] = 60.0
    witnesses: Annotated[bool, boolean] = True
