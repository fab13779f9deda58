"""
The listening sockets of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.node.failures import cause

PROXY: Final = "proxy"
"""The role of the sockets that clients connect to."""

MANAGEMENT: Final = "management"
"""The role of the sockets of the management API."""


class CannotListen(Exception):
    """
    An address that a node cannot listen on. The message is one line, for an operator.
    """


class ListeningSockets:
    """
    Listening sockets by role: L{PROXY}, L{MANAGEMENT}.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ports: dict[str, list[IListeningPort]] = {PROXY: [], MANAGEMENT: []}

    @property
    def ports(self) -> Mapping[str, Sequence[IListeningPort]]:
        """The sockets of each role."""
        return self._ports

    def open(
        self,
        role: str,
        descriptions: Iterable[str],
        factory: IProtocolFactory,
        endpoint: Callable[[Any, str], Any],
    ) -> None:
        """
        Listen on addresses.

        @param descriptions: endpoint descriptions.
        @param endpoint: makes a server endpoint of the reactor and a description.
        @raise CannotListen: one of them cannot be had.
        """
        ports = self._ports[role]
        for description in descriptions:
            listening: Deferred[IListeningPort] = endpoint(self._reactor, description).listen(
                factory
            )
            failures: list[Failure] = []
            listening.addCallbacks(ports.append, failures.append)
            if failures:
                failures[0].trap(CannotListenError, OSError, ValueError)
                why = cause(failures[0].value)
                raise CannotListen(f"{role} cannot listen on {description}: {why}")

    def socket_paths(self) -> list[str]:
        """
        The paths of those that are Unix sockets in the file system.
        """
        paths = (_socket_path(port) for ports in self._ports.values() for port in ports)
        return [path for path in paths if path]

    def log_addresses(self) -> None:
        """
        Log the address of each.
        """
        for role, ports in self._ports.items():
            for port in ports:
                self._log.info(
                    "{role} listens on {address}", role=role, address=address_text(port.getHost())
                )

    async def close(self, role: str) -> None:
        """
        Close the sockets of a role.
        """
        ports = self._ports[role]
        await DeferredList(
            [maybeDeferred(port.stopListening).addErrback(self._close_failed) for port in ports]
        )
        ports.clear()

    def _close_failed(self, failure: Failure) -> None:
        # A Unix socket in a directory that only root may write.
        self._log.warn("an address is not let go of in order: {why}", why=str(failure.value))


def address_text(address: Any) -> str:
    """
    An address in text: C{ip:port}, C{[ip]:port} or C{unix:path}.
    """
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", b"")
        return f"unix:{name.decode(errors='replace') if isinstance(name, bytes) else name}"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _socket_path(port: IListeningPort) -> str | None:
    """
    The path of a Unix socket; L{None}: it is none, or has no name in the file system.
    """
    name: Any = getattr(port.getHost(), "name", None)
    path = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    return path if path and not path.startswith("\0") else None
