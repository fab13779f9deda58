"""
The services and settings that all exchanges share.
"""

from __future__ import annotations

from alacrity.config import LimitSettings, TimeoutSettings
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.events import Listeners
from alacrity.proxy.upstream.attempt import Connect
from alacrity.proxy.upstream.balancer import Balancer


class ExchangeContext:
    """
    The services and settings that all exchanges share.

    @ivar connect: opens a connection to a server.
    @ivar listeners: are told how attempts and requests end.
    """

    __slots__ = ("balancer", "connect", "deadlines", "limits", "listeners", "timeouts")

    def __init__(
        self,
        *,
        balancer: Balancer,
        connect: Connect,
        deadlines: Deadlines,
        limits: LimitSettings,
        listeners: Listeners,
        timeouts: TimeoutSettings,
    ) -> None:
        self.balancer = balancer
        self.connect = connect
        self.deadlines = deadlines
        self.limits = limits
        self.listeners = listeners
        self.timeouts = timeouts
