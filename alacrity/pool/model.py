"""
The pool as frozen values: servers, their checks, their states.

They are left out of Python's search for cycles (C{gc=False}): there may be many, and
values that never change are in no cycles.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from alacrity.pool.guard import GuardWindow

SHORTEST_INTERVAL: Final = 0.1
"""The shortest interval between two checks of a server, in seconds, that a registration or
the configuration may ask for. A node makes some 10,000 checks a second at most, and 10
checks of one server tell no more than fewer do."""

SHORTEST_TIMEOUT: Final = 0.001
"""The shortest time limit of a check, in seconds, that may be asked for: nothing answers
sooner."""


HEAVIEST: Final = 256
"""The highest weight of a server."""


class State(StrEnum):
    """
    The replicated state of a server, as checks and leases say. Only an L{UP} server gets
    requests, and only while operators let it, see L{Server.eligible}.

    (A server that has left the pool while requests to it are still in flight is
    shown as C{draining}; that is a fact of one node's data path, not of the pool.)
    """

    PENDING = "pending"
    """Registered, not yet passed a check since."""
    UP = "up"
    """Its checks pass."""
    STOPPING = "stopping"
    """It was up, and answered a check with 410: it finishes its requests, and gets no new
    ones but those of sticky sessions. A pass brings it back. Since format 2."""
    DOWN = "down"
    """Its checks failed C{fall} times in a row, or its lease expired."""


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


class NoCheck(
    msgspec.Struct, frozen=True, tag_field="type", tag="none", omit_defaults=True, gc=False
):
    """
    No check at all: the server is up while its lease lasts. Since format 2.

    The attributes are those of L{TcpCheck}, and mean nothing; they let a caller read any
    check alike.
    """

    interval: None = None
    timeout: None = None
    rise: None = None
    fall: None = None
    port: None = None


Check: TypeAlias = TcpCheck | HttpCheck | NoCheck


class AdminState(StrEnum):
    """
    The state into which an operator has put a server.
    """

    READY = "ready"
    """It gets requests while it is up."""
    DRAIN = "drain"
    """It is checked, and gets no new requests but those of sticky sessions."""
    MAINTENANCE = "maintenance"
    """It is not checked, and gets no requests."""


class Administration(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    The operators' decisions about a server. A registration never changes them.

    @ivar weight: replaces the registered weight; 0: no new requests; L{None}: the
        registered weight holds.
    @ivar until: when the state ends and the server is ready again, in seconds since the
        epoch; L{None}: it lasts until it is changed.
    @ivar reason: of the last decision, for people.
    """

    state: AdminState = AdminState.READY
    weight: int | None = None
    until: float | None = None
    reason: str = ""


AS_REGISTERED: Final = Administration()
"""No decision: the server is ready, with its registered weight."""


def server_id(ip: str, port: int) -> str:
    """
    The id of the server at an address.

    It is derived from the address, so registering twice is the same as registering
    once, on whatever node.

    @param ip: an IPv4 or IPv6 address in its canonical text form.
    """
    return f"{ip}:{port}"


class ServerOptions(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    The parts of a registration that are of format 2.

    @ivar priority: servers with a higher number are backups: they get requests only when no
        server with a lower one can.
    @ivar group: the group whose share of the requests it has a part in; empty: none.
    @ivar max_requests: requests that it may have at a time; 0: any number; L{None}: as
        configured.
    @ivar lease: seconds after which it is down unless it renews; L{None}: it has no lease.
    """

    priority: int = 0
    group: str = ""
    max_requests: int | None = None
    lease: float | None = None


NO_OPTIONS: Final = ServerOptions()


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    More of what checks and leases have shown of a server than its state says.

    @ivar was_up: whether it was up at some time since it was first registered, and since the
        cluster has format 2.
    @ivar answered: whether it is down though its failed checks got an HTTP answer.
    @ivar lease_expired: whether it is down by its lease; checks do not bring it back.
    @ivar suspect: whether its lease expired or it was due for removal, and the guard against
        mass loss keeps it: it gets requests only when no other can. A renewal ends that; if it
        has no lease, so does a passing check.
    @ivar disputed: whether its checks fail on the leader, and pass on other members, by whose
        word it is not down.
    """

    was_up: bool = False
    answered: bool = False
    lease_expired: bool = False
    suspect: bool = False
    disputed: bool = False


UNKNOWN_CONDITION: Final = Condition()


class Server(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    One registered server. The fields with a default are of format 2; a server that has none
    of them is encoded as in format 1.

    @ivar ip: an IPv4 or IPv6 address in its canonical text form.
    @ivar port: 1 to 65535.
    @ivar weight: its share of the requests, relative to the other servers', as registered;
        see L{effective_weight}.
    @ivar reason: of its state, for people.
    @ivar since: when it came into its state, in seconds since the epoch.
    @ivar registered: when it was last registered, in seconds since the epoch.
    @ivar revision: the pool's index at its last registration; a L{Report
        <alacrity.pool.commands.Report>} about an earlier registration is ignored.
    @ivar options: more of its registration.
    @ivar administration: the operators' decisions.
    @ivar condition: more of what checks and leases have shown.
    @ivar changed: the pool's index at its last change of any kind; 0: that was its
        registration. See L{version}.
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
    options: ServerOptions = NO_OPTIONS
    administration: Administration = AS_REGISTERED
    condition: Condition = UNKNOWN_CONDITION
    changed: int = 0

    @property
    def id(self) -> str:
        """See L{server_id}."""
        return server_id(self.ip, self.port)

    @property
    def version(self) -> int:
        """A number that each change of the server raises."""
        return self.changed or self.revision

    @property
    def effective_weight(self) -> int:
        """Its weight, as an operator has set it or else as registered; 0 to 256."""
        weight = self.administration.weight
        return self.weight if weight is None else weight

    @property
    def eligible(self) -> bool:
        """Whether it may get new requests of any client: up, ready, and of some weight."""
        return (
            self.state is State.UP
            and self.administration.state is AdminState.READY
            and self.effective_weight > 0
        )

    @property
    def keeps_sessions(self) -> bool:
        """
        Whether it may get requests of sticky sessions: eligible, or finishing those. At weight
        0 it gets no requests at all.
        """
        return (
            (self.state is State.UP or self.state is State.STOPPING)
            and self.administration.state is not AdminState.MAINTENANCE
            and self.effective_weight > 0
        )

    @property
    def may_fail_open(self) -> bool:
        """
        Whether it may get requests when no server is eligible: it was up once, and is down by
        a check that does not show that it is dead, since the check got an HTTP answer, or
        uses another port than the traffic.
        """
        check_port, condition = self.check.port, self.condition
        return (
            self.state is State.DOWN
            and condition.was_up
            and not condition.lease_expired
            and (condition.answered or (check_port is not None and check_port != self.port))
            and self.administration.state is AdminState.READY
            and self.effective_weight > 0
        )


class Pool(msgspec.Struct, frozen=True):
    """
    All servers at one moment.

    @ivar index: the number of commands that were applied to make this pool.
    @ivar servers: by id, in the order of their first registration. Never changed in place.
    @ivar guard: the losses in the present window of the guard against mass loss.
    @ivar sticky_key: the key of the values of sticky cookies; empty: none was drawn yet.
        Never shown.
    """

    index: int = 0
    servers: dict[str, Server] = {}
    guard: GuardWindow = GuardWindow()
    sticky_key: bytes = b""
