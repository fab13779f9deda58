"""
The parts of a request that a call reads: body, query, and the caller's address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.server import Request

from alacrity.management.documents.problems import Problem, shown

_CURL: Final = "with curl: -H 'Content-Type: application/json'"

_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

JSON: Final = ("application/json",)
"""The media type of requests."""

PATCH: Final = (*JSON, "application/merge-patch+json")
"""The media types of requests that change a part of a document; the second is of RFC 7396."""


def read_json(request: Request, media_types: Sequence[str] = JSON) -> bytes:
    """
    Read the body of a request, which must be declared to be JSON.

    @param media_types: the media types that are allowed.
    @raise Problem: the body is not declared to be JSON.
    """
    allowed = " or ".join(media_types)
    # RFC 5789 3.1.
    accept = {"Accept-Patch": ", ".join(media_types)} if request.method == b"PATCH" else {}
    fields: Sequence[bytes] = request.requestHeaders.getRawHeaders(b"Content-Type", [])
    if request.requestHeaders.hasHeader(b"Content-Encoding"):
        raise Problem(415, "the body has a Content-Encoding; allowed: none", headers=accept)
    if len(fields) != 1:
        found = "missing" if not fields else "there more than once"
        raise Problem(415, f"Content-Type is {found}; allowed: {allowed} ({_CURL})", headers=accept)
    media_type, *parameters = fields[0].lower().split(b";")
    if media_type.strip().decode("latin-1") not in media_types:
        found = shown_bytes(fields[0])
        raise Problem(415, f"Content-Type is {found}; allowed: {allowed} ({_CURL})", headers=accept)
    for parameter in parameters:
        name, _, value = parameter.strip().partition(b"=")
        if name == b"charset" and value.strip(b'"') not in {b"utf-8", b"utf8"}:
            raise Problem(
                415, f"the charset is {shown_bytes(value)}; allowed: utf-8", headers=accept
            )
    content = request.content
    assert content is not None
    body: bytes = content.read()
    return body


def read_flag(request: Request, name: str) -> bool:
    """
    Read a query parameter that is 0 or 1; if it is missing, it counts as 0.

    @raise Problem: the parameter has another value, or is given more than once.
    """
    values = _query(request, name) or ["0"]
    if values not in (["0"], ["1"]):
        found = shown(values[0])[1:-1] if len(values) == 1 else "there more than once"
        raise Problem(400, f"{name} is {found or 'empty'}; allowed: 0 or 1", field=name)
    return values == ["1"]


def read_seconds(request: Request, name: str, longest: float) -> float | None:
    """
    Read a query parameter that is a number of seconds above 0, written as in JSON.

    @param longest: the largest allowed number.
    @return: L{None}: the parameter is missing.
    @raise Problem: the parameter has another value, or is given more than once.
    """
    values = _query(request, name)
    if not values:
        return None
    if len(values) == 1 and _NUMBER.fullmatch(values[0]):
        seconds = float(values[0])
        if 0 < seconds <= longest:
            return seconds
    found = shown(values[0])[1:-1] if len(values) == 1 else "there more than once"
    detail = f"{name} is {found or 'empty'}; allowed: seconds, above 0 and up to {longest:g}"
    raise Problem(400, detail, field=name)


def require_no_body(request: Request) -> None:
    """
    Refuse a body: the call does not read it.

    @raise Problem: there is one.
    """
    content = request.content
    if content is not None and content.read(1):
        raise Problem(400, "the call has a body; allowed: none")


def _query(request: Request, name: str) -> list[str]:
    """
    The values of a query parameter.
    """
    # Request.args leaves out a parameter without a value.
    query = request.uri.partition(b"?")[2].decode("latin-1")
    return parse_qs(query, keep_blank_values=True).get(name, [])


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
