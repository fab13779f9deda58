"""
The APIs of several nodes, any of which may be called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from alacrity.client.api import ApiClient
from alacrity.client.errors import CallFailed

_Result = TypeVar("_Result")


class NodeApi(msgspec.Struct, frozen=True):
    """
    The API of one node.

    @ivar url: its URL, for messages.
    @ivar client: calls it.
    """

    url: str
    client: ApiClient


class SeveralApis:
    """
    Calls the API that answered last, and the others where it does not answer.
    """

    def __init__(self, apis: Sequence[NodeApi]) -> None:
        """
        @param apis: at least one; the first is called first.
        """
        self._apis = tuple(apis)
        self._current = 0

    @property
    def url(self) -> str:
        """
        The URL of the API that is called first now.
        """
        return self._apis[self._current].url

    async def call(self, make: Callable[[ApiClient], Awaitable[_Result]]) -> _Result:
        """
        Make a call once at each API, until one answers.

        @raise CallRefused: one of them refused it.
        @raise CallFailed: none of them could carry it out. The message has the cause of each.
        """
        failures = []
        for _ in self._apis:
            api = self._apis[self._current]
            try:
                return await make(api.client)
            except CallFailed as failure:
                failures.append(f"{api.url}: {failure}")
                self._current = (self._current + 1) % len(self._apis)
        raise CallFailed("; ".join(failures))
