"""
The services and settings that all exchanges share.
"""

from __future__ import annotations

from alacrity.config import LimitSettings, TimeoutSettings
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.events import Listeners
from alacrity.proxy.upstream.attempt import Connect
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.queue import WaitingQueue
from alacrity.proxy.upstream.sticky import StickySessions


class ExchangeContext:
    """
    The services and settings that all exchanges share.

    @ivar connect: opens a connection to a server.
    @ivar listeners: are told how attempts and requests end.
    @ivar queue: has the requests that wait while all servers are full.
    @ivar sessions: the sessions of clients with servers; L{None}: there are none.
    """

    __slots__ = (
        "balancer",
        "connect",
        "deadlines",
        "limits",
        "listeners",
        "queue",
        "sessions",
        "timeouts",
    )

    def __init__(
        self,
        *,
        balancer: Balancer,
        connect: Connect,
        deadlines: Deadlines,
        limits: LimitSettings,
        listeners: Listeners,
        timeouts: TimeoutSettings,
        queue: WaitingQueue,
        sessions: StickySessions | None = None,
    ) -> None:
        self.balancer = balancer
        self.connect = connect
        self.deadlines = deadlines
        self.limits = limits
        self.listeners = listeners
        self.timeouts = timeouts
        self.queue = queue
        self.sessions = sessions
