"""
Stream endpoints on uvloop's transports, for Twisted protocols.

Twisted's asyncioreactor asks uvloop for readiness alone and does the reading and
writing in Python. Here uvloop owns the socket, and hands its bytes to a plain
Twisted protocol: once connected, what uvloop calls with data is the protocol's
own C{dataReceived}, and what the protocol calls to write is uvloop's own
C{write}. Nothing of ours runs in between.

On a reactor that is not on a uvloop loop, and for endpoint strings other than
C{tcp}, C{tcp6} and C{unix}, the endpoints are Twisted's own.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    serverFromString,
)
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    NoProtocol,
    TimeoutError,
    getConnectError,
)
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorCore,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.lockfile import FilesystemLock
from zope.interface import implementer

from alacrity.net.descriptions import names_mode
from alacrity.net.turns import Turns

HIGH_WATER: Final = 65536
"""How many unsent bytes pause a producer."""

LOW_WATER: Final = 16384
"""How few let it go on."""

READ_SIZE: Final = 262144
"""Bytes that are read at once, as uvloop does."""

LAST_READS: Final = 4
"""Such reads of what had come before a connection was lost: an answer that came early."""

OWNER_ONLY: Final = 0o600
"""The mode of a Unix socket that this user alone may connect to."""

_log = Logger()


def uvloop_of(reactor: IReactorCore) -> asyncio.AbstractEventLoop | None:
    """
    The uvloop loop that a reactor runs on, if it does.
    """
    # The reactor offers no public name for its loop.
    loop: asyncio.AbstractEventLoop | None = getattr(reactor, "_asyncioEventloop", None)
    if loop is None or type(loop).__module__.partition(".")[0] != "uvloop":
        return None
    loop.set_exception_handler(_report)
    return loop


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    Log what a protocol raised; uvloop has dropped its connection for it.
    """
    error = context.get("exception")
    if error is None:
        _log.error("{what}", what=context["message"])
    else:
        _log.failure("{what}", Failure(error), what=context["message"])


def server_endpoint(
    reactor: Any, description: str, *, mode: int = OWNER_ONLY, turn: int = 0
) -> IStreamServerEndpoint:
    """
    Like L{twisted.internet.endpoints.serverFromString}, on uvloop where possible.

    @param mode: of a Unix socket, where the description names none.
    @param turn: bytes that a protocol is given of one connection in one turn of the
        loop, at most; 0: as many as there are. For protocols that do not see to this
        themselves; on uvloop alone.
    """
    loop = uvloop_of(reactor)
    kind = description.partition(":")[0]
    if loop is not None and kind in {"tcp", "tcp6", "unix"}:
        reactor = _Listener(loop, turn)
    if kind != "unix":
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
        return endpoint
    if not names_mode(description):
        description += f":mode={mode:o}"
    return _UnixEndpoint(serverFromString(reactor, description))


@implementer(IStreamServerEndpoint)
class _UnixEndpoint:
    """
    Listens on a Unix socket that is never open to more users than it is in the end.
    """

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        See L{IStreamServerEndpoint}.
        """
        # The kernel makes the socket by the mask; only then it can be given a mode.
        mask = os.umask(0o777 & ~OWNER_ONLY)
        try:
            listening: Deferred[IListeningPort] = self._endpoint.listen(protocolFactory)
            return listening
        finally:
            os.umask(mask)


def client_endpoint(
    reactor: IReactorCore, host: str, port: int, timeout: float
) -> IStreamClientEndpoint:
    """
    An endpoint for TCP connections to an IP address, on uvloop where possible.

    @param timeout: in seconds.
    """
    loop = uvloop_of(reactor)
    if loop is not None:
        return _ClientEndpoint(
            loop,
            lambda protocol: loop.create_connection(protocol, host, port),
            (IPv6Address if ":" in host else IPv4Address)("TCP", host, port),
            timeout,
        )
    kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    return kind(reactor, host, port, timeout)


def unix_client_endpoint(reactor: IReactorCore, path: str, timeout: float) -> IStreamClientEndpoint:
    """
    An endpoint for connections to a Unix socket, on uvloop where possible.

    @param timeout: in seconds.
    """
    loop = uvloop_of(reactor)
    if loop is not None:
        return _ClientEndpoint(
            loop,
            lambda protocol: loop.create_unix_connection(protocol, path),
            UNIXAddress(path),
            timeout,
        )
    return UNIXClientEndpoint(reactor, path, timeout)


def unsent(transport: Any) -> int | None:
    """
    Bytes written to a connection that its other end has not acknowledged: those in the
    transport's buffer and those in the kernel's. L{None}: it cannot be told.
    """
    tell = getattr(transport, "unsent", None)
    if tell is not None:
        count: int | None = tell()
        return count
    sock = getattr(transport, "socket", None)
    if sock is None:
        return None
    # Twisted's transports offer no public name for their buffers.
    waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001
    return waiting + _unacknowledged(sock)


def _unacknowledged(sock: Any) -> int:
    """
    Bytes that the kernel has yet to see acknowledged (C{SIOCOUTQ}, tcp(7)).
    """
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return 0
    return int(count)


_SHORTAGES: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)


def local_shortage(error: BaseException | None) -> int | None:
    """
    The resource that this machine lacked for a connection, as an C{errno};
    L{None}: nothing, it was the other end.
    """
    code: int | None = (
        error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)
    )
    return code if code in _SHORTAGES else None


@implementer(ITCPTransport, IConsumer, IPushProducer)
class StreamTransport:
    """
    One connection: to uvloop it is an asyncio protocol, to the Twisted protocol
    its transport.

    @ivar write: sends bytes; uvloop's own, while the connection is open.
    @ivar writeSequence: sends several; likewise.
    @ivar data_received: the protocol's own C{dataReceived}, unless it is to be given so
        much in a turn of the loop at most.
    @ivar disconnecting: whether L{loseConnection} has been called.
    """

    __slots__ = (
        "__weakref__",
        "_aborting",
        "_build",
        "_error",
        "_full",
        "_giving",
        "_held",
        "_loop",
        "_paused",
        "_peer",
        "_producer",
        "_protocol",
        "_pull",
        "_turn",
        "_turns",
        "_uv",
        "data_received",
        "disconnecting",
        "write",
        "writeSequence",
    )

    write: Callable[[bytes], None]
    writeSequence: Callable[[Iterable[bytes]], None]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        build: Callable[[IAddress], IProtocol | None],
        turn: int = 0,
        turns: Turns | None = None,
    ) -> None:
        """
        @param turn: bytes that the protocol is given at once; 0: as many as there are.
        @param turns: the queue in which it waits for more.
        """
        self._turn = turn
        self._turns: Any = turns
        # What is left for the next turns, whether one is asked for, and whether the
        # protocol wants nothing for now.
        self._held = b""
        self._giving = False
        self._paused = False
        self._loop = loop
        self._build = build
        self._uv: Any = None
        self._peer: Any = None
        self._error: OSError | None = None
        self._protocol: Any = None
        self._producer: Any = None
        self._pull = False
        self._full = False
        self._aborting = False
        self.disconnecting = False
        self.write = self.writeSequence = _discard

    # Towards uvloop

    def connection_made(self, uv: Any) -> None:
        self._uv = uv
        uv.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.write = uv.write
        self.writeSequence = uv.writelines
        self._peer = _address(uv.get_extra_info("socket").family, self._peername())
        protocol = self._build(self._peer)
        # It may know the protocol, and so know us.
        self._build = _build_nothing
        if protocol is None:
            self.abortConnection()
            return
        self._protocol = protocol
        protocol.makeConnection(self)
        # uvloop keeps the bound method that it finds at this moment.
        self.data_received = self._receive if self._turn else protocol.dataReceived
        uv.set_protocol(self)

    def _receive(self, data: bytes) -> None:
        """
        Give the protocol what is right for this turn of the loop, and keep the rest.
        """
        self._held += data
        if self._giving:
            return
        turns = self._turns
        if turns or len(self._held) > self._turn:
            if self._uv is not None:
                self._uv.pause_reading()
            self._giving = True
            turns.add(self._give)
        else:
            self._give()

    def _give(self) -> None:
        self._giving = False
        if self._paused or not self._held or self._protocol is None:
            return
        piece, self._held = self._held[: self._turn], self._held[self._turn :]
        self._protocol.dataReceived(piece)
        if not self._paused:
            self.resumeProducing()

    def eof_received(self) -> bool:
        # libuv tells of an end where there are bytes and a reset at once, and looks no
        # further. What came before a reset may not be all that there was.
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
        if isinstance(error, OSError) and not self._aborting and not self._turn:
            self._read_what_came()
        # What holds us, we hold no longer: a connection that has ended is not to wait
        # for Python's collector of cycles, which would stop all others meanwhile.
        self._uv = None
        self._held = b""
        error = error or self._error
        self.write = self.writeSequence = self.data_received = _discard
        self.disconnecting = True
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, self._protocol = self._protocol, None
        if protocol is None:
            return
        if self._aborting:
            reason = Failure(ConnectionAborted())
        elif error is None:
            reason = Failure(ConnectionDone())
        elif isinstance(error, OSError):
            reason = Failure(ConnectionLost(str(error)))
        else:
            reason = Failure(error)
        protocol.connectionLost(reason)

    def _read_what_came(self) -> None:
        """
        Read what had come before a write failed, such as the answer of a server that
        did not want all of a request. uvloop does not look.
        """
        sock = self._open_socket()
        if sock is None or self._protocol is None:
            return
        # Nothing that is written from now on goes anywhere.
        self.disconnecting = True
        try:
            for _ in range(LAST_READS):
                data = os.read(sock.fileno(), READ_SIZE)
                if not data or self._aborting:
                    break
                self._protocol.dataReceived(data)
        except OSError:
            pass  # That was all.
        except Exception:
            _log.failure("what came before a connection was lost could not be read")

    def unsent(self) -> int:
        """
        See L{unsent<alacrity.net.transports.unsent>}.
        """
        sock = self._open_socket()
        if sock is None:
            return 0
        waiting: int = self._uv.get_write_buffer_size()
        return waiting + _unacknowledged(sock)

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
        self.disconnecting = True
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
        if self._aborting or self._uv is None:
            return
        self._aborting = True
        self.disconnecting = True
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

    def getPeer(self) -> Any:
        return self._peer

    def _peername(self) -> Any:
        try:
            return self._socket().getpeername()
        except OSError:
            # Gone before it was accepted.
            return ("0.0.0.0", 0)  # noqa: S104

    def getHost(self) -> Any:
        """
        This end's address; an unspecified one, if the connection has ended.
        """
        sock = self._open_socket()
        if sock is None:
            if isinstance(self._peer, UNIXAddress):
                return UNIXAddress(None)
            return IPv4Address("TCP", "0.0.0.0", 0)  # noqa: S104
        return _address(sock.family, sock.getsockname())

    def _socket(self) -> Any:
        return self._uv.get_extra_info("socket")

    @property
    def is_open(self) -> bool:
        """
        Whether uvloop has told of the connection, and not of its end.
        """
        return self._uv is not None

    def _open_socket(self) -> Any:
        """
        The socket; L{None} once uvloop has closed it, which it may do before it tells
        us, or without telling us.
        """
        sock = None if self._uv is None else self._socket()
        return None if sock is None or sock.fileno() < 0 else sock

    # To Twisted, what has the methods that follow is TCP; a Unix socket has no such options.

    def _option(self, level: int, name: int) -> bool:
        sock = self._open_socket()
        if sock is None or sock.family == socket.AF_UNIX:
            return False
        return bool(sock.getsockopt(level, name))

    def _set_option(self, level: int, name: int, *, enabled: bool) -> None:
        sock = self._open_socket()
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(level, name, enabled)

    def getTcpNoDelay(self) -> bool:
        return self._option(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled=enabled)

    def getTcpKeepAlive(self) -> bool:
        return self._option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled=enabled)

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
        if self.disconnecting and not self._aborting:
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
        # It may have been told to read on since.
        if self._paused and self._uv is not None:
            self._uv.pause_reading()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._held:
            if not self._giving:
                self._giving = True
                self._turns.add(self._give)
        elif self._uv is not None and self._open_socket() is not None:
            self._uv.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()


def _discard(data: object) -> None:
    """
    What is written to a closed connection, or comes from one.
    """


def _build_nothing(address: IAddress) -> None:
    """
    In the place of a factory that has done its work.
    """


def _address(family: int, name: Any) -> IAddress:
    if family == socket.AF_INET6:
        return IPv6Address("TCP", *name)
    if family == socket.AF_INET:
        return IPv4Address("TCP", *name)
    return UNIXAddress(name or None)


class _Listener:
    """
    The part of a reactor that Twisted's server endpoints use, on uvloop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: int) -> None:
        self._loop = loop
        self._turn = turn

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorTCP}.
        """
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, interface != "::")
            sock.bind((interface, port))
        except OSError as error:
            sock.close()
            raise CannotListenError(interface, port, error) from error
        return _Port(self._loop, sock, factory, max(backlog, socket.SOMAXCONN), self._turn)

    def listenUNIX(
        self,
        address: str,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorUNIX}.
        """
        lock: FilesystemLock | None = None
        if wantPID:
            lock = FilesystemLock(address + ".lock")
            if not lock.lock():
                raise CannotListenError(None, address, "it is in use")
            if not lock.clean:
                # Whoever held the lock died, and left its socket.
                _remove(address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(address)
            os.chmod(address, mode)
        except OSError as error:
            sock.close()
            if lock is not None:
                lock.unlock()
            raise CannotListenError(None, address, error) from error

        def release() -> None:
            _remove(address)
            if lock is not None:
                lock.unlock()

        backlog = max(backlog, socket.SOMAXCONN)
        return _Port(self._loop, sock, factory, backlog, self._turn, release)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


@implementer(IListeningPort)
class _Port:
    """
    A listening socket.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        factory: IProtocolFactory,
        backlog: int,
        turn: int,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._factory = factory
        self._backlog = backlog
        self._turn = turn
        self._turns = Turns(loop.call_soon)
        self._release = release
        self._host = _address(sock.family, sock.getsockname())
        self._serving: asyncio.Task[Any] | None = None
        self.startListening()

    def startListening(self) -> None:
        self._factory.doStart()
        sock = self._socket
        sock.setblocking(False)
        # Now, so that a client that connects before the reactor runs is queued.
        sock.listen(self._backlog)
        create: Any = (
            self._loop.create_unix_server
            if sock.family == socket.AF_UNIX
            else self._loop.create_server
        )
        self._serving = self._loop.create_task(
            create(
                lambda: StreamTransport(
                    self._loop, self._factory.buildProtocol, self._turn, self._turns
                ),
                sock=sock,
                backlog=self._backlog,
            )
        )

    def stopListening(self) -> Deferred[None]:
        serving, self._serving = self._serving, None
        if serving is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()

        def close(task: asyncio.Task[Any]) -> None:
            if task.cancelled() or task.exception() is not None:
                self._socket.close()
            else:
                task.result().close()
            try:
                self._release()
            except OSError as error:
                # As another user than bound it, it may not be allowed to.
                _log.warn(
                    "{name} cannot be removed: {why}", name=error.filename, why=error.strerror
                )
            self._factory.doStop()
            # uvloop closes the socket in the loop's next turn.
            self._loop.call_soon(self._loop.call_soon, stopped.callback, None)

        serving.add_done_callback(close)
        return stopped

    def getHost(self) -> IAddress:
        return self._host


def after_turns(
    loop: asyncio.AbstractEventLoop, turns: int, call: Callable[..., object], *arguments: Any
) -> None:
    """
    Call something after so many turns of a loop, in each of which it looks at the sockets.
    """
    if turns:
        loop.call_soon(after_turns, loop, turns - 1, call, *arguments)
    else:
        call(*arguments)


@implementer(IStreamClientEndpoint)
class _ClientEndpoint:
    """
    Connects through uvloop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        create: Callable[[Callable[[], Any]], Any],
        address: IAddress,
        timeout: float,
    ) -> None:
        self._loop = loop
        self._create = create
        self._address = address
        self._timeout = timeout

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See L{IStreamClientEndpoint}. If the attempt is cancelled or times out, the protocol
        is either not built, or told by C{connectionLost} that it has no connection.
        """
        loop = self._loop
        made: list[StreamTransport] = []
        built: list[Any] = []

        def make() -> StreamTransport:
            made.append(StreamTransport(loop, build))
            return made[0]

        def build(address: IAddress) -> IProtocol | None:
            if connected.called:
                # It was given up while uvloop had the connection in hand.
                return None
            protocol = factory.buildProtocol(address)
            built.append(protocol)
            return protocol

        def expire() -> None:
            # Timers run before the sockets are looked at. After a stall of the loop, the
            # connection may long be made: it takes three turns until we would be told.
            after_turns(loop, 3, give_up, TimeoutError())

        def give_up(reason: Exception) -> None:
            # The loop may have both in hand, that it is late and that it is not wanted.
            late.cancel()
            if connected.called:
                return
            if made and made[0].is_open:
                # A cancelled task would close the socket and tell nobody.
                made[0].abortConnection()
            else:
                task.cancel()
            connected.errback(Failure(reason))

        def done(task: asyncio.Task[Any]) -> None:
            late.cancel()
            transports = made.copy()
            # One that was not connected holds L{build}, and so would hold itself.
            made.clear()
            cancelled = ConnectingCancelledError(self._address)
            error = cancelled if task.cancelled() else task.exception()
            if error is not None:
                # uvloop has closed what there was, if anything, and tells nobody.
                for transport in transports:
                    transport.connection_lost(ConnectionAborted())
                if not connected.called:
                    connected.errback(Failure(_connect_error(error)))
                return
            # The factory or connectionMade may have raised, which uvloop logs.
            usable = built and built[0] is not None and hasattr(transports[0], "data_received")
            if usable and not connected.called:
                connected.callback(built[0])
                return
            # It was given up, or is of no use, and nobody else will close it.
            for transport in transports:
                transport.abortConnection()
            task.result()[0].abort()
            if not connected.called:
                connected.errback(Failure(NoProtocol()))

        task = loop.create_task(self._create(make))
        late = loop.call_later(self._timeout, expire)
        connected: Deferred[IProtocol] = Deferred(
            lambda _: give_up(ConnectingCancelledError(self._address))
        )
        task.add_done_callback(done)
        return connected


def _connect_error(error: BaseException) -> BaseException:
    """
    Twisted's name for what uvloop says.
    """
    if isinstance(error, OSError) and error.errno is not None:
        known: BaseException = getConnectError((error.errno, os.strerror(error.errno)))
        return known
    return error
