"""
Protocols and producers that keep what happens to them, for tests of transports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer


class Peer(Protocol):
    """
    Keeps what happens to it, and lets tests wait for that.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.happened: list[str] = []
        self.reason: Any = None
        self._waiting: list[tuple[Callable[[], bool], Deferred[Any]]] = []
        self.connections = 0

    def until(self, condition: Callable[[], bool]) -> Deferred[Any]:
        """
        Fires once a condition holds, which is looked at after each event.
        """
        waiting: Deferred[Any] = Deferred()
        self._waiting.append((condition, waiting))
        self.look()
        return waiting

    def look(self) -> None:
        """Look at the conditions."""
        for each in list(self._waiting):
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(self)

    def connectionMade(self) -> None:
        self.connections += 1
        self.look()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.look()

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason
        self.happened.append("lost")
        self.look()

    def lost(self) -> Deferred[Any]:
        """Fires once the connection is lost."""
        return self.until(lambda: self.reason is not None)


@implementer(IHalfCloseableProtocol)
class HalfPeer(Peer):
    """
    The same, for connections that close by halves.
    """

    def readConnectionLost(self) -> None:
        self.happened.append("read")
        self.look()

    def writeConnectionLost(self) -> None:
        self.happened.append("write")
        self.look()


@implementer(IPushProducer)
class Producer:
    """
    Keeps what it is told.
    """

    def __init__(self, peer: Peer) -> None:
        self.told: list[str] = []
        self._peer = peer

    def pauseProducing(self) -> None:
        self.told.append("pause")
        self._peer.look()

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self._peer.look()

    def stopProducing(self) -> None:
        self.told.append("stop")
        self._peer.look()


class PullProducer:
    """
    Writes so many pieces, one each time that it is asked.
    """

    def __init__(self, peer: Peer, pieces: int) -> None:
        self._peer = peer
        self._left = pieces

    def resumeProducing(self) -> None:
        if self._left:
            self._left -= 1
            self._peer.transport.write(b"x" * 50000)
        else:
            self._peer.transport.unregisterProducer()
            self._peer.transport.loseConnection()

    def stopProducing(self) -> None:
        pass
