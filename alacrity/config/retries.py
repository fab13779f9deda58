"""
The table C{[retries]}.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from alacrity.config.readers import choices, count, count_or_zero, duration, positive

RetryOn: TypeAlias = Literal["connect", "reused", "reset", "timeout", "502", "503", "504"]


class RetrySettings(msgspec.Struct, frozen=True):
    """
    C{[retries]}: requests that are sent again after an attempt has failed.

    @ivar attempts: attempts in all by which a request may have been sent to a server.
    @ivar on: the failures after which a request is sent again: no connection was made; a
        connection that had been used before ended before the response; any connection did; the
        response did not come in time; a status.
    @ivar budget: retries, as a part of the requests in the last C{budget_window} seconds.
    @ivar budget_window: in seconds.
    @ivar budget_minimum: retries that are always allowed in a window.
    """

    attempts: Annotated[int, count] = 3
    on: Annotated[tuple[RetryOn, ...], choices(RetryOn)] = ("connect", "reused", "reset")
    budget: Annotated[float, positive] = 0.2
    budget_window: Annotated[float, duration(1.0)] = 10.0
    budget_minimum: Annotated[int, count_or_zero] = 10
