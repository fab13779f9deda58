"""
A network in memory, on a clock: TCP as protocols see it.

Bytes arrive in order after a delay. Where a direction is cut they wait, as TCP's do, and go
on when it is mended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

HIGH_WATER = 65536
"""Bytes on their way that pause a producer."""


class FakeNetwork:
    """
    Hosts, the ports that they listen on, and the bytes on their way between them.

    @ivar delay: called with two hosts; the seconds that bytes take from the first to
        the second.
    @ivar tap: called with two hosts and the bytes that arrive; what it returns arrives
        instead.
    @ivar connections: those that are open, from both ends.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.delay: Callable[[str, str], float] = lambda here, there: 0.001
        self.tap: Callable[[str, str, bytes], bytes] = lambda here, there, data: data
        self.connections: list[FakeTransport] = []
        self.listening: dict[tuple[str, int], IProtocolFactory] = {}
        self._cut: set[tuple[str, str]] = set()

    def server(self, host: str, port: int) -> IStreamServerEndpoint:
        """
        The endpoint of a host that listens.
        """
        return _ServerEndpoint(self, host, port)

    def connector(self, here: str) -> Callable[[str, int, float], IStreamClientEndpoint]:
        """
        A function that makes the endpoints of a host that connects to others.
        """
        return lambda host, port, timeout: _ClientEndpoint(self, here, host, port, timeout)

    def cut(self, here: str, there: str) -> None:
        """
        Hold back all bytes from a host to another.
        """
        self._cut.add((here, there))

    def mend(self, here: str, there: str) -> None:
        """
        Deliver the bytes that were held back, and those that follow.
        """
        self._cut.discard((here, there))
        for end in list(self.connections):
            if (end.here, end.there) == (here, there):
                end.hurry()

    def is_cut(self, here: str, there: str) -> bool:
        return (here, there) in self._cut


@implementer(ITransport)
class FakeTransport:
    """
    One end of a connection.
    """

    disconnecting = False

    def __init__(self, network: FakeNetwork, here: str, there: str) -> None:
        self.here = here
        self.there = there
        self._network = network
        self._sent: deque[tuple[float, bytes | None]] = deque()
        self._size = 0
        self._producer: Any = None
        self._paused = False
        self._lost = False
        self.protocol: Any = None
        self.other: FakeTransport
        self.no_delay = False
        # A host that does not read what comes.
        self.reading = True

    def start(self, protocol: IProtocol) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        if self._lost or self.disconnecting:
            return
        self._size += len(data)
        self._post(data)
        if self._size > HIGH_WATER and self._producer is not None and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def _post(self, data: bytes | None) -> None:
        clock = self._network.clock
        delay = self._network.delay(self.here, self.there)
        last = self._sent[-1][0] if self._sent else 0.0
        self._sent.append((max(last, clock.seconds() + delay), data))
        clock.callLater(max(last - clock.seconds(), delay), self.hurry)

    def hurry(self) -> None:
        """
        Deliver the bytes that are due.
        """
        other = self.other
        while (
            self._sent
            and not other._lost
            and other.reading
            and other.protocol is not None
            and self._sent[0][0] <= self._network.clock.seconds() + 1e-9
            and not self._network.is_cut(self.here, self.there)
        ):
            data = self._sent.popleft()[1]
            if data is None:
                other.lose(ConnectionDone() if not self._aborted else ConnectionLost())
                return
            self._size -= len(data)
            arriving = self._network.tap(self.here, self.there, data)
            if arriving:
                other.protocol.dataReceived(arriving)
            if self._paused and self._size <= HIGH_WATER // 4:
                self._paused = False
                if self._producer is not None:
                    self._producer.resumeProducing()
        if self.disconnecting and not self._size and not self._lost:
            self.lose(ConnectionDone())

    _aborted = False

    def loseConnection(self) -> None:
        if self.disconnecting or self._producer is not None:
            return
        self.disconnecting = True
        self._post(None)
        if not self._size:
            self._network.clock.callLater(0, self.lose, ConnectionDone())

    def abortConnection(self) -> None:
        if self._lost:
            return
        self._aborted = True
        self._sent.clear()
        self._post(None)
        self._network.clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, reason: Exception) -> None:
        """
        Close this end.
        """
        if self._lost:
            return
        self._lost = True
        self.disconnecting = True
        if self in self._network.connections:
            self._network.connections.remove(self)
        if not self._aborted and not any(data is None for _, data in self._sent):
            self._post(None)
        if self.protocol is not None:
            self.protocol.connectionLost(Failure(reason))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getPeer(self) -> IAddress:
        return IPv4Address("TCP", self.there, 0)

    def getHost(self) -> IAddress:
        return IPv4Address("TCP", self.here, 0)


@implementer(IStreamServerEndpoint)
class _ServerEndpoint:
    def __init__(self, network: FakeNetwork, host: str, port: int) -> None:
        self._network = network
        self._at = host, port

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        if self._at in self._network.listening:
            raise CannotListenError(*self._at, "in use")
        self._network.listening[self._at] = factory
        return succeed(_Port(self._network, self._at))


@implementer(IListeningPort)
class _Port:
    def __init__(self, network: FakeNetwork, at: tuple[str, int]) -> None:
        self._network = network
        self._at = at

    def startListening(self) -> None:
        """It listens already."""

    def stopListening(self) -> Deferred[None]:
        del self._network.listening[self._at]
        return succeed(None)

    def getHost(self) -> IAddress:
        return IPv4Address("TCP", *self._at)


@implementer(IStreamClientEndpoint)
class _ClientEndpoint:
    def __init__(
        self, network: FakeNetwork, here: str, there: str, port: int, timeout: float
    ) -> None:
        self._network = network
        self._here = here
        self._there = there
        self._port = port
        self._timeout = timeout

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        network = self._network
        clock = network.clock
        here, there = self._here, self._there
        connected: Deferred[IProtocol] = Deferred(lambda _: call.cancel())
        if network.is_cut(here, there) or network.is_cut(there, here):
            call = clock.callLater(self._timeout, connected.errback, TimeoutError())
        else:
            delay = network.delay(here, there) + network.delay(there, here)
            call = clock.callLater(delay, self._arrive, factory, connected)
        return connected

    def _arrive(self, factory: IProtocolFactory, connected: Deferred[IProtocol]) -> None:
        network = self._network
        listening = network.listening.get((self._there, self._port))
        if listening is None:
            connected.errback(ConnectionRefusedError())
            return
        near = FakeTransport(network, self._here, self._there)
        far = FakeTransport(network, self._there, self._here)
        near.other, far.other = far, near
        network.connections += [near, far]
        accepting = listening.buildProtocol(near.getHost())
        connecting = factory.buildProtocol(near.getPeer())
        assert accepting is not None
        assert connecting is not None
        far.start(accepting)
        near.start(connecting)
        connected.callback(connecting)
