"""
Field names, and their meaning to a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Final

from alacrity.http1.errors import ProtocolError

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""
Fields for this connection only (RFC 9110 7.6.1), never passed on as they are.
"""

SPECIAL: Final = HOP_BY_HOP | {
    b"content-length",
    b"date",
    b"expect",
    b"forwarded",
    b"host",
    b"trailer",
    b"via",
}
"""
Fields that a proxy reads, removes or replaces. All C{X-Forwarded-} fields are too.
"""

UPGRADES: Final = frozenset({b"connect-ip", b"connect-udp", b"websocket"})
"""
The protocols that a connection may be switched to unless others are configured, in lower
case: those registered for C{Upgrade} (RFC 9110 16.7), except C{HTTP}, C{h2c} and C{TLS}.
These carry HTTP again, and no request may pass that was not read here. All of these begin
with a GET (RFC 6455 4.1, RFC 9298 3.2, RFC 9484 4.3).
"""

NOT_IN_TRAILERS: Final = frozenset(
    {
        b"age",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expires",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"vary",
        b"warning",
        b"www-authenticate",
    }
)
"""
Ordinary fields that frame, route, authenticate or control, and so are not allowed in a
trailer section (RFC 9110 6.5.1). The special ones are not allowed there either.
"""


_PLAIN: Final = bytes(
    ord(chr(each).lower()) if chr(each).isascii() and chr(each).isalnum() else ord("-")
    for each in range(256)
)
"""The translation of names that makes letters lower case, and dashes of all but letters and digits."""


class _Specials(dict[bytes, bytes]):
    """
    The meaning of field names, by their spelling: the lower case name of a special
    field, else C{b""}. Short spellings are cached as they come, up to a bound.
    """

    BOUND: Final = 4096
    LONGEST: Final = 64

    def __missing__(self, name: bytes) -> bytes:
        # In the environment of a CGI or WSGI server, an underscore stands for a dash, and with
        # some bridges for any character but letters and digits: X.Forwarded.For would be read
        # as X-Forwarded-For there. And Proxy becomes HTTP_PROXY, which clients of HTTP obey.
        lower = name.lower()
        plain = name.translate(_PLAIN)
        special = plain if plain in SPECIAL or plain.startswith(b"x-forwarded-") else b""
        if (special and plain != lower) or plain == b"proxy":
            special = b"_"
        if len(name) <= self.LONGEST:
            if len(self) >= self.BOUND:
                self.clear()
            self[name] = special
        return special


SPECIALS: Final = _Specials()
"""
C{SPECIALS[name]} is the lower case name of a special field, C{b"_"} for a field
that only pretends to be one (to be dropped), C{b""} for an ordinary one.
"""


_LOGIN: Final = re.compile(
    rb"(?:authorization:|www-authenticate:(?:.*,)?)[ \t]*(?:ntlm|negotiate)(?:[ \t,]|$)",
    re.IGNORECASE,
)
"""
Matches a field line of a login that holds for the connection rather than for the request: NTLM,
Negotiate (RFC 4559 5). Such a line is special, unlike others of its name, and is passed
on nevertheless.
"""

LOGINS: Final = frozenset({b"authorization", b"www-authenticate"})
"""The names of the fields that log a connection in, in lower case."""


class _SpecialLines(dict[bytes, "tuple[bytes, bytes] | None"]):
    """
    The meaning of field lines: name and value, as in L{SPECIALS}, or L{None} for an
    ordinary one. Most lines come again and again, so looking one up whole is cheaper
    than splitting it.
    """

    BOUND: Final = 4096
    LONGEST: Final = 512

    def __missing__(self, line: bytes) -> tuple[bytes, bytes] | None:
        name, _, value = line.partition(b":")
        special = SPECIALS[name]
        if not special and (lower := name.lower()) in LOGINS and _LOGIN.match(line):
            special = lower
        field = (special, value.strip(b" \t")) if special else None
        if len(line) <= self.LONGEST:
            if len(self) >= self.BOUND:
                self.clear()
            self[line] = field
        return field


SPECIAL_LINES: Final = _SpecialLines()
"""
C{SPECIAL_LINES[line]} is the lower case name and the value of a special field, or
L{None} for an ordinary one.
"""


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """
    The field lines whose names are not among C{names}, which are in lower case.
    """
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def find(lines: list[bytes], name: bytes) -> bytes | None:
    """
    The value of the first field line of a name, given in lower case; L{None}: there is
    none.
    """
    for line in lines:
        spelled, _, value = line.partition(b":")
        if spelled.lower() == name:
            return value.strip(b" \t")
    return None


def options(value: bytes) -> frozenset[bytes]:
    """
    The members of a comma-separated list, in lower case, empty ones left out
    (RFC 9110 5.6.1).
    """
    # A long value is not cached: anybody may send any number of them.
    return _options(value) if len(value) <= _LONGEST else _options.__wrapped__(value)


_LONGEST: Final = 256


@lru_cache(1024)
def _options(value: bytes) -> frozenset[bytes]:
    # Members that are alike are one before they are stripped: a head may have thousands.
    members = {member.strip(b" \t") for member in set(value.lower().split(b","))}
    members.discard(b"")
    return frozenset(members)


_TRAILERS: Final = re.compile(
    rb"(?:^|,)[\t ]*trailers[\t ]*(?:;[\t ]*q=(?=[0-9.]*[1-9])[0-9.]+[\t ]*)?(?:,|$)", re.IGNORECASE
)


def names_trailers(value: bytes) -> bool:
    """
    Whether a C{TE} names C{trailers} (RFC 9110 10.1.4). A weight has no place there, but is
    passed over unless it is 0, as peers do.
    """
    return _TRAILERS.search(value) is not None


def upgrades(value: bytes, allowed: AbstractSet[bytes]) -> bytes:
    """
    The protocols that may be switched to, of those that an C{Upgrade} names: a list in
    their spelling and order.

    @param allowed: those that may, in lower case, with their versions.
    """
    members = (member.strip(b" \t") for member in value.split(b","))
    return b", ".join(member for member in members if member.lower() in allowed)


_DIGITS: Final = re.compile(rb"[0-9]{1,19}")


def content_length(value: bytes) -> int:
    """
    The number in a C{Content-Length}: digits only (RFC 9112 6.3 item 5).

    @raise ProtocolError: it is anything else, or does not fit in 63 bits.
    """
    if _DIGITS.fullmatch(value) is None or (length := int(value)) >= 1 << 63:
        raise ProtocolError("the Content-Length is not a number")
    return length


_HOST: Final = re.compile(
    rb"(?:(?:\[(?:[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+;=:-]+)\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::[0-9]*)?)?"
)


@lru_cache(256)
def valid_host(value: bytes) -> bool:
    """
    Whether a value is one host with an optional port (RFC 9110 7.2, RFC 3986
    3.2.2), or empty. The comma is not allowed, though a sub-delimiter: it makes a list.
    A port alone is no host (RFC 9110 4.2.1).
    """
    return _HOST.fullmatch(value) is not None
