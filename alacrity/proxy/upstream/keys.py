"""
The keys of requests, for the choice of a server by hash.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, TypeAlias

from alacrity.http1.fields import find
from alacrity.http1.messages import RequestHead
from alacrity.net.addresses import TrustedPeers, unmapped

NOBODY: Final = TrustedPeers()
"""No proxy in front."""

KeyOf: TypeAlias = Callable[[RequestHead, bytes], bytes | None]
"""
Reads the key of a request, given its head and its client's IP address. A value that is empty is
none.
"""


def key_reader(spec: str, trusted: TrustedPeers = NOBODY) -> KeyOf:
    """
    Compile a key as it is configured: C{ip}, C{path}, C{header:NAME}, C{cookie:NAME} or
    C{query:NAME}.

    @param trusted: the proxies in front, whose C{X-Forwarded-For} names the client.
    """
    kind, _, name = spec.partition(":")
    match kind:
        case "ip":
            return _ip_reader(trusted)
        case "path":
            return _path
        case "header":
            return _header_reader(name.lower().encode("ascii"))
        case "cookie":
            return _cookie_reader(name.encode("utf-8"))
        case "query":
            return _query_reader(name.encode("utf-8"))
        case _:
            raise ValueError(f"no key: {spec}")


def _ip_reader(trusted: TrustedPeers) -> KeyOf:
    @lru_cache(1024)
    def is_trusted(text: bytes) -> bool:
        try:
            return trusted.trusts(text.decode("ascii"))
        except ValueError:
            return False

    def read(request: RequestHead, client: bytes) -> bytes | None:
        # From the nearest on, the first that is no proxy of ours is the client.
        if trusted and is_trusted(client):
            hops = 0
            for name, value in reversed(request.specials):
                if name != b"x-forwarded-for":
                    continue
                for member in reversed(value.rsplit(b",", _MOST_HOPS)[-_MOST_HOPS:]):
                    part = member.strip(b" \t")
                    hops += 1
                    if part:
                        if len(part) > _LONGEST_ADDRESS:
                            return part
                        client = _listed_address(part)
                    if hops == _MOST_HOPS or not is_trusted(client):
                        return client
        return client or None

    return read


_LONGEST_ADDRESS = 80


@lru_cache(1024)
def _listed_address(text: bytes) -> bytes:
    """
    A member of C{X-Forwarded-For} in the one form that its address has. Some proxies write a
    port, too, and brackets. What is no address stays as it is.
    """
    try:
        spelled = text.decode("ascii")
        address, bracket, _ = spelled.removeprefix("[").partition("]")
        if not bracket and spelled.count(":") == 1:
            address = spelled.partition(":")[0]
        return str(unmapped(ip_address(address.partition("%")[0]))).encode("ascii")
    except ValueError:
        return text


_MOST_HOPS = 32
"""Members of C{X-Forwarded-For} that are read, the nearest: no request comes through so many proxies."""


def _path(request: RequestHead, client: bytes) -> bytes | None:
    return request.target.partition(b"?")[0]


def _header_reader(name: bytes) -> KeyOf:
    if name == b"host":
        return lambda request, client: request.host.lower() or None

    def read(request: RequestHead, client: bytes) -> bytes | None:
        value = find(request.lines, name)
        if value is None:
            for special, text in request.specials:
                if special == name:
                    return text or None
        return value or None

    return read


def cookie_of(request: RequestHead, name: bytes) -> bytes | None:
    """
    The value of a cookie (RFC 6265 4.2); the first, if there are several.
    """
    for line in request.lines:
        if line[:7].lower() == b"cookie:":
            for pair in line[7:].split(b";"):
                spelled, _, value = pair.partition(b"=")
                if spelled.strip(b" \t") == name:
                    return value.strip(b" \t")
    return None


def _cookie_reader(name: bytes) -> KeyOf:
    return lambda request, client: cookie_of(request, name) or None


def _query_reader(name: bytes) -> KeyOf:
    def read(request: RequestHead, client: bytes) -> bytes | None:
        query = request.target.partition(b"?")[2]
        for pair in query.split(b"&"):
            spelled, _, value = pair.partition(b"=")
            if spelled == name:
                return value or None
        return None

    return read
