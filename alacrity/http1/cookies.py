"""
Cookies (RFC 6265): reading one out of a request, and setting one with a response.
"""

from __future__ import annotations

import re
from typing import Final

_NO_OTHERS: Final = frozenset({b"private", b"no-store"})
"""The directives that keep a response from being given to other clients (RFC 9111 5.2.2)."""

# One that is not closed goes on to the end, which is read once, not from each quote in it.
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)')


def take_cookie(lines: list[bytes], name: bytes) -> tuple[list[bytes], list[bytes]]:
    """
    Take all cookies of a name out of field lines. The rest of a C{Cookie} field stays byte
    for byte; a field that had no others goes.

    @param name: case-sensitive (RFC 6265 5.4).
    @return: the lines without the cookies, and the values of these in their order, without
        quotes. If there are none, the lines are the very same list.
    """
    values: list[bytes] = []
    kept: list[bytes] = []
    for line in lines:
        if line[6:7] == b":" and line[:6].lower() == b"cookie" and name in line:
            rest = _without(line[7:], name, values)
            if rest is None:
                kept.append(line)
            elif rest.strip(b" \t;"):
                kept.append(line[:7] + rest)
        else:
            kept.append(line)
    return (kept, values) if values else (lines, values)


def _without(field: bytes, name: bytes, values: list[bytes]) -> bytes | None:
    """
    A field's value without the cookies of a name, whose values are added to C{values};
    L{None}: it has none.
    """
    pairs = field.split(b";")
    kept = []
    first_went = False
    for at, pair in enumerate(pairs):
        spelled, equals, value = pair.partition(b"=")
        if equals and spelled.strip(b" \t") == name:
            values.append(value.strip(b" \t").strip(b'"'))
            first_went = first_went or at == 0
        else:
            kept.append(pair)
    if len(kept) == len(pairs):
        return None
    rest = b";".join(kept)
    if first_went:
        blanks = field[: len(field) - len(field.lstrip(b" \t"))]
        return blanks + rest.lstrip(b" \t")
    return rest


def keeps_to_one(lines: list[bytes]) -> bool:
    """
    Whether a response says already that it is for one client alone, or for no cache at all.
    C{private} with names of fields speaks of these alone.
    """
    for line in lines:
        spelled, _, value = line.partition(b":")
        if spelled.lower() == b"cache-control":
            for directive in _directives(value):
                if directive in _NO_OTHERS:
                    return True
    return False


def _directives(value: bytes) -> list[bytes]:
    """
    The directives of a C{Cache-Control}, in lower case; those with an argument with it.
    """
    # A quoted argument may have commas.
    unquoted = _QUOTED.sub(b'""', value)
    return [each.strip(b" \t").lower() for each in unquoted.split(b",")]


def set_cookie(
    name: bytes, value: bytes, *, max_age: int, domain: bytes, same_site: bytes, secure: bool
) -> bytes:
    """
    A C{Set-Cookie} line for all paths, which scripts in a page cannot read.

    @param max_age: seconds; 0: as long as the browser runs.
    @param domain: empty: the host that was asked.
    """
    parts = [b"Set-Cookie: %b=%b; Path=/; HttpOnly; SameSite=%b" % (name, value, same_site)]
    if max_age:
        parts.append(b"Max-Age=%d" % max_age)
    if domain:
        parts.append(b"Domain=" + domain)
    if secure:
        parts.append(b"Secure")
    return b"; ".join(parts)
