"""
The pool as frozen values: servers, their checks, their states.

They are left out of Python's search for cycles (C{gc=False}): there may be many, and
values that never change are in no cycles.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

SHORTEST_INTERVAL: Final = 0.1
"""The shortest interval between two checks of a server, in seconds, that a registration or
the configuration may ask for. A node makes some 10,000 checks a second at most, and 10
checks of one server tell no more than fewer do."""

SHORTEST_TIMEOUT: Final = 0.001
"""The shortest time limit of a check, in seconds, that may be asked for: nothing answers
sooner."""


class State(StrEnum):
    """
    The replicated state of a server. Only an L{UP} server gets requests.

    (A server that has left the pool while requests to it are still in flight is
    shown as C{draining}; that is a fact of one node's data path, not of the pool.)
    """

    PENDING = "pending"
    """Registered, not yet passed a check since."""
    UP = "up"
    """Its checks pass."""
    DOWN = "down"
    """Its checks failed C{fall} times in a row."""


class TcpCheck(
    msgspec.Struct, frozen=True, tag_field="type", tag="tcp", omit_defaults=True, gc=False
):
    """
    A check that passes when a TCP connection can be opened.

    @ivar interval: seconds between two probes; L{None}: as configured.
    @ivar timeout: seconds one probe may take; L{None}: as configured.
    @ivar rise: passes in a row that bring a down server back; L{None}: as configured.
    @ivar fall: failures in a row that take a server down; L{None}: as configured.
    @ivar port: the port to probe; L{None}: the server's own.
    """

    interval: float | None = None
    timeout: float | None = None
    rise: int | None = None
    fall: int | None = None
    port: int | None = None


class HttpCheck(
    msgspec.Struct, frozen=True, tag_field="type", tag="http", omit_defaults=True, gc=False
):
    """
    A check that passes when C{GET path} is answered with a status in a range.

    @ivar path: the request target, in origin form.
    @ivar status: the lowest and the highest status that pass.
    @ivar host: the C{Host} to send; L{None}: the server's address.

    The other attributes are those of L{TcpCheck}.
    """

    path: str = "/"
    status: tuple[int, int] = (200, 299)
    host: str | None = None
    interval: float | None = None
    timeout: float | None = None
    rise: int | None = None
    fall: int | None = None
    port: int | None = None


Check: TypeAlias = TcpCheck | HttpCheck


def server_id(ip: str, port: int) -> str:
    """
    The id of the server at an address.

    It is derived from the address, so registering twice is the same as registering
    once, on whatever node.

    @param ip: an IPv4 or IPv6 address in its canonical text form.
    """
    return f"{ip}:{port}"


class Server(msgspec.Struct, frozen=True, gc=False):
    """
    One registered server.

    @ivar ip: an IPv4 or IPv6 address in its canonical text form.
    @ivar port: 1 to 65535.
    @ivar weight: its share of the requests, relative to the other servers'.
    @ivar reason: of its state, for people.
    @ivar since: when it came into its state, in seconds since the epoch.
    @ivar registered: when it was last registered, in seconds since the epoch.
    @ivar revision: the pool's index at its last registration; a L{Report
        <alacrity.pool.commands.Report>} about an earlier registration is ignored.
    """

    ip: str
    port: int
    check: Check
    weight: int
    state: State
    reason: str
    since: float
    registered: float
    revision: int

    @property
    def id(self) -> str:
        """See L{server_id}."""
        return server_id(self.ip, self.port)


class Pool(msgspec.Struct, frozen=True):
    """
    All servers at one moment.

    @ivar index: the number of commands that were applied to make this pool.
    @ivar servers: by id, in the order of their first registration. Never changed in place.
    """

    index: int = 0
    servers: dict[str, Server] = {}
