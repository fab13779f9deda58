"""
The services and settings that all client connections share.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from alacrity.http1.messages import MessageLimits
from alacrity.net.turns import Turns
from alacrity.proxy.exchange.context import ExchangeContext
from alacrity.proxy.front.admission import Admission
from alacrity.proxy.front.drain import OpenConnections


class FrontContext:
    """
    The services and settings that all client connections share.

    @ivar exchanges: those that their exchanges share.
    @ivar message_limits: of their requests' heads, with the protocols that these may ask to
        switch to.
    @ivar pseudonym: the proxy's name in C{Via}.
    @ivar via: the proxy's own entry there.
    @ivar reuse: which requests may go over server connections that other clients have used;
        see L{alacrity.config.ProxySettings}.
    @ivar sessions: the sessions of clients with servers; L{None}: there are none.
    @ivar turns: the queue of connections that wait to go on with what they have.
    """

    def __init__(
        self,
        exchanges: ExchangeContext,
        admission: Admission,
        turns: Turns,
        *,
        pseudonym: bytes,
        reuse: Literal["always", "safe", "never"],
        upgrades: Iterable[str],
    ) -> None:
        limits = exchanges.limits
        self.exchanges = exchanges
        self.admission = admission
        self.turns = turns
        self.pseudonym = pseudonym
        self.via = b"1.1 " + pseudonym
        self.reuse: Literal["always", "safe", "never"] = reuse
        self.deadlines = exchanges.deadlines
        self.limits = limits
        self.listeners = exchanges.listeners
        self.sessions = exchanges.sessions
        self.timeouts = exchanges.timeouts
        self.message_limits = MessageLimits(
            request_line=limits.request_line,
            header_bytes=limits.header_bytes,
            header_count=limits.header_count,
            upgrades=frozenset(each.lower().encode("ascii") for each in upgrades),
        )
        self.connections = OpenConnections()
