"""
Conditions of requests: C{If-Match} (RFC 9110 13.1.1) with the versions of servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec
from twisted.web.server import Request

from alacrity.management.documents.problems import Problem
from alacrity.management.web.requests import shown_bytes

_TAG: Final = rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rb"[ \t,]*" + _TAG + rb"(?:[ \t]*,[ \t,]*" + _TAG + rb")*[ \t,]*")
_STRONG: Final = re.compile(rb'(W/)?"([^"]*)"')
_VERSION: Final = re.compile(rb"0|[1-9][0-9]{0,17}")

_ALLOWED: Final = 'allowed: * or a list of tags in quotes, such as "17"'


class Precondition(msgspec.Struct, frozen=True):
    """
    The versions of a server with which a call may be carried out.

    @ivar versions: those; L{None}: any version will do.
    """

    versions: frozenset[int] | None = None

    def allows(self, version: int) -> bool:
        """Whether the call may be carried out with a version."""
        return self.versions is None or version in self.versions

    def newest(self) -> int | None:
        """
        The newest version that is allowed, as a server's version only rises; L{None}: any.
        """
        return None if self.versions is None else max(self.versions, default=-1)


def read_if_match(request: Request) -> Precondition:
    """
    Read the field C{If-Match}. Weak tags never match, and nor do tags that are no versions.

    @raise Problem: the field is not valid.
    """
    fields = request.requestHeaders.getRawHeaders(b"If-Match")
    if fields is None:
        return Precondition()
    value = b",".join(fields)
    if value.strip(b" \t") == b"*":
        return Precondition()
    if _TAGS.fullmatch(value) is None:
        raise Problem(400, f"If-Match is {shown_bytes(value) or 'empty'}; {_ALLOWED}")
    return Precondition(frozenset(_versions(value)))


def _versions(value: bytes) -> Iterable[int]:
    for weak, tag in _STRONG.findall(value):
        if not weak and _VERSION.fullmatch(tag):
            yield int(tag)


def refuse_conditions(request: Request, *, if_match: bool) -> None:
    """
    Refuse a condition that the call does not look at: the caller relies on it.

    @param if_match: whether the call looks at C{If-Match}.
    @raise Problem: there is one.
    """
    headers = request.requestHeaders
    if not if_match and headers.hasHeader(b"If-Match"):
        raise Problem(
            400,
            "this call has no version for If-Match; allowed: GET, PATCH or DELETE of /servers/ID",
        )
    if request.method not in {b"GET", b"HEAD"} and headers.hasHeader(b"If-None-Match"):
        raise Problem(400, "If-None-Match is not known here; allowed: GET and HEAD")


def version_problem(id: str, version: int) -> Problem:
    """
    The problem that a server has another version than those that the caller names.

    @param version: the present one.
    """
    return Problem(
        412,
        f"server {id} has version {version}, which If-Match does not name; nothing was changed",
        headers=etag(version),
        version=version,
    )


def etag(version: int) -> dict[str, str]:
    """
    The response field with the version of a server.
    """
    return {"ETag": f'"{version}"'}
