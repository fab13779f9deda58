"""
The table C{[ejection]}.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from alacrity.config.readers import (
    count_or_zero,
    duration,
    duration_or_zero,
    fraction,
    statuses,
)


class EjectionSettings(msgspec.Struct, frozen=True):
    """
    C{[ejection]}: servers that fail their requests, and get none for a while; durations in
    seconds.

    @ivar silence: a server that has answered nobody for so long, since a request was sent to
        it whole, is asked again by one request at a time only; 0: it gets requests as before.
    @ivar failures: failures in a row after which a server is ejected; 0: none is.
    @ivar statuses: the statuses of responses that count as failures.
    @ivar duration: of the first ejection; each that follows at once is twice as long.
    @ivar max_duration: the longest ejection.
    @ivar max_share: the part of the eligible servers that may be ejected at a time.
    """

    silence: Annotated[float, duration_or_zero] = 2.0
    failures: Annotated[int, count_or_zero] = 5
    statuses: Annotated[tuple[int, ...], statuses] = (502, 503, 504)
    duration: Annotated[float, duration(0.1)] = 10.0
    max_duration: Annotated[float, duration(0.1)] = 300.0
    max_share: Annotated[float, fraction] = 0.5
