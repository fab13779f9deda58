"""
The services and settings that all exchanges share.
"""

from __future__ import annotations

from alacrity.config import LimitSettings, TimeoutSettings
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.events import Listeners
from alacrity.proxy.upstream.attempt import Connect
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.failing.watch import FailureWatch
from alacrity.proxy.upstream.keys import KeyOf
from alacrity.proxy.upstream.queue import WaitingQueue
from alacrity.proxy.upstream.retry import RetryRules
from alacrity.proxy.upstream.sticky import StickySessions


class ExchangeContext:
    """
    The services and settings that all exchanges share.

    @ivar connect: opens a connection to a server.
    @ivar listeners: are told how attempts and requests end.
    @ivar failing: puts servers aside, and chooses requests to try them.
    @ivar retries: decides whether another server is tried.
    @ivar key_of: reads the key by which a request's server is chosen; L{None}: it is not chosen
        by a key.
    @ivar queue: has the requests that wait while all servers are full.
    @ivar sessions: the sessions of clients with servers; L{None}: there are none.
    """

    __slots__ = (
        "balancer",
        "connect",
        "deadlines",
        "failing",
        "key_of",
        "limits",
        "listeners",
        "queue",
        "retries",
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
        failing: FailureWatch,
        retries: RetryRules,
        sessions: StickySessions | None = None,
        key_of: KeyOf | None = None,
    ) -> None:
        self.balancer = balancer
        self.connect = connect
        self.deadlines = deadlines
        self.limits = limits
        self.listeners = listeners
        self.timeouts = timeouts
        self.queue = queue
        self.sessions = sessions
        self.key_of = key_of
        self.failing = failing
        self.retries = retries
