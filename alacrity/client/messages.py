"""
Requests to the management API and its answers, without I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec


class ApiRequest(msgspec.Struct, frozen=True):
    """
    One request to the API.

    @ivar path: the target, which begins with C{/}.
    @ivar body: a JSON document; empty: the request has no body.
    @ivar wait: seconds that the API is asked to take before it answers.
    """

    method: str
    path: str
    body: bytes = b""
    wait: float = 0.0


class ApiResponse(msgspec.Struct, frozen=True):
    """
    An answer, whatever its status.
    """

    status: int
    body: bytes


Send: TypeAlias = Callable[[ApiRequest], Awaitable[ApiResponse]]
"""
Sends a request and gives the answer.

It raises L{CallFailed<alacrity.client.errors.CallFailed>} where there is no answer.
"""
