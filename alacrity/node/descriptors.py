"""
How a node's file descriptors are shared out: clients never take those that management,
the cluster and the checks need, nor the other way round.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from alacrity.config import Settings

OWN: Final = 64
"""File descriptors for the log, the state directory, the event loop, what libraries open.
An idle node has about 20 of them."""

CLUSTER: Final = 96
"""For connections with other nodes: 64 whose proof is awaited, and those of members."""

SERVERS: Final = 1024
"""Connections to servers that there is room for at least, if descriptors suffice: those
that are idle are more than those in use where there are few clients and many servers."""

REFUSED: Final = 64
"""Connections beyond a limit that get an answer before they are closed."""

LEAST: Final = 48
"""Fewer than this beside a node's own are of no use: two dozen clients."""


class Wanted(msgspec.Struct, frozen=True):
    """
    File descriptors that a node would use, by purpose.

    @ivar clients: connections from clients.
    @ivar management: connections to the management API.
    @ivar checks: checks in flight.
    @ivar listeners: addresses to listen on.
    @ivar clustered: whether it has connections with other nodes.
    """

    clients: int
    management: int
    checks: int
    listeners: int
    clustered: bool

    @property
    def own(self) -> int:
        """File descriptors that are not shared out."""
        return OWN + self.listeners + (CLUSTER if self.clustered else 0)

    @property
    def needed(self) -> int:
        """File descriptors for all of it. Each client may need a server's connection."""
        shared = self.management + slack(self.management) + self.checks + REFUSED
        return self.own + shared + 2 * self.clients

    @property
    def useful(self) -> int:
        """The same, with some connections to servers that are idle."""
        return self.needed + max(0, SERVERS - self.clients)


class Budget(msgspec.Struct, frozen=True):
    """
    How many of each kind there may be at once.

    @ivar clients: connections from clients that are served.
    @ivar refused: more of them that get an answer, and are closed.
    @ivar servers: connections to servers.
    @ivar management: connections to the management API that are served.
    @ivar checks: checks in flight.
    """

    clients: int
    refused: int
    servers: int
    management: int
    checks: int


class TooFew(Exception):
    """
    A node cannot run with so few file descriptors. The message says so in one line.
    """


def wanted_by(settings: Settings, *, checks: int) -> Wanted:
    """
    Count the file descriptors that a node would use, as it is configured.

    @param checks: how many may be in flight.
    """
    listen = (settings.proxy.listen, settings.management.listen, settings.cluster.listen)
    return Wanted(
        clients=settings.limits.client_connections,
        management=settings.management.connections,
        checks=checks,
        listeners=sum(map(len, listen)),
        clustered=bool(settings.cluster.listen),
    )


def allot(wanted: Wanted) -> tuple[Budget, str | None]:
    """
    Have the system allow what is wanted, and share out what it does allow.

    @return: the shares, and what is to be told of them; L{None}: nothing.
    @raise TooFew: there is no sense in it.
    """
    allowed = raise_limit(wanted.useful)
    budget = share_out(allowed, wanted)
    return budget, lowered(allowed, wanted, budget)


def share_out(allowed: int, wanted: Wanted) -> Budget:
    """
    Share out the file descriptors that a process may have.

    @raise TooFew: there is no sense in it.
    """
    rest = allowed - wanted.own
    if rest < LEAST:
        raise TooFew(
            f"{allowed} file descriptors are allowed, of which this node needs {wanted.own} for "
            f"itself; allowed: at least {wanted.own + LEAST} (raise LimitNOFILE, or ulimit -n)"
        )
    if allowed >= wanted.needed:
        checks, management, refused = wanted.checks, wanted.management, REFUSED
    else:
        most = rest // 8
        checks = min(wanted.checks, most)
        management = min(wanted.management, most - slack(most))
        refused = min(REFUSED, most // 2)
    proxy = rest - checks - management - slack(management) - refused
    clients = min(wanted.clients, proxy // 2)
    return Budget(clients, refused, proxy - clients, management, checks)


def lowered(allowed: int, wanted: Wanted, budget: Budget) -> str | None:
    """
    Tell in one line which limits are lowered, and what to do; L{None}: none is.
    """
    limits = [
        f"{name} is lowered from {before} to {after}"
        for name, before, after in (
            ("limits.client_connections", wanted.clients, budget.clients),
            ("management.connections", wanted.management, budget.management),
            ("the number of checks at once", wanted.checks, budget.checks),
        )
        if after < before
    ]
    if not limits:
        return None
    return (
        f"{allowed} file descriptors are allowed, and {wanted.needed} are needed: "
        f"{', '.join(limits)}; raise LimitNOFILE (ulimit -Hn), or lower the limits"
    )


def raise_limit(wanted: int) -> int:
    """
    Have the system allow this process as many file descriptors as are wanted, or as many
    as it may have.

    @return: how many it may have now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max(wanted, 1 << 20)
    if soft >= wanted:
        return soft
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):
        # A system may have a limit of its own (fs.nr_open), or forbid it.
        return soft
    return raised


def slack(management: int) -> int:
    """
    How many connections beyond its limit the management API has for a moment, while one
    is being closed for each.
    """
    return min(16, 1 + management // 4)
