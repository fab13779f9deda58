"""
The JSON documents that the client sends and reads.

Those that it reads have only the members that are used, and others are ignored: the node
that answers may run another version. L{alacrity.management.documents.schemas} has the
whole documents.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace


class HttpCheckRequest(Struct, frozen=True, tag_field="type", tag="http"):
    """
    A check that passes when C{GET path} is answered with a status of 2xx. What is unset is as
    the node is configured.

    @ivar interval: seconds between two checks.
    @ivar timeout: seconds that a check may take.
    @ivar rise: passes in a row that bring the server back.
    @ivar fall: failures in a row that take it down.
    @ivar port: the port to check, if it is not the server's.
    @ivar host: the C{Host} to send.
    """

    path: str
    interval: float | UnsetType = UNSET
    timeout: float | UnsetType = UNSET
    rise: int | UnsetType = UNSET
    fall: int | UnsetType = UNSET
    port: str | UnsetType = UNSET
    host: str | UnsetType = UNSET


class TcpCheckRequest(Struct, frozen=True, tag_field="type", tag="tcp"):
    """
    A check that passes when a connection can be opened. The attributes are those of
    L{HttpCheckRequest}.
    """

    interval: float | UnsetType = UNSET
    timeout: float | UnsetType = UNSET
    rise: int | UnsetType = UNSET
    fall: int | UnsetType = UNSET
    port: str | UnsetType = UNSET


class NoCheckRequest(Struct, frozen=True, tag_field="type", tag="none"):
    """
    No check: the server is up while its lease lasts.
    """


CheckRequest: TypeAlias = HttpCheckRequest | TcpCheckRequest | NoCheckRequest

NEWER_MEMBERS: Final = frozenset({"lease", "priority", "group", "max_requests"})
"""Members of a registration that a cluster knows from format 2 of its state on."""


class RegistrationRequest(Struct, frozen=True, kw_only=True):
    """
    A server to be registered.

    @ivar ip: its address; unset: that of the caller.
    @ivar check: how it is checked; unset: by TCP.
    @ivar weight: its share of the requests; unset: 1.
    @ivar lease: seconds after which it is down unless it renews; unset: it has no lease.
    @ivar priority: servers with a higher number are backups; unset: 0.
    @ivar group: the group whose share of the requests it has a part in; unset: none.
    @ivar max_requests: requests that it may have at a time; unset: as configured.
    """

    ip: str | UnsetType = UNSET
    port: str
    check: CheckRequest | UnsetType = UNSET
    weight: int | UnsetType = UNSET
    lease: float | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    group: str | UnsetType = UNSET
    max_requests: int | UnsetType = UNSET

    def without_newer_members(self) -> RegistrationRequest | None:
        """
        The same for a cluster whose state has format 1.

        @return: L{None}: there is none, as it needs its lease.
        """
        if isinstance(self.check, NoCheckRequest):
            return None
        return replace(self, **dict.fromkeys(NEWER_MEMBERS, UNSET))


class RegisteredServer(Struct, frozen=True):
    """
    The answer to a registration.

    @ivar lease: the seconds for which its lease is granted, if it has one.
    @ivar renew_after: seconds after which to renew it.
    """

    id: str
    lease: float | None = None
    renew_after: float | None = None


class Renewal(Struct, frozen=True):
    """
    The answer to the renewal of a lease.

    @ivar lease: seconds for which it is granted.
    @ivar renew_after: seconds after which to renew it again.
    """

    lease: float
    renew_after: float


class Drain(Struct, frozen=True):
    """
    The answer to the removal of a server that waits for its requests.

    @ivar drained: whether no node has a request of it any more.
    @ivar in_flight: the requests that it still has, on all nodes that were heard.
    """

    drained: bool
    in_flight: int = 0


class NodeContact(Struct, frozen=True):
    """
    A node of the cluster.

    @ivar address: where the other nodes reach it, C{host:port}.
    """

    name: str
    address: str


class ClusterMembers(Struct, frozen=True):
    """
    The cluster, as one node sees it.
    """

    members: list[NodeContact]


class ProblemReport(Struct, frozen=True):
    """
    A problem document (RFC 9457).

    @ivar field: the member of the request's document that is wrong.
    @ivar nodes: nodes because of which the call is not possible yet.
    """

    detail: str
    field: str | None = None
    nodes: list[str] = []
