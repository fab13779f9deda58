"""
Repeated attempts at a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from alacrity.client.errors import CallFailed

_Result = TypeVar("_Result")


async def persist(
    attempt: Callable[[], Awaitable[_Result]],
    pauses: Iterable[float],
    sleep: Callable[[float], Awaitable[object]],
    report: Callable[[CallFailed], object],
) -> _Result:
    """
    Repeat a call until it succeeds or is refused.

    @param attempt: makes the call once.
    @param pauses: the seconds to wait after each failed attempt; after the last of them,
        one more attempt is made, and its failure is final.
    @param sleep: waits for a number of seconds.
    @param report: told of each failure that is not final.
    @raise CallError: the call is refused, or its last attempt failed.
    """
    for pause in pauses:
        try:
            return await attempt()
        except CallFailed as failure:
            report(failure)
        await sleep(pause)
    return await attempt()
