"""
The outcome of a check, and the outcome of a failure to connect, which is the same for most types
of checks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

import msgspec
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.interfaces import IStreamClientEndpoint

from alacrity.net.shortage import local_shortage
from alacrity.pool import Check, Server

EndpointFactory: TypeAlias = Callable[[str, int, float], IStreamClientEndpoint]
"""Makes the endpoint of an IP address and a port, with a time limit in seconds."""


class Verdict(msgspec.Struct, frozen=True):
    """
    The outcome of a check.

    @ivar passed: whether the server is fit for traffic.
    @ivar reason: the reason, in a few words for operators.
    @ivar answered: whether a failed check got an answer in HTTP: the server is not dead, and the
        check may be wrong.
    @ivar stopping: whether the server says by a failed check that it finishes its requests, and
        wants no new ones.
    """

    passed: bool
    reason: str
    answered: bool = False
    stopping: bool = False


class CannotCheck(Exception):
    """
    A fault of this machine prevents the check. Nothing is known about the server.
    """


def port_of(server: Server, check: Check) -> int:
    """
    The port to check: the check's port if it has one, otherwise the server's port.
    """
    return server.port if check.port is None else check.port


def unconnected_verdict(error: BaseException, timeout: float) -> Verdict:
    """
    The verdict on a server to which no connection could be opened.

    @param timeout: the check's time limit, in seconds.
    @raise CannotCheck: this machine lacks a resource. Other errors that are not about connecting
        are raised again.
    """
    match error:
        case TimeoutError():
            reason = no_answer(timeout)
        case ConnectionRefusedError():
            reason = "connection refused"
        case NoRouteError():
            reason = "no route to host"
        case ConnectError() | OSError():
            shortage = local_shortage(error)
            if shortage is not None:
                raise CannotCheck(os.strerror(shortage).lower()) from error
            code = error.osError if isinstance(error, ConnectError) else error.errno
            reason = os.strerror(code).lower() if isinstance(code, int) else "cannot connect"
        case _:
            raise error
    return Verdict(passed=False, reason=reason)


def no_answer(timeout: float) -> str:
    """
    The reason for the failure of a check that took too long.
    """
    return f"no answer in {timeout} s"
