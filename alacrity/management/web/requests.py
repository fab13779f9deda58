"""
The parts of a request that a call reads: body, query, and the caller's address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.server import Request

from alacrity.management.documents.problems import Problem, shown

_CURL: Final = "with curl: -H 'Content-Type: application/json'"


def read_json(request: Request) -> bytes:
    """
    Read the body of a request, which must be declared to be JSON.

    @raise Problem: the body is not declared to be JSON.
    """
    fields: Sequence[bytes] = request.requestHeaders.getRawHeaders(b"Content-Type", [])
    if request.requestHeaders.hasHeader(b"Content-Encoding"):
        raise Problem(415, "the body has a Content-Encoding; allowed: none")
    if len(fields) != 1:
        found = "missing" if not fields else "there more than once"
        raise Problem(415, f"Content-Type is {found}; allowed: application/json ({_CURL})")
    media_type, *parameters = fields[0].lower().split(b";")
    if media_type.strip() != b"application/json":
        found = shown_bytes(fields[0])
        raise Problem(415, f"Content-Type is {found}; allowed: application/json ({_CURL})")
    for parameter in parameters:
        name, _, value = parameter.strip().partition(b"=")
        if name == b"charset" and value.strip(b'"') not in {b"utf-8", b"utf8"}:
            raise Problem(415, f"the charset is {shown_bytes(value)}; allowed: utf-8")
    content = request.content
    assert content is not None
    body: bytes = content.read()
    return body


def read_flag(request: Request, name: str) -> bool:
    """
    Read a query parameter that is 0 or 1; if it is missing, it counts as 0.

    @raise Problem: the parameter has another value, or is given more than once.
    """
    # Request.args leaves out a parameter without a value.
    query = request.uri.partition(b"?")[2].decode("latin-1")
    values = parse_qs(query, keep_blank_values=True).get(name, ["0"])
    if values not in (["0"], ["1"]):
        found = shown(values[0])[1:-1] if len(values) == 1 else "there more than once"
        raise Problem(400, f"{name} is {found or 'empty'}; allowed: 0 or 1", field=name)
    return values == ["1"]


def caller_ip(request: Request) -> str | None:
    """
    The IP address of the caller; L{None}: the caller has none.
    """
    address = request.getClientAddress()
    return address.host if isinstance(address, IPv4Address | IPv6Address) else None


def shown_bytes(value: bytes) -> str:
    """
    A part of a request, in ASCII and cut to a length, for a L{Problem}'s detail.
    """
    return shown(value.decode("latin-1"))[1:-1]
