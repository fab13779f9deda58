"""
The factory of client connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from alacrity.config import ProxySettings
from alacrity.net.turns import Turns
from alacrity.proxy.exchange.context import ExchangeContext
from alacrity.proxy.front.admission import Admission
from alacrity.proxy.front.connection import ClientConnection
from alacrity.proxy.front.context import FrontContext


class Frontend(Factory):
    """
    Builds the client connections, and closes them in the end.
    """

    noisy = False

    def __init__(
        self,
        exchanges: ExchangeContext,
        admission: Admission,
        turns: Turns,
        *,
        pseudonym: str = "alacrity",
        reuse: Literal["always", "safe", "never"] = "always",
        upgrades: Iterable[str] = ProxySettings().upgrades,
    ) -> None:
        """
        @param exchanges: the services and settings of all exchanges.
        @param turns: the queue of connections that wait to go on with what they have.
        @param pseudonym: the proxy's name in C{Via}.
        @param reuse: which requests may go over server connections that other clients have
            used; see L{alacrity.config.ProxySettings}.
        @param upgrades: the protocols that a connection may be switched to; likewise.
        """
        self._context = FrontContext(
            exchanges,
            admission,
            turns,
            pseudonym=pseudonym.encode("ascii"),
            reuse=reuse,
            upgrades=upgrades,
        )

    def buildProtocol(self, addr: object) -> Any:
        context = self._context
        return ClientConnection(context) if context.admission.has_room else None

    def drain(self) -> Deferred[None]:
        """
        Close all connections, each as soon as no request is under way on it.

        @return: fires when none is left. Cancelled, it cuts those that are.
        """
        return self._context.connections.drain()
