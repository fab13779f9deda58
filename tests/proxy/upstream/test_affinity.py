"""
Tests for L{alacrity.proxy.upstream.affinity}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream.affinity import MOST_PRIVATE, ClientAffinity
from alacrity.proxy.upstream.server import UpstreamServer
from tests.support.wire import server


class Connection:
    """
    A connection that is kept.
    """

    def __init__(self, upstream: UpstreamServer, keeper: Any, *, login: bool = False) -> None:
        self.upstream = upstream
        self.keeper = keeper
        self.login = login
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self.keeper.remove(self)


class ClientAffinityTests(SynchronousTestCase):
    """
    The connections that one client may use.
    """

    def setUp(self) -> None:
        self.affinity: Any = ClientAffinity("always")
        self.one, self.two = UpstreamServer(server(1)), UpstreamServer(server(2))

    def kept(self, upstream: UpstreamServer, *, login: bool = False) -> Connection:
        """
        A connection that is kept for the client alone.
        """
        connection = Connection(upstream, self.affinity, login=login)
        self.affinity.keep(connection)
        return connection

    def test_private_first(self) -> None:
        """
        A private connection is used before a shared one, and each once.
        """
        shared: Any = Connection(self.one, self.one)
        self.one.keep(shared)
        private = self.kept(self.one)
        self.kept(self.two)
        taken = [self.affinity.take(self.one) for _ in range(3)]
        self.assertEqual(taken, [private, shared, None])

    def test_shares(self) -> None:
        """
        Shared connections are for those requests that may use them.
        """
        for reuse, shares in (
            ("always", [True, True, True]),
            ("safe", [False, False, True]),
            ("never", [False, False, False]),
        ):
            affinity: Any = ClientAffinity(reuse)  # type: ignore[arg-type]
            seen = [affinity.shares]
            for _ in range(2):
                affinity.request_begins()
                seen.append(affinity.shares)
            self.assertEqual(seen, shares)
        shared: Any = Connection(self.one, self.one)
        self.one.keep(shared)
        self.assertIsNone(affinity.take(self.one))

    def test_login(self) -> None:
        """
        A connection with a login is used while its server is up and has not been tried.
        """
        self.kept(self.one)
        login = self.kept(self.two, login=True)
        self.assertIsNone(self.affinity.take_login({self.two}))
        self.two.permit(False)
        self.assertIsNone(self.affinity.take_login(()))
        self.two.permit(True)
        self.assertIs(self.affinity.take_login(()), login)
        self.assertIsNone(self.affinity.take_login(()))

    def test_bounded(self) -> None:
        """
        The oldest makes room.
        """
        connections = [self.kept(self.one) for _ in range(MOST_PRIVATE + 2)]
        self.assertEqual([each.closed for each in connections[:3]], [True, True, False])
        self.assertEqual(len(self.affinity.private), MOST_PRIVATE)

    def test_closed(self) -> None:
        """
        With the client's connection, all are closed, and later ones at once.
        """
        before = [self.kept(self.one), self.kept(self.two, login=True)]
        self.affinity.close()
        after = self.kept(self.one)
        self.assertTrue(all(each.closed for each in [*before, after]))
        self.assertEqual(self.affinity.private, [])
