"""
The addresses at which a server or a node can be reached.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from alacrity.http1.fields import valid_host
from alacrity.management.documents.problems import Problem, shown
from alacrity.management.documents.schemas import Port
from alacrity.management.documents.strict import fault
from alacrity.net.addresses import unmapped
from alacrity.pool import server_id


def read_ip(text: str, allowed: Mapping[str, str]) -> str:
    """
    Read the member C{ip}.

    @param allowed: see L{alacrity.management.documents.strict.read}.
    @return: the address in its canonical text form.
    """
    try:
        address = unmapped(ip_address(text))
    except ValueError:
        raise fault("ip", text, allowed, reason=_why_no_address(text)) from None
    reason = why_unreachable(address)
    if reason is not None:
        raise fault("ip", text, allowed, reason=reason)
    return str(address)


def read_caller_ip(caller: str | None) -> str:
    """
    The caller's address, which replaces a missing C{ip}.

    @param caller: L{None}: the caller has no IP address.
    @return: the address in its canonical text form.
    """
    allowed = "an IPv4 or IPv6 address"
    if caller is None:
        detail = f"ip is missing, and the caller has no IP address; allowed: {allowed}"
        raise Problem(400, detail, field="ip")
    address = unmapped(ip_address(caller))
    reason = why_unreachable(address)
    if reason is not None:
        found = f"the caller's, {shown(caller)}, is {reason}"
        detail = f"ip is missing, and {found}; allowed: {allowed}"
        raise Problem(400, detail, field="ip")
    return str(address)


def read_server_id(text: str) -> str:
    """
    The id of a server, as a caller names it in a path: the id itself, or C{[v6]:port}, the
    address in whatever spelling.
    """
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+):([1-9][0-9]{0,4})", text)
    if found is None:
        return text
    try:
        address = unmapped(IPv6Address(found[1].strip("[]")))
    except ValueError:
        return text
    return server_id(str(address), int(found[2]))


def read_port(field: str, value: Port, allowed: Mapping[str, str]) -> int:
    """
    Read a port, which may be a number or a string.

    @param field: the member's path.
    """
    if isinstance(value, str):
        if re.fullmatch(r"[1-9][0-9]{0,4}", value) is None:
            raise fault(field, value, allowed)
        number = int(value)
    else:
        number = value
    if not 1 <= number <= 65535:
        raise fault(field, value, allowed)
    return number


def why_unreachable(address: IPv4Address | IPv6Address) -> str | None:
    """
    The reason why no server or node can have an address; L{None}: there is none.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "a zone id has a meaning on one machine only"
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_multicast:
        return "a multicast address"
    if address == IPv4Address("255.255.255.255"):
        return "the broadcast address"
    return None


def _why_no_address(text: str) -> str | None:
    """
    The fault in a text that is not an IP address; L{None}: the fault is unknown.
    """
    octets = text.split(".")
    if len(octets) == 4 and all(octet.isascii() and octet.isdigit() for octet in octets):
        if any(len(octet) > 1 and octet.startswith("0") for octet in octets):
            return "a leading zero may mean an octal number"
        return "a number above 255"
    if text.isascii() and valid_host(text.encode("ascii")):
        return "a host name, or no address at all"
    return None
