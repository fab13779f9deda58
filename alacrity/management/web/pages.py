"""
Calls that a web page has a browser make, told from those of programs. They are refused
where no token says who calls.

A page may have a name of its own resolve to this machine (DNS rebinding): then C{Host} has
that name. Or it may call this machine by its address: then the browser says which page it
is, by C{Origin} or C{Sec-Fetch-Site} (W3C Fetch Metadata 2.4).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qs

from twisted.web.http_headers import Headers

from alacrity.management.documents.problems import Problem, shown
from alacrity.net.addresses import is_ip_authority, split_authority

_ORIGIN: Final = re.compile(r"(https?)://(.+)")
_ABSOLUTE: Final = re.compile(rb"(?i)https?://([^/?#]*)(.*)", re.DOTALL)
_PORTS: Final = {"http": 80, "https": 443}
_OURS: Final = frozenset({"same-origin", "none"})
"""Values of C{Sec-Fetch-Site}: a page of this very API, or nobody but the user. Another
port of this machine is C{same-site}, and a stranger."""


def split_target(target: bytes) -> tuple[bytes | None, bytes]:
    """
    A target in absolute form, as its authority, which counts instead of C{Host}, and the
    target in origin form (RFC 9112 3.2.2). Others: L{None}, and as they are.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return None, target
    rest = found[2]
    return found[1], rest if rest.startswith(b"/") else b"/" + rest


def refusal(
    headers: Headers, target: bytes, hosts: Collection[str], *, required: bool
) -> Problem | None:
    """
    Why a call may not be made; L{None}: it may.

    @param target: of the request, in origin form.
    @param hosts: the names by which this node is called, in lower case.
    @param required: whether C{Host} may not be missing, as in HTTP/1.1.
    """
    host = None
    fields = headers.getRawHeaders(b"Host", [])
    if len(fields) > 1 or (required and not fields):
        found = "there more than once" if fields else "missing"
        return Problem(400, f"Host is {found}; allowed: one (RFC 9112 3.2)")
    # Without the field it is no browser.
    if fields:
        text = fields[0].decode("latin-1")
        host = split_authority(text)
        if host is None or not (is_ip_authority(host[0]) or host[0] in {"localhost", *hosts}):
            return Problem(
                421,
                f"Host is {shown(text)}; allowed: an IP address, localhost, or a name in "
                "management.hosts, as this API asks for no token",
            )
    return _refuse_page(headers, target, host)


def _refuse_page(
    headers: Headers, target: bytes, host: tuple[str, int | None] | None
) -> Problem | None:
    origins = [value.decode("latin-1") for value in headers.getRawHeaders(b"Origin", [])]
    sites = [value.decode("latin-1") for value in headers.getRawHeaders(b"Sec-Fetch-Site", [])]
    for origin in origins:
        if len(origins) > 1 or not _is_same(origin, host):
            return Problem(
                403, f"Origin is {shown(origin)}, another site's; allowed: this API's own, or none"
            )
    for site in sites:
        if len(sites) > 1 or site not in _OURS:
            return Problem(
                403,
                f"Sec-Fetch-Site is {shown(site)}: another site's page asks; allowed: same-origin, "
                "none, or no such field",
            )
    if not origins and not sites and _is_browser(headers) and _asks_for_quorum(target):
        # By an address that is not this machine's, browsers do not say which page asks.
        return Problem(
            403,
            "a browser asks for ?consistent=1, and does not say for which page; allowed: it with "
            "Sec-Fetch-Site: same-origin or none, or from another program",
        )
    return None


def _is_browser(headers: Headers) -> bool:
    # A page cannot change this field where the browser does not ask first, by OPTIONS.
    return any(value.startswith(b"Mozilla/") for value in headers.getRawHeaders(b"User-Agent", []))


def _asks_for_quorum(target: bytes) -> bool:
    query = target.partition(b"?")[2].decode("latin-1")
    return "consistent" in parse_qs(query, keep_blank_values=True)


def _is_same(origin: str, host: tuple[str, int | None] | None) -> bool:
    """
    Whether an origin is that of what is called. Which of the two schemes it is, what is in
    front of this API may have changed.
    """
    found = _ORIGIN.fullmatch(origin)
    authority = None if found is None else split_authority(found[2])
    if found is None or authority is None or host is None:
        return False
    usual = _PORTS[found[1]]
    return authority[0] == host[0] and (authority[1] or usual) == (host[1] or usual)
