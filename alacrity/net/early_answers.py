"""
Client connections on Twisted's own transports that lose no early answer.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.net.transports import LAST_READS, READ_SIZE

_log: Final = Logger()


class _Client(tcp.Client):
    """
    A connection that reads, when a write has failed, the bytes that had come before: the answer
    of a server that did not want all of a request. Twisted's own drops them.
    """

    _has_failed = False

    def connectionLost(self, reason: Failure) -> None:
        # One that was dropped here is lost, too.
        self._has_failed = reason.check(ConnectionAborted, ConnectionLost) is ConnectionLost
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _closeSocket(self, orderly: bool) -> None:
        # The connection counts as lost already, so that its protocol writes nothing more, and
        # the socket is open still.
        if self._has_failed:
            self._read_rest()
        super()._closeSocket(orderly)  # type: ignore[no-untyped-call]

    def _read_rest(self) -> None:
        try:
            for _ in range(LAST_READS):
                data = self.socket.recv(READ_SIZE)
                if not data:
                    break
                self.protocol.dataReceived(data)
        except OSError:
            pass  # No more bytes have come.
        except Exception:
            _log.failure("the bytes before the loss of a connection could not be read")


class _Connector(tcp.Connector):
    """
    Makes such connections.
    """

    def _makeTransport(self) -> tcp.Client:
        return _Client(  # type: ignore[no-untyped-call]
            self.host, self.port, self.bindAddress, self, self.reactor
        )


class EarlyAnswerReactor:
    """
    A reactor for client endpoints, in the place of the one that it has.
    """

    def __init__(self, reactor: IReactorCore) -> None:
        self._reactor = reactor

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float, bindAddress: Any = None
    ) -> tcp.Connector:
        """See L{IReactorTCP}."""
        connector = _Connector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector
