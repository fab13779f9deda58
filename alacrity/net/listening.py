"""
Listening for stream connections: endpoints on uvloop where possible.

On a reactor that is not on a uvloop loop, and for C{ssl}, the ports are Twisted's own. On both,
a connection over IPv4 has IPv4 addresses, also if an IPv6 socket has accepted it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.lockfile import FilesystemLock
from zope.interface import implementer

from alacrity.net.addresses import bindable_host, is_any_host
from alacrity.net.descriptions import parse_description
from alacrity.net.loops import uvloop_of
from alacrity.net.portions import PortionedTransport
from alacrity.net.sockets import twisted_address
from alacrity.net.transports import StreamTransport
from alacrity.net.turns import Turns
from alacrity.net.twisted_ports import TwistedListeningReactor

OWNER_ONLY: Final = 0o600
"""The mode of a Unix socket that this user alone may connect to."""

_log: Final = Logger()


def server_endpoint(
    reactor: Any,
    description: str,
    *,
    mode: int = OWNER_ONLY,
    turn: int = 0,
    ipv6_only: bool = False,
) -> IStreamServerEndpoint:
    """
    Like L{twisted.internet.endpoints.serverFromString}, on uvloop where possible.

    @param mode: of a Unix socket, where the description names none.
    @param turn: bytes that a protocol is given of one connection in one turn of the
        loop, at most; 0: as many as there are. For protocols that do not bound this
        themselves; on uvloop alone.
    @param ipv6_only: whether a socket on all IPv6 addresses leaves IPv4 to another; see
        L{alacrity.net.bindings.ipv6_only_of}.
    """
    loop = uvloop_of(reactor)
    parsed = parse_description(description)
    if loop is not None and parsed.kind in {"tcp", "tcp6", "unix", "systemd"}:
        reactor = _UvListeningReactor(loop, turn, ipv6_only=ipv6_only)
    elif parsed.kind in {"tcp", "tcp6", "ssl", "systemd"} and isinstance(reactor, PosixReactorBase):
        reactor = TwistedListeningReactor(reactor, ipv6_only=ipv6_only)
    if parsed.kind != "unix":
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
        return endpoint
    if not parsed.names_mode:
        description += f":mode={mode:o}"
    return _UnixEndpoint(serverFromString(reactor, description))


@implementer(IStreamServerEndpoint)
class _UnixEndpoint:
    """
    Listens on a Unix socket that is at no moment open to more users than its mode allows.
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


class _UvListeningReactor:
    """
    The part of a reactor that Twisted's server endpoints use, on uvloop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: int, *, ipv6_only: bool) -> None:
        self._loop = loop
        self._turn = turn
        self._ipv6_only = ipv6_only

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorTCP}.
        """
        interface = bindable_host(interface)
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                ipv6_only = self._ipv6_only or not is_any_host(interface)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
                # Only this looks at the zone of fe80::1%eth0.
                ((*_, place),) = socket.getaddrinfo(
                    interface, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST
                )
                sock.bind(place)
            else:
                sock.bind((interface, port))
        except OSError as error:
            sock.close()
            raise CannotListenError(interface, port, error) from error
        return _UvPort(self._loop, sock, factory, max(backlog, socket.SOMAXCONN), self._turn)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorSocket}.
        """
        # The kernel knows the family, whatever the description says.
        sock = socket.socket(fileno=os.dup(fileDescriptor))
        return _UvPort(self._loop, sock, factory, socket.SOMAXCONN, self._turn)

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
                # The process that held the lock died, and left its socket.
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
        return _UvPort(self._loop, sock, factory, backlog, self._turn, release)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


@implementer(IListeningPort)
class _UvPort:
    """
    A listening socket on uvloop.
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
        self._host = twisted_address(sock.family, sock.getsockname())
        self._serving: asyncio.Task[Any] | None = None
        self.startListening()

    def __repr__(self) -> str:
        phase = "stopped" if self._serving is None else "listening"
        return f"<_UvPort {phase} at {self._host}>"

    def _transport(self) -> StreamTransport:
        build = self._factory.buildProtocol
        if self._turn:
            return PortionedTransport(self._loop, build, self._turn, self._turns)
        return StreamTransport(self._loop, build)

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
                self._transport,
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
                # Another user than the one that bound it may not be allowed to.
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
