"""
Shares of a node's file descriptors: clients never take those that management, the cluster and
the checks need, nor the other way round.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from alacrity.config import Settings

OWN: Final = 64
"""File descriptors for the log, the state directory, the event loop, and libraries. An idle
node has about 20 of them."""

CLUSTER: Final = 96
"""File descriptors for connections with other nodes: 64 whose proof is awaited, and members'."""

SERVERS: Final = 1024
"""Connections to servers that there is room for, if descriptors suffice: with few clients and
many servers, more of them are idle than in use."""

REFUSED: Final = 64
"""Connections beyond a limit that get an answer before they are closed."""

LEAST: Final = 48
"""File descriptors besides a node's own with which it starts at all: two dozen clients."""


class Wanted(msgspec.Struct, frozen=True):
    """
    The file descriptors that a node would use, by purpose.

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
        """File descriptors of the node itself, which are not shared out."""
        return OWN + self.listeners + (CLUSTER if self.clustered else 0)

    @property
    def needed(self) -> int:
        """File descriptors in all. Each client may need a connection to a server."""
        shared = self.management + slack(self.management) + self.checks + REFUSED
        return self.own + shared + 2 * self.clients

    @property
    def useful(self) -> int:
        """File descriptors in all, with some idle connections to servers."""
        return self.needed + max(0, SERVERS - self.clients)


class Budget(msgspec.Struct, frozen=True):
    """
    The numbers of connections of each kind that there may be at once.

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
    Too few file descriptors for a node to run. The message is one line, for an operator.
    """


def wanted_by(settings: Settings, *, checks: int) -> Wanted:
    """
    Count the file descriptors that a node would use with a configuration.

    @param checks: checks that may be in flight at once.
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
    Raise the system's limit as far as is wanted, and share out what it allows.

    @return: the shares, and a warning about them for the log; L{None}: there is none.
    @raise TooFew: the node cannot run with so few.
    """
    allowed = raise_limit(wanted.useful)
    budget = share_out(allowed, wanted)
    return budget, lowered(allowed, wanted, budget)


def share_out(allowed: int, wanted: Wanted) -> Budget:
    """
    Share out the file descriptors that a process may have.

    @raise TooFew: the node cannot run with so few.
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
    A warning in one line: the limits that are lowered, and the remedy; L{None}: none is.
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
    Raise the limit on this process's file descriptors to what is wanted, or as far as it can
    be raised.

    @return: the limit now.
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
    The number of connections beyond its limit that the management API may have for a moment,
    while one is being closed for each.
    """
    return min(16, 1 + management // 4)
