"""
The documents of the management API, read and written; their shapes are in
L{alacrity.management.schemas}.

All input is validated here, in the functions that read, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import inf
from typing import Final, Protocol, TypeVar

from msgspec import UNSET, Struct, UnsetType

from alacrity.cluster.log.members import Member
from alacrity.cluster.settings import ADDRESS, NAME, is_name
from alacrity.cluster.status import ClusterStatus
from alacrity.cluster.wire.addresses import is_ip, join_address, split_address
from alacrity.http1.fields import valid_host
from alacrity.management.problems import Problem, shown
from alacrity.management.schemas import (
    CheckDocument,
    ClusterDocument,
    HandOverRequestDocument,
    HttpCheckDocument,
    LastCheckDocument,
    MemberDocument,
    NodeRequestDocument,
    Port,
    RegistrationDocument,
    ServerCounterDocument,
    ServerDocument,
    TcpCheckDocument,
)
from alacrity.management.strict import fault, read
from alacrity.metrics.counters import Counter
from alacrity.pool import Check, HttpCheck, Server, TcpCheck
from alacrity.pool.model import SHORTEST_INTERVAL, SHORTEST_TIMEOUT

ALLOWED: Final[Mapping[str, str]] = {
    "": "a JSON object with ip, port, check, weight",
    "ip": "an IPv4 or IPv6 address; left out, it is the caller's",
    "port": "1 to 65535, as a number or a string",
    "check": 'an object such as {"type": "tcp"} or {"type": "http", "path": "/health"}',
    "check.type": '"tcp" or "http"',
    "check.path": 'a string that starts with "/", of printable ASCII without spaces and "#"',
    "check.status": "two numbers, the lowest and the highest status that pass, from 100 to 599",
    "check.host": "a host name or an address, with or without a port",
    "check.interval": f"seconds, from {SHORTEST_INTERVAL} to 86400",
    "check.timeout": f"seconds, from {SHORTEST_TIMEOUT} to 86400, at most check.interval, or "
    "without that the node's health.interval",
    "check.rise": "a whole number from 1 to 100",
    "check.fall": "a whole number from 1 to 100",
    "check.port": "1 to 65535, as a number or a string",
    "weight": "a whole number from 1 to 256",
}
"""What may be in a registration, member by member, as the problem documents say it."""

ALLOWED_NODE: Final[Mapping[str, str]] = {
    "": "a JSON object with address, name",
    "address": ADDRESS,
    "name": NAME,
}
"""Likewise, in what asks for a node to be taken in."""

ALLOWED_HAND_OVER: Final[Mapping[str, str]] = {"": "a JSON object with name", "name": NAME}
"""Likewise, in what asks the leader to hand over."""

_T = TypeVar("_T")


class Registration(Struct, frozen=True):
    """
    A registration, as it was asked for.

    @ivar ip: an address in its canonical text form.
    """

    ip: str
    port: int
    check: Check
    weight: int


class CheckResult(Protocol):
    """
    The outcome of a server's latest check.
    """

    @property
    def passed(self) -> bool:
        """Whether the server is fit for traffic."""

    @property
    def reason(self) -> str:
        """Why it passed or failed, in a few words."""

    @property
    def at(self) -> float:
        """When it ended, in seconds since the epoch."""

    @property
    def duration(self) -> float:
        """In seconds."""


# What is read


def read_registration(body: bytes, caller: str | None, interval: float = inf) -> Registration:
    """
    Read the body of a C{POST /servers}.

    @param caller: the IP address of who sent it; L{None}: it has none.
    @param interval: of checks for which none is given, in seconds.
    @raise Problem: it is not as it must be.
    """
    asked = read(body, RegistrationDocument, ALLOWED)
    return Registration(
        ip=_caller_ip(caller) if asked.ip is UNSET else _ip(asked.ip),
        port=_port("port", asked.port),
        check=TcpCheck() if asked.check is UNSET else _check(asked.check, interval),
        weight=asked.weight,
    )


def read_node(body: bytes) -> Member:
    """
    Read the body of a C{POST /cluster/nodes}.

    @raise Problem: it is not as it must be.
    """
    asked = read(body, NodeRequestDocument, ALLOWED_NODE)
    try:
        host, port = split_address(asked.address)
    except ValueError as error:
        raise fault("address", asked.address, ALLOWED_NODE, reason=str(error)) from None
    why_not = _why_not(ip_address(host)) if is_ip(host) else None
    if why_not is not None:
        raise fault("address", asked.address, ALLOWED_NODE, reason=why_not)
    address = join_address(host, port)
    name = address if asked.name is UNSET else asked.name
    if not is_name(name):
        reason = "the address, as there is no name" if asked.name is UNSET else None
        raise fault("name", name, ALLOWED_NODE, reason=reason)
    return Member(name, address)


def read_hand_over(body: bytes) -> str | None:
    """
    Read the body of a C{POST /cluster/leader}: who is to lead; L{None}: anybody.

    @raise Problem: it is not as it must be.
    """
    name = _given(read(body, HandOverRequestDocument, ALLOWED_HAND_OVER).name)
    if name is not None and not is_name(name):
        raise fault("name", name, ALLOWED_HAND_OVER)
    return name


def _port(field: str, value: Port) -> int:
    if isinstance(value, str):
        if re.fullmatch(r"[1-9][0-9]{0,4}", value) is None:
            raise fault(field, value, ALLOWED)
        number = int(value)
    else:
        number = value
    if not 1 <= number <= 65535:
        raise fault(field, value, ALLOWED)
    return number


def _ip(text: str) -> str:
    """
    An address in its canonical text form.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise fault("ip", text, ALLOWED, reason=_why_no_address(text)) from None
    why_not = _why_not(address)
    if why_not is not None:
        raise fault("ip", text, ALLOWED, reason=why_not)
    return str(address)


def _why_no_address(text: str) -> str | None:
    """
    What is wrong with something that is no IP address, where that can be told.
    """
    octets = text.split(".")
    if len(octets) == 4 and all(octet.isascii() and octet.isdigit() for octet in octets):
        if any(len(octet) > 1 and octet.startswith("0") for octet in octets):
            return "a leading zero may mean an octal number"
        return "a number above 255"
    if text.isascii() and valid_host(text.encode("ascii")):
        return "a host name, or no address at all"
    return None


def _why_not(address: IPv4Address | IPv6Address) -> str | None:
    """
    Why nothing can be served at an address.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "a zone id means something on one machine only"
        if address.ipv4_mapped is not None:
            return f"an IPv4 address in IPv6 form; write {address.ipv4_mapped}"
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_multicast:
        return "a multicast address"
    if address == IPv4Address("255.255.255.255"):
        return "the broadcast address"
    return None


def _caller_ip(caller: str | None) -> str:
    """
    The address of the caller, who gave none.
    """
    allowed = "an IPv4 or IPv6 address"
    if caller is None:
        detail = f"ip is missing, and the caller has no IP address; allowed: {allowed}"
        raise Problem(400, detail, field="ip")
    address = ip_address(caller)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    why_not = _why_not(address)
    if why_not is not None:
        found = f"the caller's, {shown(caller)}, is {why_not}"
        detail = f"ip is missing, and {found}; allowed: {allowed}"
        raise Problem(400, detail, field="ip")
    return str(address)


def _check(asked: CheckDocument, usual: float) -> Check:
    interval = _given(asked.interval)
    timeout = _given(asked.timeout)
    if timeout is not None and timeout > (usual if interval is None else interval):
        reason = (
            f"above health.interval of this node, {shown(usual)}, as check.interval is not given"
            if interval is None
            else f"above check.interval, {shown(interval)}"
        )
        raise fault("check.timeout", timeout, ALLOWED, reason=reason)
    rise = _given(asked.rise)
    fall = _given(asked.fall)
    port = None if asked.port is UNSET else _port("check.port", asked.port)
    if isinstance(asked, TcpCheckDocument):
        return TcpCheck(interval, timeout, rise, fall, port)
    lowest, highest = asked.status
    if lowest > highest:
        reason = "the first is above the second"
        raise fault("check.status", [lowest, highest], ALLOWED, reason=reason)
    host = _given(asked.host)
    if host is not None and not (host.isascii() and valid_host(host.encode("ascii"))):
        raise fault("check.host", host, ALLOWED)
    return HttpCheck(asked.path, asked.status, host, interval, timeout, rise, fall, port)


def _given(value: _T | UnsetType) -> _T | None:
    return None if isinstance(value, UnsetType) else value


# What is answered


def server_document(
    server: Server, result: CheckResult | None, *, draining: bool = False
) -> ServerDocument:
    """
    A server, as the API shows it.

    @param result: of its latest check on this node.
    @param draining: whether it has left the pool and is finishing its requests.
    """
    return ServerDocument(
        id=server.id,
        ip=server.ip,
        port=str(server.port),
        check=_check_document(server.check),
        weight=server.weight,
        state="draining" if draining else server.state.value,
        reason="removed; its last requests are being finished" if draining else server.reason,
        since=_time(server.since),
        registered=_time(server.registered),
        last_check=None
        if result is None
        else LastCheckDocument(
            passed=result.passed,
            reason=result.reason,
            at=_time(result.at),
            duration=round(result.duration, 6),
        ),
    )


def _check_document(check: Check) -> CheckDocument:
    """
    A check, such that it can be registered again.
    """
    interval = _or_unset(check.interval)
    timeout = _or_unset(check.timeout)
    rise = _or_unset(check.rise)
    fall = _or_unset(check.fall)
    port = UNSET if check.port is None else str(check.port)
    if isinstance(check, TcpCheck):
        return TcpCheckDocument(interval, timeout, rise, fall, port)
    host = _or_unset(check.host)
    return HttpCheckDocument(check.path, check.status, host, interval, timeout, rise, fall, port)


def _or_unset(value: _T | None) -> _T | UnsetType:
    return UNSET if value is None else value


def counter_document(server: Server, counter: Counter | None) -> ServerCounterDocument:
    """
    A server's counters, as the API shows them.

    @param counter: L{None}: nothing was counted yet.
    """
    return ServerCounterDocument(
        id=server.id,
        ip=server.ip,
        port=str(server.port),
        **(Counter() if counter is None else counter).document(),
        state=server.state.value,
        weight=server.weight,
    )


def cluster_document(status: ClusterStatus) -> ClusterDocument:
    """
    The cluster, as the API shows it.
    """
    return ClusterDocument(
        name=status.name,
        role=status.role,  # type: ignore[arg-type] # the same words
        leader=status.leader,
        term=status.term,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        has_quorum=status.has_quorum,
        suspended=status.suspended,
        stale=status.stale,
        members=[
            MemberDocument(
                name=each.name,
                address=each.address,
                role=each.role,  # type: ignore[arg-type] # likewise
                last_contact=None
                if each.last_contact is None
                else round(max(0.0, each.last_contact), 3),
                match_index=each.match,
                lag=each.lag,
            )
            for each in status.members
        ],
    )


def _time(seconds: float) -> str:
    """
    A moment as ISO 8601 has it, in UTC.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
