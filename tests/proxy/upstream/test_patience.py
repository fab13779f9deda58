"""
Tests for L{alacrity.proxy.upstream.patience}: the time that hosts have to acknowledge.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.acknowledgements import set_acknowledgement_timeout
from alacrity.proxy.upstream.patience import PROMPT_BODY
from tests.support.wire import Proxy, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class _Socket:
    """
    A socket of which the limits that are set are noted.
    """

    family = socket.AF_INET

    def __init__(self, limits: list[int]) -> None:
        self._limits = limits

    def setsockopt(self, level: int, name: int, value: int) -> None:
        if name == socket.TCP_USER_TIMEOUT:
            self._limits.append(value)


def _limit(seconds: float) -> int:
    """The option that stands for so many seconds."""
    limits: list[int] = []
    wire: Any = SimpleNamespace(getHandle=lambda: _Socket(limits))
    set_acknowledgement_timeout(wire, seconds)
    return limits[0]


class PatienceTests(SynchronousTestCase):
    """
    A server that is slow to read a long body is not taken for a host that is gone.
    """

    def test_long_body(self) -> None:
        """
        The limit is that of a connection, but that of a response within a long body.
        """
        limits: list[int] = []
        handle = _Socket(limits)
        setattr(Wire, "getHandle", lambda _: handle)  # noqa: B010
        self.addCleanup(delattr, Wire, "getHandle")
        proxy = Proxy()
        client = proxy.client()
        for size, seconds in ((100, (3.0,)), (3 * PROMPT_BODY, (3.0, 60.0, 3.0))):
            client.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            for begin in range(0, size, 16384):
                client.receive(bytes(min(16384, size - begin)))
            proxy.servers[0].receive(OK)
            self.assertEqual(limits, [_limit(each) for each in seconds])
        self.assertEqual(len(proxy.servers), 1)
