"""
Connections that have been switched to another protocol.

    OPEN ─▶ CLOSING     both ways have ended, or nothing came for too long
      └─────┴─▶ DROPPED     one side broke off, or did not come to its end
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from alacrity.http1.messages import ResponseHead
from alacrity.proxy.interfaces import Downstream, TunnelEnd, UpstreamConnection


class TunnelPhase(Enum):
    """
    The phases of a tunnel.
    """

    OPEN = "open"
    CLOSING = "closing"
    """Both connections close, once all is written."""

    DROPPED = "dropped"


_OPEN: Final = TunnelPhase.OPEN
_CLOSING: Final = TunnelPhase.CLOSING
_DROPPED: Final = TunnelPhase.DROPPED


class TunnelSide:
    """
    One side of a tunnel: receives the events of one connection, and acts upon the other.

    @ivar sent: bytes that have come.
    @ivar has_ended: whether no more will come.
    """

    __slots__ = ("_other", "_tunnel", "has_ended", "sent")

    def __init__(self, tunnel: Tunnel, other: TunnelEnd, sent: int = 0) -> None:
        """
        @param other: the connection that the bytes go to.
        @param sent: bytes that have come already.
        """
        self._tunnel = tunnel
        self._other = other
        self.has_ended = False
        self.sent = sent

    def received(self, data: bytes) -> None:
        """Bytes have come: pass them on."""
        tunnel = self._tunnel
        if tunnel.phase is _OPEN:
            self.sent += len(data)
            tunnel.touch()
            self._other.write(data)

    def ended(self) -> None:
        """No more will come: half-close the connection that they went to."""
        tunnel = self._tunnel
        if self.has_ended or tunnel.phase is not _OPEN:
            return
        self.has_ended = True
        tunnel.touch()
        self._other.end()
        tunnel.way_ended()

    def lost(self) -> None:
        """The connection is lost."""
        self._tunnel.lost(orderly=self.has_ended)

    def full(self) -> None:
        """The connection takes no more: stop reading the other."""
        if self._tunnel.phase is _OPEN:
            self._other.pause()

    def drained(self) -> None:
        """The connection takes more: resume reading the other."""
        if self._tunnel.phase is _OPEN:
            self._other.resume()

    def expired(self) -> None:
        """The connection's deadline has passed."""
        self._tunnel.expired()

    def cut(self) -> None:
        """Drop both connections."""
        self._tunnel.cut()


class Tunnel:
    """
    Passes bytes between a client and a server, as they come, once both have agreed
    on another protocol than HTTP (RFC 9110 7.8).

    Each way ends by itself; with both, the connections do. Neither connection is
    used again. Its deadline is the client's.

    @ivar phase: see the top of this module.
    """

    __slots__ = ("_client", "_closing", "_ended", "_idle", "_open_ways", "_server", "phase")

    def __init__(
        self,
        client: Downstream,
        server: TunnelEnd,
        *,
        idle: float,
        closing: float,
        ended: Callable[[], None],
    ) -> None:
        """
        @param idle: seconds for which it may carry nothing.
        @param closing: seconds that the client has to take the rest.
        @param ended: called when one of the connections is lost, once.
        """
        self._client = client
        self._server = server
        self._idle = idle
        self._closing = closing
        self._ended: Callable[[], None] | None = ended
        self._open_ways = 2
        self.phase = _OPEN
        if client.full:
            server.pause()
        if server.full:
            client.pause()
        self.touch()

    def __repr__(self) -> str:
        return f"<Tunnel {self.phase.value}>"

    def touch(self) -> None:
        """
        Restart the limit on the time without bytes.
        """
        self._client.await_until(self._idle)

    def way_ended(self) -> None:
        """
        One of the two ways has come to its end: with both, close.
        """
        self._open_ways -= 1
        if not self._open_ways:
            self._close()

    def _close(self) -> None:
        """
        Close both connections, once all is written.
        """
        self.phase = _CLOSING
        self._client.await_until(self._closing)
        self._client.close()
        self._server.close()

    def lost(self, *, orderly: bool) -> None:
        """
        A connection is lost: finish writing to the other, if the lost one had come to its
        end; else drop the other too.

        @param orderly: whether the connection had come to its end.
        """
        told, self._ended = self._ended, None
        if told is not None:
            told()
        if self.phase is _OPEN:
            if orderly:
                self._close()
            else:
                self.cut()

    def expired(self) -> None:
        """
        Nothing has come for too long: close; or closing has taken too long: drop.
        """
        if self.phase is _OPEN:
            self._close()
        else:
            self.cut()

    def cut(self) -> None:
        """
        Drop both connections.
        """
        self.phase = _DROPPED
        self._server.abort()
        self._client.abort()


def open_tunnel(
    client: Downstream,
    server: UpstreamConnection,
    head: ResponseHead,
    said: bytes,
    *,
    idle: float,
    closing: float,
    ended: Callable[[], None],
) -> TunnelSide:
    """
    Make a tunnel of the two connections of an exchange.

    @param head: the server's response that switches protocols.
    @param said: bytes that the server sent after it.
    @return: the server's side.

    The others are as for L{Tunnel}.
    """
    tunnel = Tunnel(client, server, idle=idle, closing=closing, ended=ended)
    from_server = TunnelSide(tunnel, client, sent=len(said))
    server.switch(from_server)
    client.switch(head, said, TunnelSide(tunnel, server))
    return from_server
