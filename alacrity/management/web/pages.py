"""
Requests that a browser sends on behalf of another site's web page. An API without a token refuses
them.

The page's host name may be made to resolve to this machine (DNS rebinding): then C{Host} has that
name. Or the page may use the address of this machine: then the browser names the page's site in
C{Origin}, or marks the request as one from another site in C{Sec-Fetch-Site} (W3C Fetch Metadata
2.4).
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
_ALLOWED_SITES: Final = frozenset({"same-origin", "none"})
"""Values of C{Sec-Fetch-Site} for a page of this API itself, and for a request that the user made
without a page. A page on another port of this machine is C{same-site}, and is refused."""


def split_target(target: bytes) -> tuple[bytes | None, bytes]:
    """
    Split a target in absolute form into its authority, which replaces C{Host}, and the
    target in origin form (RFC 9112 3.2.2).

    @return: the authority and the target in origin form; L{None} and the target itself, if it is
        not in absolute form.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return None, target
    rest = found[2]
    return found[1], rest if rest.startswith(b"/") else b"/" + rest


def page_problem(
    headers: Headers, target: bytes, hosts: Collection[str], *, required: bool
) -> Problem | None:
    """
    Check that a request does not come from another site's web page.

    @param target: the target of the request, in origin form.
    @param hosts: the names of this node, in lower case.
    @param required: whether C{Host} is required, as it is in HTTP/1.1.
    @return: the problem to answer with; L{None}: the request is allowed.
    """
    host = None
    fields = headers.getRawHeaders(b"Host", [])
    if len(fields) > 1 or (required and not fields):
        found = "there more than once" if fields else "missing"
        return Problem(400, f"Host is {found}; allowed: one (RFC 9112 3.2)")
    # Browsers always send the field.
    if fields:
        text = fields[0].decode("latin-1")
        host = split_authority(text)
        if host is None or not (is_ip_authority(host[0]) or host[0] in {"localhost", *hosts}):
            return Problem(
                421,
                f"Host is {shown(text)}; allowed: an IP address, localhost, or a name in "
                "management.hosts, because this API has no token",
            )
    return _foreign_page_problem(headers, target, host)


def _foreign_page_problem(
    headers: Headers, target: bytes, host: tuple[str, int | None] | None
) -> Problem | None:
    origins = [value.decode("latin-1") for value in headers.getRawHeaders(b"Origin", [])]
    sites = [value.decode("latin-1") for value in headers.getRawHeaders(b"Sec-Fetch-Site", [])]
    for origin in origins:
        if len(origins) > 1 or not _is_same(origin, host):
            return Problem(
                403, f"Origin is {shown(origin)}, another site; allowed: this API's own, or none"
            )
    for site in sites:
        if len(sites) > 1 or site not in _ALLOWED_SITES:
            return Problem(
                403,
                f"Sec-Fetch-Site is {shown(site)}: the request is another site's; allowed: "
                "same-origin, none, or no such field",
            )
    if not origins and not sites and _is_browser(headers) and _asks_for_quorum(target):
        # Over plain HTTP, browsers send Sec-Fetch-Site to this machine's own addresses only.
        return Problem(
            403,
            "?consistent=1 comes from a browser without the site of its page; allowed: with "
            "Sec-Fetch-Site: same-origin or none, or from another program",
        )
    return None


def _is_browser(headers: Headers) -> bool:
    # A page can change this field only after a preflight request (OPTIONS).
    return any(value.startswith(b"Mozilla/") for value in headers.getRawHeaders(b"User-Agent", []))


def _asks_for_quorum(target: bytes) -> bool:
    query = target.partition(b"?")[2].decode("latin-1")
    return "consistent" in parse_qs(query, keep_blank_values=True)


def _is_same(origin: str, host: tuple[str, int | None] | None) -> bool:
    """
    Whether an origin is this API's own. The schemes may differ, because there may be a TLS proxy
    in front of the API.
    """
    found = _ORIGIN.fullmatch(origin)
    authority = None if found is None else split_authority(found[2])
    if found is None or authority is None or host is None:
        return False
    usual = _PORTS[found[1]]
    return authority[0] == host[0] and (authority[1] or usual) == (host[1] or usual)
