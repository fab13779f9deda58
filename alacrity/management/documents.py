"""
The documents of the management API, read and written; their shapes are in
L{alacrity.management.schemas}.

All input is validated here, in L{read_registration}, and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NoReturn, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from alacrity.cluster.addresses import join_address, split_address
from alacrity.cluster.members import Member
from alacrity.cluster.settings import ADDRESS, NAME, is_address, is_name
from alacrity.http1.fields import valid_host
from alacrity.management.problems import Problem, shown
from alacrity.management.schemas import (
    CheckDocument,
    HandOverRequestDocument,
    HttpCheckDocument,
    LastCheckDocument,
    NodeRequestDocument,
    Port,
    RegistrationDocument,
    ServerCounterDocument,
    ServerDocument,
    TcpCheckDocument,
)
from alacrity.pool import Check, HttpCheck, Server, TcpCheck
from alacrity.stats import Counter

ALLOWED: Final[Mapping[str, str]] = {
    "": "a JSON object with ip, port, check, weight",
    "ip": "an IPv4 or IPv6 address; left out, it is the caller's",
    "port": "1 to 65535, as a number or a string",
    "check": 'an object such as {"type": "tcp"} or {"type": "http", "path": "/health"}',
    "check.type": '"tcp" or "http"',
    "check.path": 'a string that starts with "/", of printable ASCII without spaces and "#"',
    "check.status": "two numbers, the lowest and the highest status that pass, from 100 to 599",
    "check.host": "a host name or an address, with or without a port",
    "check.interval": "seconds, above 0, at most 86400",
    "check.timeout": "seconds, above 0, at most 86400",
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


def read_registration(body: bytes, caller: str | None) -> Registration:
    """
    Read the body of a C{POST /servers}.

    @param caller: the IP address of who sent it; L{None}: it has none.
    @raise Problem: it is not as it must be.
    """
    asked = _read(body, RegistrationDocument, ALLOWED)
    return Registration(
        ip=_caller_ip(caller) if asked.ip is UNSET else _ip(asked.ip),
        port=_port("port", asked.port),
        check=TcpCheck() if asked.check is UNSET else _check(asked.check),
        weight=asked.weight,
    )


def read_node(body: bytes) -> Member:
    """
    Read the body of a C{POST /cluster/nodes}.

    @raise Problem: it is not as it must be.
    """
    asked = _read(body, NodeRequestDocument, ALLOWED_NODE)
    if not is_address(asked.address):
        raise _fault("address", asked.address, ALLOWED_NODE)
    address = join_address(*split_address(asked.address))
    if asked.name is UNSET:
        return Member(address, address)
    if not is_name(asked.name):
        raise _fault("name", asked.name, ALLOWED_NODE)
    return Member(asked.name, address)


def read_hand_over(body: bytes) -> str | None:
    """
    Read the body of a C{POST /cluster/leader}: who is to lead; L{None}: anybody.

    @raise Problem: it is not as it must be.
    """
    name = _given(_read(body, HandOverRequestDocument, ALLOWED_HAND_OVER).name)
    if name is not None and not is_name(name):
        raise _fault("name", name, ALLOWED_HAND_OVER)
    return name


def _read(body: bytes, kind: type[_T], allowed: Mapping[str, str]) -> _T:
    """
    Read a body.

    @param allowed: what may be in it, member by member.
    @raise Problem: it is not as it must be.
    """
    document = _parse(body)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        _raise_problem(str(error), document, kind, allowed)
    except UnicodeEncodeError:
        raise Problem(400, "a string or a name holds half a surrogate pair") from None


def _parse(body: bytes) -> object:
    """
    Read JSON, strictly as RFC 8259 has it, and without duplicate names.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_number,
        )
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, f"the body is not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Problem(400, f"the body is not usable JSON: {error}") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(
            400, f"the name {shown(twice)} appears twice in one object", field=_shown(twice)
        )
    return members


def _number(text: str) -> int | float:
    """
    JSON does not tell 80.0 from 80 (RFC 8259 6).
    """
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_constant(name: str) -> NoReturn:
    raise Problem(400, f"the body is not JSON: it has the number {name}")


_PLACE: Final = re.compile(r" - at `\$\.?(?P<place>[^`]*)`\Z")
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def _raise_problem(
    fault: str, document: object, kind: type, allowed: Mapping[str, str]
) -> NoReturn:
    """
    Say in our words what msgspec found.
    """
    if fault.startswith("Object contains unknown field"):
        # Not read from the text, for there the name is as the caller made it up.
        raise _unknown(document, kind)
    found = _PLACE.search(fault)
    place = "" if found is None else found["place"]
    missing = _MISSING.match(fault)
    if missing is not None:
        field = f"{place}.{missing['name']}" if place else missing["name"]
        raise Problem(400, f"{field} is missing; allowed: {allowed[field]}", field=field)
    raise _fault(place, _at(document, place), allowed)


def _unknown(document: Any, kind: Any) -> Problem:
    """
    The problem that there is a member which is not known.
    """
    above, members, known = "", document, kind.__struct_fields__
    name = next((name for name in members if name not in known), None)
    if name is None:
        above, members = "check.", document["check"]
        check = TcpCheckDocument if members["type"] == "tcp" else HttpCheckDocument
        known = ("type", *check.__struct_fields__)
        name = next(name for name in members if name not in known)
    allowed = ", ".join(known)
    if above:
        allowed += f" with type {members['type']}"
    field = above + _shown(name)
    return Problem(400, f"{field} is not known; allowed: {allowed}", field=field)


def _at(document: object, place: str) -> object:
    """
    The value at a place such as C{check.status[1]}.
    """
    value: Any = document
    for step in re.findall(r"[^.\[\]]+", place):
        value = value[int(step) if isinstance(value, list) else step]
    return value


def _shown(name: str) -> str:
    """
    A name that a caller made up, fit to be shown.
    """
    return shown(name)[1:-1] if len(name) <= 60 else f"{shown(name[:40])[1:-1]}..."


def _fault(
    field: str,
    found: object,
    allowed: Mapping[str, str] = ALLOWED,
    *,
    reason: str | None = None,
) -> Problem:
    """
    The problem that a value is not what is allowed.

    @param allowed: what is, member by member.
    @param reason: what is wrong with it, where that is not obvious.
    """
    place = re.sub(r"\[\d+\]", "", field)
    because = "" if reason is None else f" ({reason})"
    return Problem(
        400,
        f"{field or 'the body'} is {shown(found)}{because}; allowed: {allowed[place]}",
        field=field or None,
    )


def _port(field: str, value: Port) -> int:
    if isinstance(value, str):
        if re.fullmatch(r"[1-9][0-9]{0,4}", value) is None:
            raise _fault(field, value)
        number = int(value)
    else:
        number = value
    if not 1 <= number <= 65535:
        raise _fault(field, value)
    return number


def _ip(text: str) -> str:
    """
    An address in its canonical text form.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise _fault("ip", text, reason=_why_no_address(text)) from None
    fault = _why_not(address)
    if fault is not None:
        raise _fault("ip", text, reason=fault)
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
    fault = _why_not(address)
    if fault is not None:
        detail = f"ip is missing, and the caller's, {shown(caller)}, is {fault}; allowed: {allowed}"
        raise Problem(400, detail, field="ip")
    return str(address)


def _check(asked: CheckDocument) -> Check:
    interval = _given(asked.interval)
    timeout = _given(asked.timeout)
    rise = _given(asked.rise)
    fall = _given(asked.fall)
    port = None if asked.port is UNSET else _port("check.port", asked.port)
    if isinstance(asked, TcpCheckDocument):
        return TcpCheck(interval, timeout, rise, fall, port)
    lowest, highest = asked.status
    if lowest > highest:
        raise _fault("check.status", [lowest, highest], reason="the first is above the second")
    host = _given(asked.host)
    if host is not None and not (host.isascii() and valid_host(host.encode("ascii"))):
        raise _fault("check.host", host)
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


def _time(seconds: float) -> str:
    """
    A moment as ISO 8601 has it, in UTC.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
