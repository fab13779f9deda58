"""
Connections that have been switched to another protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from alacrity.net.turns import LARGE, READS, Turns

if TYPE_CHECKING:
    from alacrity.proxy.exchange.exchange import Exchange
    from alacrity.proxy.front.connection import ClientConnection
    from alacrity.proxy.front.frontend import Frontend
    from alacrity.proxy.upstream.connection import ServerConnection


@implementer(IPushProducer)
class _Way:
    """
    One of the two ways that bytes go. As a push producer, it stands for them to the
    connection that they are written to.

    @ivar ended: whether no more will come.
    """

    __slots__ = ("_full", "_large", "_sink", "_source", "_turns", "_yielding", "ended")

    def __init__(self, source: Any, sink: Any, turns: Turns, *, full: bool) -> None:
        """
        @param source: the transport that they come from.
        @param sink: the transport that they go to.
        @param turns: the queue of connections that wait to go on.
        @param full: whether the sink takes no more for now.
        """
        self._sink = sink
        self._source = source
        self._turns = turns
        self._full = False
        self._large = 0
        self._yielding = False
        self.ended = False
        sink.unregisterProducer()
        sink.registerProducer(self, True)
        if full:
            self.pauseProducing()

    def end(self) -> None:
        """
        There are no more: half-close what they went to.
        """
        self.ended = True
        self._sink.unregisterProducer()
        self._sink.loseWriteConnection()

    def send(self, data: bytes) -> None:
        """
        Pass bytes on; after many, let others have their turn before the next.
        """
        self._sink.write(data)
        if len(data) < LARGE:
            return
        self._large += 1
        if self._large % READS == 0 and not self._yielding:
            self._yielding = True
            self._source.pauseProducing()
            self._turns.add(self._go_on)

    def _go_on(self) -> None:
        self._yielding = False
        if not self._full:
            self.resumeProducing()

    def pauseProducing(self) -> None:
        self._full = True
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        self._full = False
        if not self.ended and not self._yielding:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost; its protocol is told so too."""


class Tunnel:
    """
    Passes bytes between a client and a server, as they come, once both have agreed
    on another protocol than HTTP (RFC 9110 7.8).

    Each way ends by itself; with both, the connections do. Neither connection is
    used again. Its deadline is the client's.
    """

    def __init__(
        self,
        frontend: Frontend,
        client: ClientConnection,
        server: ServerConnection,
        exchange: Exchange,
    ) -> None:
        self._frontend = frontend
        self._client = client
        self._server = server
        self._exchange = exchange
        self._over = False
        self._closing = False

    def open(self, answer: bytes, said: bytes) -> None:
        """
        Begin.

        @param answer: the head of the server's answer.
        @param said: what the server has sent after it.
        """
        self._exchange.sent = len(said)
        held, ended = self._client.release()
        self._frontend.stats.tunnels += 1
        client, server = self._client, self._server
        turns = self._frontend.turns
        self._from_server = _Way(server.transport, client.transport, turns, full=client.full)
        self._from_client = _Way(client.transport, server.transport, turns, full=server.full)
        self._touch()
        client.transport.write(answer + said)
        if held:
            server.transport.write(held)
        if ended:
            self.clientEnded()
        elif not server.full:
            client.transport.resumeProducing()

    def _touch(self) -> None:
        frontend = self._frontend
        self._client.deadline = frontend.deadlines.now + frontend.timeouts.tunnel_idle

    def clientReceived(self, data: bytes) -> None:
        """
        Bytes from the client.
        """
        self._touch()
        self._from_client.send(data)

    def serverReceived(self, data: bytes) -> None:
        """
        Bytes from the server.
        """
        self._touch()
        self._exchange.sent += len(data)
        self._from_server.send(data)

    def clientEnded(self) -> None:
        """
        The client sends no more.
        """
        self._end(self._from_client)

    def serverEnded(self) -> None:
        """
        The server sends no more.
        """
        self._end(self._from_server)

    def _end(self, way: _Way) -> None:
        if way.ended or self._closing:
            return
        self._touch()
        way.end()
        if self._from_client.ended and self._from_server.ended:
            self._close()

    def _close(self) -> None:
        """
        Close both connections, once all is written.
        """
        self._closing = True
        frontend = self._frontend
        self._client.deadline = frontend.deadlines.now + frontend.timeouts.client_idle
        for each in (self._client, self._server):
            each.transport.unregisterProducer()
            each.transport.loseConnection()

    def clientLost(self) -> None:
        """
        The client's connection is lost.
        """
        self._lost(self._from_client)

    def serverLost(self) -> None:
        """
        The server's connection is lost.
        """
        self._lost(self._from_server)

    def _lost(self, way: _Way) -> None:
        """
        A connection is lost: let the other have what came before that, if it had come
        to its end, else break it off too.
        """
        if not self._over:
            self._over = True
            self._frontend.stats.tunnels -= 1
            self._exchange.tunnelEnded()
            if self._frontend.record is not None:
                self._frontend.record(self._client, self._exchange, self._exchange.status)
        if not self._closing:
            if way.ended:
                self._close()
            else:
                self.cut()

    def expired(self) -> None:
        """
        Nothing has come for too long; or it was closing, and did not get there.
        """
        if self._closing:
            self.cut()
        else:
            self._close()

    def cut(self) -> None:
        """
        Drop both connections.
        """
        self._closing = True
        self._server.abort()
        self._client.drop()
