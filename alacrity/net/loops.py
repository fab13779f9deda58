"""
The uvloop loop under a reactor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.failure import Failure

_log: Final = Logger()


def uvloop_of(reactor: IReactorCore) -> asyncio.AbstractEventLoop | None:
    """
    The uvloop loop that a reactor runs on; L{None}: it runs on another kind. The errors
    that the loop catches are logged from then on.
    """
    # The reactor offers no public name for its loop.
    loop: asyncio.AbstractEventLoop | None = getattr(reactor, "_asyncioEventloop", None)
    if loop is None or type(loop).__module__.partition(".")[0] != "uvloop":
        return None
    loop.set_exception_handler(_log_error)
    return loop


def _log_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    Log an exception of a protocol; uvloop has dropped its connection for it.
    """
    error = context.get("exception")
    # For some errors, such as those of a factory, uvloop has no words.
    what = context.get("message") or "an exception in a connection"
    if error is None:
        _log.error("{what}", what=what)
    else:
        _log.failure("{what}", Failure(error), what=what)


def after_turns(
    loop: asyncio.AbstractEventLoop, turns: int, call: Callable[..., object], *arguments: Any
) -> None:
    """
    Call a function after so many turns of a loop, in each of which the loop polls the
    sockets.
    """
    if turns:
        loop.call_soon(after_turns, loop, turns - 1, call, *arguments)
    else:
        call(*arguments)
