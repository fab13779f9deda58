"""
Tests for L{alacrity.proxy.upstream.patience}: the time that hosts have to acknowledge.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream import connection, patience
from alacrity.proxy.upstream.patience import PROMPT_BODY
from tests.support.wire import Proxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class PatienceTests(SynchronousTestCase):
    """
    A server that is slow to read a long body is not taken for a host that is gone.
    """

    def test_long_body(self) -> None:
        """
        The limit is that of a connection, but that of a response within a long body.
        """
        limits: list[float] = []
        for module in (connection, patience):
            self.patch(
                module, "set_acknowledgement_timeout", lambda _, seconds: limits.append(seconds)
            )
        proxy = Proxy()
        client = proxy.client()
        for size, expected in ((100, [3.0]), (3 * PROMPT_BODY, [3.0, 60.0, 3.0])):
            client.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            for begin in range(0, size, 16384):
                client.receive(bytes(min(16384, size - begin)))
            proxy.servers[0].receive(OK)
            self.assertEqual(limits, expected)
        self.assertEqual(len(proxy.servers), 1)
