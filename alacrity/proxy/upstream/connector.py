"""
Connecting to servers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from alacrity.net.turns import Turns
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.upstream.connection import ConnectionSettings, ServerConnection
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.slots import Slots


class _ConnectionFactory(Factory):
    """
    Builds one connection.
    """

    noisy = False

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: object) -> Any:
        return self._connection


class Connector:
    """
    Makes connections to servers.
    """

    def __init__(
        self,
        endpoint: Callable[[str, int], IStreamClientEndpoint],
        slots: Slots,
        settings: ConnectionSettings,
        deadlines: Deadlines,
        turns: Turns,
    ) -> None:
        """
        @param endpoint: the endpoint of an IP address and a port, with its time limit.
        @param turns: the queue of connections that wait to go on with what they have.
        """
        self._endpoint = endpoint
        self._slots = slots
        self._settings = settings
        self._deadlines = deadlines
        self._turns = turns

    def connect(self, upstream: UpstreamServer) -> Deferred[ServerConnection]:
        """
        Connect to a server.

        @return: the connection; it may be ended already. Cancelled, the attempt is given up.
        """
        endpoint = self._endpoint(upstream.host, upstream.port)
        slot = self._slots.take()
        connection = ServerConnection(upstream, self._settings, self._deadlines, self._turns, slot)
        connecting: Deferred[Any] = endpoint.connect(_ConnectionFactory(connection))
        return connecting.addErrback(slot.failed)
