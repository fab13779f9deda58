"""
Tests for L{alacrity.proxy.exchange.exchange}: the key by which a server is chosen.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import BalanceSettings
from alacrity.pool import Change
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.keys import key_reader
from tests.support.wire import Proxy, server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class KeyTests(SynchronousTestCase):
    """
    Requests whose servers are chosen by a hash.
    """

    def test_same_server(self) -> None:
        """
        Requests with the same key go to the same server, from whatever client; if it cannot be
        connected to, they go to another one.
        """
        proxy = Proxy()
        balancer = Balancer(BalanceSettings(method="hash"))
        for port in range(1, 6):
            balancer.changed(Change(None, server(port)))
        proxy.exchanges.balancer = balancer
        proxy.exchanges.key_of = key_reader("header:X-User")

        def served_by(user: bytes) -> str | None:
            client = proxy.client(f"203.0.113.{len(proxy.servers)}")
            client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX-User: %b\r\n\r\n" % user)
            for wire in proxy.servers:
                if wire.take():
                    wire.receive(OK)
            self.assertIn(b"200", client.take())
            client.lose()
            return proxy.recorded[-1][0].server

        users = [b"%d" % n for n in range(12)]
        owners = {user: served_by(user) for user in users}
        self.assertGreater(len(set(owners.values())), 2)
        for user in users:
            self.assertEqual(served_by(user), owners[user])
        owner = owners[users[0]]
        assert owner is not None
        upstream = balancer.upstream(owner)
        assert upstream is not None
        upstream.close_idle()
        proxy.refusing.add(upstream.port)
        self.assertNotIn(served_by(users[0]), {None, owner})
