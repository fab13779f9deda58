"""
The schemas of the API's documents, both those that callers send and those that they get.

msgspec validates requests against these classes, and makes the schemas of C{GET /openapi.json}
from them. It does not enforce an C{extra_json_schema}; the functions that read documents do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from alacrity.pool.model import SHORTEST_INTERVAL, SHORTEST_TIMEOUT

_PORT: Final = (
    r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)

# IPv4 addresses that no server can have: unspecified, multicast, broadcast.
_NO_IPV4: Final = r"(0\.0\.0\.0|(22[4-9]|23[0-9])\.[0-9.]*|255\.255\.255\.255)"

# IPv6 addresses that no server can have: unspecified, multicast, IPv4 in IPv6 form, with a zone.
_NO_IPV6: Final = (
    r"([0:.]+|[fF]{2}[0-9A-Fa-f]{2}:.*|.*%.*"
    r"|[0:]*:[fF]{4}:(([0-9A-Fa-f]{1,4}:)?[0-9A-Fa-f]{1,4}|[0-9A-Fa-f]{1,4}::|:|[0-9.]+))"
)

_ADDRESS: Final = {
    "anyOf": [
        {"format": "ipv4", "not": {"pattern": f"^{_NO_IPV4}$"}},
        {"format": "ipv6", "not": {"pattern": f"^{_NO_IPV6}$"}},
    ]
}

_OCTET: Final = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL: Final = r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"
_GROUP: Final = r"[0-9A-Fa-f]{1,4}"

# The groups of an IPv6 address: all eight, or some before and some after a gap.
_IPV6: Final = "|".join(
    [
        rf"({_GROUP}:){{7}}{_GROUP}",
        rf"({_GROUP}:){{1,7}}:",
        rf":(:{_GROUP}){{1,7}}",
        *(rf"({_GROUP}:){{1,{7 - after}}}(:{_GROUP}){{{after}}}" for after in range(1, 7)),
    ]
)

_NODE_ADDRESS: Final = {
    "anyOf": [
        {
            "pattern": rf"^({_OCTET}\.){{3}}{_OCTET}:{_PORT}$",
            "not": {"pattern": f"^{_NO_IPV4}:"},
        },
        {"pattern": rf"^{_LABEL}(\.{_LABEL})*:{_PORT}$", "not": {"pattern": "^[0-9.]*:"}},
        {"pattern": rf"^\[({_IPV6})\]:{_PORT}$", "not": {"pattern": rf"^\[{_NO_IPV6}\]"}},
    ]
}
"""The schema of C{host:port}. It excludes IPv6 addresses that end in the IPv4 notation, although
they are accepted."""

_HOST: Final = (
    r"^(\[([0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+;=:-]+)\]"
    r"|[A-Za-z0-9._~!$&'()*+;=%-]+)(:[0-9]*)?$"
)

Port: TypeAlias = (
    Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": 65535})]
    | Annotated[str, Meta(extra_json_schema={"pattern": f"^{_PORT}$"})]
)
Address: TypeAlias = Annotated[str, Meta(extra_json_schema=_ADDRESS)]
Interval: TypeAlias = Annotated[float, Meta(ge=SHORTEST_INTERVAL, le=86400)]
Timeout: TypeAlias = Annotated[float, Meta(ge=SHORTEST_TIMEOUT, le=86400)]
Times: TypeAlias = Annotated[int, Meta(ge=1, le=100)]
Status: TypeAlias = Annotated[int, Meta(ge=100, le=599)]
Weight: TypeAlias = Annotated[int, Meta(ge=1, le=256)]
AdminWeight: TypeAlias = Annotated[int, Meta(ge=0, le=256)]
Priority: TypeAlias = Annotated[int, Meta(ge=0, le=100)]
Lease: TypeAlias = Annotated[float, Meta(ge=3, le=86400)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=31622400)]
RequestLimit: TypeAlias = Annotated[int, Meta(ge=0, le=1000000)]
Group: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9-]{1,63}\Z", extra_json_schema={"pattern": "^[a-z0-9-]{1,63}$"}),
]

# Control characters, line separators, and characters that change the direction of text.
_UNPRINTABLE: Final = r"\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069"
Reason: TypeAlias = Annotated[
    str,
    Meta(
        # Halves of surrogate pairs are no text, and not all tools can read a pattern with them.
        pattern=rf"^[^{_UNPRINTABLE}\ud800-\udfff]*\Z",
        max_length=200,
        extra_json_schema={"pattern": f"^[^{_UNPRINTABLE}]*$"},
    ),
]

Moment: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count: TypeAlias = Annotated[int, Meta(ge=0)]

# Origin form (RFC 9112 3.2.1), less strict than RFC 3986 within it.
Path: TypeAlias = Annotated[
    str,
    # Python writes the end of the text as \\Z, JSON Schema as $.
    Meta(pattern=r'^/[!"$-~]*\Z', max_length=4096, extra_json_schema={"pattern": r'^/[!"$-~]*$'}),
]
Host: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=260, extra_json_schema={"pattern": _HOST})
]

NodeName: TypeAlias = Annotated[
    str, Meta(max_length=128, extra_json_schema={"pattern": r"^[0-9A-Za-z._:\[\]-]{1,128}$"})
]
NodeAddress: TypeAlias = Annotated[str, Meta(max_length=300, extra_json_schema=_NODE_ADDRESS)]


class TcpCheckDocument(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tcp"
):
    """A check that passes if a TCP connection can be opened."""

    interval: Interval | UnsetType = UNSET
    timeout: Timeout | UnsetType = UNSET
    rise: Times | UnsetType = UNSET
    fall: Times | UnsetType = UNSET
    port: Port | UnsetType = UNSET


class HttpCheckDocument(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="http"
):
    """A check that passes if the server answers GET path with a status in a range."""

    path: Path = "/"
    status: tuple[Status, Status] = (200, 299)
    host: Host | UnsetType = UNSET
    interval: Interval | UnsetType = UNSET
    timeout: Timeout | UnsetType = UNSET
    rise: Times | UnsetType = UNSET
    fall: Times | UnsetType = UNSET
    port: Port | UnsetType = UNSET


class NoCheckDocument(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="none"
):
    """No check: the server is up while it renews its lease."""


CheckDocument: TypeAlias = TcpCheckDocument | HttpCheckDocument | NoCheckDocument

CHECK_DOCUMENTS: Final[Mapping[str, type[CheckDocument]]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(CheckDocument)
}
"""The check documents by their C{type}."""


class RegistrationDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A server to be registered."""

    ip: Address | UnsetType = UNSET
    port: Port
    check: CheckDocument | UnsetType = UNSET
    weight: Weight = 1
    lease: Lease | UnsetType = UNSET
    priority: Priority = 0
    group: Group | UnsetType = UNSET
    max_requests: RequestLimit | UnsetType = UNSET


class AdministrationRequestDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Operators' decisions about a server. A member that is missing changes nothing by itself."""

    admin: Literal["ready", "drain", "maintenance"] | UnsetType = UNSET
    weight: AdminWeight | UnsetType | None = UNSET
    until: Seconds | UnsetType | None = UNSET
    reason: Reason | UnsetType = UNSET


class AdministrationDocument(Struct, frozen=True):
    """The operators' decisions about a server. If weight is null, the registered weight holds."""

    state: Literal["ready", "drain", "maintenance"]
    weight: AdminWeight | None
    until: Moment | None
    reason: str


class LastCheckDocument(Struct, frozen=True):
    """The outcome of a server's latest check on this node. The duration is in seconds."""

    passed: bool
    reason: str
    at: Moment
    duration: float


class ServerDocument(Struct, frozen=True):
    """
    A server of the pool. Only servers that are up and administratively ready get requests of any
    client. One in dispute fails its checks on the leader, and other nodes reach it. The version is
    in ETag, too, and is raised by each change of the server.
    """

    id: str
    ip: str
    port: str
    check: CheckDocument
    weight: Weight
    state: Literal["pending", "up", "stopping", "down", "draining"]
    reason: str
    since: Moment
    registered: Moment
    last_check: LastCheckDocument | None
    version: Count
    admin: AdministrationDocument
    effective_weight: AdminWeight
    lease: float | None
    suspect: bool
    disputed: bool
    max_requests: Count | None
    priority: Count
    group: str | None


class RegisteredDocument(ServerDocument, frozen=True):
    """
    A server that was registered. If it has a lease, that is as granted, and renew_after has the
    seconds after which to renew it.
    """

    renew_after: float | UnsetType = UNSET


class RenewalDocument(Struct, frozen=True):
    """
    A renewed lease: the seconds for which it is granted, and those after which to renew it.
    """

    lease: float
    renew_after: float


class DrainNodeDocument(Struct, frozen=True):
    """
    The requests of a removed server that a node has in flight; null if it did not tell. The
    removal is applied once it gets no new ones there.
    """

    name: str
    in_flight: Count | None
    applied: bool
    reachable: bool


class DrainDocument(Struct, frozen=True):
    """
    Whether the requests of a removed server are finished on all nodes, and how many are in flight
    on those that told. The nodes are listed unless they are finished.
    """

    drained: bool
    in_flight: Count
    nodes: list[DrainNodeDocument] | UnsetType = UNSET


class CounterDocument(Struct, frozen=True):
    """Numbers of successes and of failures."""

    success: Count
    failed: Count


class StatsDocument(Struct, frozen=True):
    """This node's counters of client requests and of attempts on servers."""

    client: CounterDocument
    server: CounterDocument


class ServerCounterDocument(Struct, frozen=True):
    """This node's attempts on one server."""

    id: str
    ip: str
    port: str
    success: Count
    failed: Count
    state: Literal["pending", "up", "stopping", "down"]
    weight: Weight


class ServingDocument(Struct, frozen=True):
    """This node takes requests."""

    status: Literal["serving"]


class LeaderDocument(Struct, frozen=True):
    """This node is the leader."""

    status: Literal["leader"]


class NodeRequestDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node to add to the cluster. If the name is missing, the address is the name."""

    address: NodeAddress
    name: NodeName | UnsetType = UNSET


class NodeDocument(Struct, frozen=True):
    """A node that is in the cluster."""

    name: str
    address: str


class MemberDocument(Struct, frozen=True):
    """
    A member, as this node sees it: the seconds since its last message; and on the leader, the
    last index up to which the member's log equals the leader's, and the number of its missing
    entries. The problem is the reason why there is no connection with the member, if it is known.
    """

    name: str
    address: str
    role: Literal["leader", "follower", "unknown"]
    last_contact: float | None
    match_index: Count | None
    lag: Count | None
    problem: str | None


class RefusedNodeDocument(Struct, frozen=True):
    """A node that is no member, and was refused lately."""

    name: str
    problem: str


class ClusterDocument(Struct, frozen=True):
    """
    The cluster, as one node sees it. It is stale if the node has not heard a leader with a
    majority lately; suspended is the reason why the node takes no part in the cluster. The id is
    null before the members have agreed on it. Awaited are the members that a node with an empty
    log has to hear before it takes part in elections. The advice says what an operator can do
    where there is no majority. Refused are the nodes that are no members and tried to connect,
    with the reasons why they were refused.
    """

    name: str
    role: Literal["leader", "follower", "candidate", "joining", "removed"]
    leader: str | None
    term: Count
    commit_index: Count
    applied_index: Count
    has_quorum: bool
    suspended: str | None
    stale: bool
    cluster_id: str | None
    awaited: list[str]
    advice: str | None
    members: list[MemberDocument]
    refused: list[RefusedNodeDocument]


class HandOverRequestDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The member that shall become the leader. If it is missing, the leader chooses one."""

    name: NodeName | UnsetType = UNSET


class HandOverDocument(Struct, frozen=True):
    """The present leader, as this node knows it, and the requested one."""

    leader: str | None
    wanted: str | None


class ProblemDocument(Struct, frozen=True, kw_only=True):
    """
    The reason why a call failed (RFC 9457). The field is the wrong member of the request's
    document; the incident is an id under which the log has more information; the version is the
    server's present one; the nodes are those because of which the call is not possible yet.
    """

    type: Literal["about:blank"] = "about:blank"
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    field: str | UnsetType = UNSET
    incident: str | UnsetType = UNSET
    version: Count | UnsetType = UNSET
    nodes: list[str] | UnsetType = UNSET
