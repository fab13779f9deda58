"""
The body of a call: what it must be said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.web.server import Request

from alacrity.management.problems import Problem, shown

CURL: Final = "with curl: -H 'Content-Type: application/json'"


def require_json(request: Request) -> bytes:
    """
    The body of a request.

    @raise Problem: it is said to be something else than JSON.
    """
    fields: Sequence[bytes] = request.requestHeaders.getRawHeaders(b"Content-Type", [])
    if request.requestHeaders.hasHeader(b"Content-Encoding"):
        raise Problem(415, "the body has a Content-Encoding; allowed: none")
    if len(fields) != 1:
        found = "missing" if not fields else "there more than once"
        raise Problem(415, f"Content-Type is {found}; allowed: application/json ({CURL})")
    media_type, *parameters = fields[0].lower().split(b";")
    if media_type.strip() != b"application/json":
        raise Problem(415, f"Content-Type is {text(fields[0])}; allowed: application/json ({CURL})")
    for parameter in parameters:
        name, _, value = parameter.strip().partition(b"=")
        if name == b"charset" and value.strip(b'"') not in {b"utf-8", b"utf8"}:
            raise Problem(415, f"the charset is {text(value)}; allowed: utf-8")
    content = request.content
    assert content is not None
    body: bytes = content.read()
    return body


def text(value: bytes) -> str:
    """
    What a client sent, for people.
    """
    return shown(value.decode("latin-1"))[1:-1]
