"""
Long documents, rendered a slice at a time, so that requests through the proxy do not
wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, cast

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

SLICE: Final = 50
"""Members of a list that are rendered in one go: some 1 ms."""


class Renderer:
    """
    Renders JSON lists, one at a time, however many are asked for.

    @ivar clock: by which others go first; L{None}: the global reactor.
    """

    def __init__(self, clock: IReactorTime | None = None) -> None:
        self.clock = clock
        self._lock = DeferredLock()

    async def render(self, members: Iterable[object]) -> bytes:
        """
        A list, as L{alacrity.management.web.site.encode_json} renders it.

        @param members: made as they are asked for.
        """
        remaining = iter(members)
        slices = [_render(remaining)]
        if slices[0].size < SLICE:
            return _list(slices)
        await self._lock.acquire()
        try:
            while slices[-1].size == SLICE:
                await deferLater(self._others(), 0)
                slices.append(_render(remaining))
        finally:
            self._lock.release()
        return _list(slices)

    def _others(self) -> IReactorTime:
        if self.clock is not None:
            return self.clock
        # Not to be chosen by importing this module.
        from twisted.internet import reactor

        clock: Any = reactor
        return cast(IReactorTime, clock)


class _Slice(NamedTuple):
    """
    @ivar text: the members, without brackets around.
    @ivar size: how many they are.
    """

    size: int
    text: bytes


def _render(members: Iterator[object]) -> _Slice:
    """
    The next slice of a list.
    """
    some = list(islice(members, SLICE))
    return _Slice(len(some), msgspec.json.encode(some)[1:-1])


def _list(slices: list[_Slice]) -> bytes:
    return b"[" + b",".join(each.text for each in slices if each.text) + b"]\n"
