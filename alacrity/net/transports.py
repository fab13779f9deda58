"""
The transport of a Twisted protocol over a uvloop connection.

Twisted's asyncioreactor asks uvloop for readiness alone and does the reading and
writing in Python. Here uvloop owns the socket, and hands its bytes to a plain
Twisted protocol: once connected, what uvloop calls with data is the protocol's
own C{dataReceived}, and what the protocol calls to write is uvloop's own
C{write}. No code of Alacrity's runs in between.
"""

from __future__ import annotations

import asyncio
import enum
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from alacrity.net.sockets import ConnectionSocket

HIGH_WATER: Final = 65536
"""Unsent bytes from which a producer is paused."""

LOW_WATER: Final = 16384
"""Unsent bytes below which a paused producer resumes."""

READ_SIZE: Final = 262144
"""Bytes read at once, as uvloop does."""

LAST_READS: Final = 64
"""
Most reads of the data that had come before a connection was lost: an early answer. That is
more than a system keeps for one connection, 6 MiB by default.
"""

_log: Final = Logger()


class TransportPhase(enum.Enum):
    """
    The life of a L{StreamTransport}. It passes from one phase to a later one alone.
    """

    CONNECTING = "connecting"
    """uvloop has not told of the connection."""

    OPEN = "open"
    """The protocol may write."""

    CLOSING = "closing"
    """No more is written, but what was written before is still sent."""

    ABORTING = "aborting"
    """The other end gets a reset."""

    LOST = "lost"
    """uvloop has told of the connection's end."""


_CONNECTING: Final = TransportPhase.CONNECTING
_OPEN: Final = TransportPhase.OPEN
_CLOSING: Final = TransportPhase.CLOSING
_ABORTING: Final = TransportPhase.ABORTING
_LOST: Final = TransportPhase.LOST


class StreamTransport(ConnectionSocket):
    """
    One connection: to uvloop an asyncio protocol, to the Twisted protocol its transport.

    @ivar write: sends bytes; uvloop's own, while the connection is open.
    @ivar writeSequence: sends several; likewise.
    @ivar data_received: the protocol's own C{dataReceived}, unless a subclass puts something
        before it.
    @ivar phase: of the connection.
    """

    __slots__ = (
        "__weakref__",
        "_build",
        "_error",
        "_full",
        "_loop",
        "_paused",
        "_producer",
        "_protocol",
        "_pull",
        "data_received",
        "phase",
        "write",
        "writeSequence",
    )

    write: Callable[[bytes], None]
    writeSequence: Callable[[Iterable[bytes]], None]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        build: Callable[[IAddress], IProtocol | None],
    ) -> None:
        """
        @param build: makes the protocol for the other end's address; L{None}: the
            connection is dropped.
        """
        super().__init__()
        self._paused = False
        self._loop = loop
        self._build = build
        self._error: OSError | None = None
        self._protocol: Any = None
        self._producer: Any = None
        self._pull = False
        self._full = False
        self.phase = _CONNECTING
        self.write = self.writeSequence = _discard

    def __repr__(self) -> str:
        protocol = "no protocol" if self._protocol is None else type(self._protocol).__name__
        return f"<StreamTransport {self.phase.value}: {protocol} to {self._peer}>"

    @property
    def disconnecting(self) -> bool:
        """
        Whether the protocol may write no more (L{ITransport}).
        """
        phase = self.phase
        return phase is not _OPEN and phase is not _CONNECTING

    @property
    def was_taken(self) -> bool:
        """
        Whether the protocol has taken the connection: neither it nor its factory raised.
        """
        return hasattr(self, "data_received")

    # Towards uvloop

    def connection_made(self, uv: Any) -> None:
        self._uv = uv
        self.phase = _OPEN
        uv.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.write = uv.write
        self.writeSequence = uv.writelines
        self._read_peer()
        protocol: Any = self._build(self._peer)
        # It may hold the protocol, and so this transport.
        self._build = _build_nothing
        if protocol is None:
            self.abortConnection()
            return
        self._protocol = protocol
        protocol.makeConnection(self)
        # uvloop keeps the bound method that it finds at this moment.
        self.data_received = self._receiver(protocol)
        uv.set_protocol(self)

    def _receiver(self, protocol: Any) -> Callable[[bytes], None]:
        """
        The function that uvloop calls with each read.
        """
        receive: Callable[[bytes], None] = protocol.dataReceived
        return receive

    def eof_received(self) -> bool:
        # libuv tells of an end where there are bytes and a reset at once, and looks no
        # further. The bytes that came before a reset may not be all that were sent.
        code = self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._error = OSError(code, os.strerror(code))
            return False
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is None:
            return False
        half_closeable.readConnectionLost()
        return True

    def connection_lost(self, error: BaseException | None) -> None:
        if isinstance(error, OSError) and self.phase is not _ABORTING:
            self._read_rest()
        aborted = self.phase is _ABORTING
        self.phase = _LOST
        # References in both directions are dropped: a connection that has ended is not to
        # wait for Python's collector of cycles, which would stop all others meanwhile.
        self._uv = None
        error = error or self._error
        self.write = self.writeSequence = self.data_received = _discard
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, self._protocol = self._protocol, None
        if protocol is None:
            return
        if aborted:
            reason = Failure(ConnectionAborted())
        elif error is None:
            # One for all connections, as Twisted's own transports have it.
            reason = connectionDone
        else:
            reason = Failure(_reason(error))
        protocol.connectionLost(reason)

    def _read_rest(self) -> None:
        """
        Read the bytes that had come before a write failed, such as the answer of a server
        that did not want all of a request. uvloop does not.
        """
        sock = self._open_socket()
        if sock is None or self._protocol is None:
            return
        # The protocol is not to write any more.
        if self.phase is _OPEN:
            self.phase = _CLOSING
        try:
            for _ in range(LAST_READS):
                data = os.read(sock.fileno(), READ_SIZE)
                if not data or self.phase is _ABORTING:
                    break
                self._protocol.dataReceived(data)
        except OSError:
            pass  # No more bytes have come.
        except Exception:
            _log.failure("the bytes before the loss of a connection could not be read")

    def pause_writing(self) -> None:
        self._full = True
        if self._producer is not None and not self._pull:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        self._full = False
        if self._producer is not None:
            if self._pull:
                self._produce()
            else:
                self._producer.resumeProducing()

    def _produce(self) -> None:
        """
        Let a pull producer write once, and again when there is room.
        """
        if self._producer is not None and self._pull and not self._full:
            self._producer.resumeProducing()
            self._loop.call_soon(self._produce)

    # Towards the protocol: ITransport

    def loseConnection(self) -> None:
        """
        Close once everything is written; not while a producer is registered.
        """
        if self.phase is _OPEN or self.phase is _CONNECTING:
            self.phase = _CLOSING
        if self._producer is None:
            self._close()

    def _close(self) -> None:
        self.write = self.writeSequence = _discard
        if self._uv is not None:
            self._uv.close()

    def abortConnection(self) -> None:
        """
        Drop the connection at once; the peer gets a reset, not an end.
        """
        if self.phase is _ABORTING or self._uv is None:
            return
        self.phase = _ABORTING
        self.write = self.writeSequence = _discard
        open_socket = self._open_socket()
        if open_socket is not None:
            try:
                open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except (OSError, ValueError):
                pass  # It is gone already.
        self._uv.abort()

    def loseWriteConnection(self) -> None:
        """
        Half-close, once everything is written.
        """
        if self.disconnecting or self._open_socket() is None:
            return
        self.write = self.writeSequence = _discard
        self._uv.write_eof()
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is not None:
            self._loop.call_soon(half_closeable.writeConnectionLost)

    # IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already")
        if self._uv is None or self._uv.is_closing():
            producer.stopProducing()
            return
        self._producer = producer
        self._pull = not streaming
        if self._pull:
            self._produce()

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.phase is _CLOSING:
            self._close()

    # IPushProducer

    def pauseProducing(self) -> None:
        self._paused = True
        if self._uv is None:
            return
        if not self._uv.is_reading():
            # uvloop begins to read after connection_made, whatever happens in it.
            self._loop.call_soon(self._stay_paused)
        self._uv.pause_reading()

    def _stay_paused(self) -> None:
        # The protocol may have resumed the reading since.
        if self._paused and self._uv is not None:
            self._uv.pause_reading()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._uv is not None and self._open_socket() is not None:
            self._uv.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()


classImplements(StreamTransport, ITCPTransport, IConsumer, IPushProducer)


def _reason(error: BaseException) -> BaseException:
    """
    Twisted's exception for the loss of a connection.

    @param error: the one that uvloop told.
    """
    return ConnectionLost(str(error)) if isinstance(error, OSError) else error


def _discard(data: object) -> None:
    """
    Drop bytes that are written to a closed connection, or come from one.
    """


def _build_nothing(address: IAddress) -> None:
    """
    Build no protocol: in the place of a factory that has built one.
    """
