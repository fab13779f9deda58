"""
The rendering of long lists in slices, so that requests through the proxy need not wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

SLICE: Final = 50
"""Members of a list that are rendered in one turn of the event loop: about 1 ms."""


class Renderer:
    """
    Renders JSON lists, one list at a time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: schedules the next slice, so that other events come first.
        """
        self._clock = clock
        self._lock = DeferredLock()

    async def render(self, members: Iterable[object]) -> bytes:
        """
        Encode a list as L{alacrity.management.web.responses.encode_json} does.

        @param members: an iterable that makes the members one by one.
        """
        remaining = iter(members)
        slices = [_render(remaining)]
        if slices[0].size < SLICE:
            return _join(slices)
        await self._lock.acquire()
        try:
            while slices[-1].size == SLICE:
                await deferLater(self._clock, 0)
                slices.append(_render(remaining))
        finally:
            self._lock.release()
        return _join(slices)


class _Slice(NamedTuple):
    """
    A part of a list.

    @ivar size: the number of its members.
    @ivar text: the members in JSON, without brackets around them.
    """

    size: int
    text: bytes


def _render(members: Iterator[object]) -> _Slice:
    """
    Take the next members, and render them.
    """
    some = list(islice(members, SLICE))
    return _Slice(len(some), msgspec.json.encode(some)[1:-1])


def _join(slices: list[_Slice]) -> bytes:
    return b"[" + b",".join(each.text for each in slices if each.text) + b"]\n"
