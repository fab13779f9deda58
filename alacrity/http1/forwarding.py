"""
The heads that leave the proxy, written anew from those that were parsed (RFC 9110 7.6,
RFC 9112 5 to 7), and chunks.
"""

from __future__ import annotations

from typing import Final

from alacrity.http1.fields import names_trailers, without
from alacrity.http1.messages import CHUNKED, RequestHead, ResponseHead

LAST_CHUNK: Final = b"0\r\n\r\n"

# Options that Connection usually names, none of which is the name of an ordinary field.
_USUAL: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"})

# Methods whose requests have a Content-Length even without a body (RFC 9110 8.6).
_EXPECT_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})


class Forwarder:
    """
    Writer of request heads for servers, for one client connection. A head is written once for
    a request, before a server is chosen.

    @ivar client: the client's address; empty: it has none.
    """

    __slots__ = ("_authority", "_own_fields", "_trusted", "_via", "client")

    def __init__(self, *, via: bytes, client: bytes, authority: bytes, trusted: bool) -> None:
        """
        @param via: C{1.1} and the proxy's pseudonym (RFC 9110 7.6.3).
        @param authority: the address that the client connected to: the C{Host} of a
            request without one.
        @param trusted: whether the client's own C{X-Forwarded-} fields are kept.
        """
        self.client = client
        self._authority = authority
        self._trusted = trusted
        self._via = via
        self._own_fields = (
            b"Via: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "
            % (via, client or b"unknown")
        )

    def request(self, head: RequestHead) -> bytes:
        """
        The head of a request, as it goes to a server.
        """
        lines = head.lines
        if head.named and not head.named <= _USUAL:
            lines = without(lines, head.named)
        host = head.host or self._authority
        parts = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method, head.target, host), *lines]
        says_length = takes_trailers = False
        for name, value in head.specials:
            if name in _PASSED:
                if name not in head.named:
                    parts.append(_PASSED[name] + value)
            elif name == b"content-length":
                says_length = True
            elif name == b"te" and name in head.named and head.minor:
                takes_trailers = takes_trailers or names_trailers(value)
        if head.length > 0:
            parts.append(b"Content-Length: %d" % head.length)
        elif head.length == CHUNKED:
            parts.append(b"Transfer-Encoding: chunked")
        elif says_length or head.method in _EXPECT_BODY:
            parts.append(b"Content-Length: 0")
        if head.expects:
            parts.append(b"Expect: 100-continue")
        if takes_trailers:
            # RFC 9110 10.1.4
            own = b"Connection: TE, Upgrade" if head.upgrade else b"Connection: TE"
            parts.append(own + b"\r\nTE: trailers")
        elif head.upgrade:
            parts.append(b"Connection: Upgrade")
        if head.upgrade:
            parts.append(b"Upgrade: " + head.upgrade)
        if self._trusted:
            parts.append(self._extended_fields(head, host))
        elif head.minor:
            parts.append(self._own_fields + host)
        else:
            parts.append(self._own_fields.replace(b"Via: 1.1", b"Via: 1.0", 1) + host)
        parts.append(b"\r\n")
        return b"\r\n".join(parts)

    def is_secure(self, head: RequestHead) -> bool:
        """
        Whether a request came over an encrypted connection, to a trusted proxy in front of this
        one, which says so.
        """
        if not self._trusted:
            return False
        said = [value for name, value in head.specials if name == b"x-forwarded-proto"]
        return bool(said) and said[-1].lower() == b"https"

    def _extended_fields(self, head: RequestHead, host: bytes) -> bytes:
        """
        The forwarding fields of a request from a trusted proxy: its own, extended.
        """
        said: dict[bytes, list[bytes]] = {}
        for name, value in head.specials:
            # Empty members at the ends of a list are none (RFC 9110 5.6.1).
            content = value.strip(b" \t,") if name in _LISTS else value
            if content and name not in head.named:
                said.setdefault(name, []).append(content)
        client = self.client or b"unknown"
        added = [b"Via: " + received_by(self._via, head.minor)]
        passed = said.pop(b"x-forwarded-for", [])
        # A Unix socket has no address to append.
        if self.client or not passed:
            passed = [*passed, client]
        added.append(b"X-Forwarded-For: " + b", ".join(passed))
        added.append(b"X-Forwarded-Proto: " + said.pop(b"x-forwarded-proto", [b"http"])[-1])
        added.append(b"X-Forwarded-Host: " + said.pop(b"x-forwarded-host", [host])[-1])
        if b"forwarded" in said:
            # RFC 7239 4, 6: an IPv6 address is bracketed, and therefore quoted.
            node = b'"[%b]"' % client if b":" in client else client
            added.append(
                b"Forwarded: " + b", ".join([*said.pop(b"forwarded"), b"for=%b;proto=http" % node])
            )
        added.extend(
            name.title() + b": " + value
            for name, values in said.items()
            if name.startswith(b"x-forwarded-")
            for value in values
        )
        return b"\r\n".join(added)


_LISTS: Final = frozenset({b"forwarded", b"x-forwarded-for"})
"""The forwarding fields that each proxy adds a member to."""

_PASSED: Final = {
    b"date": b"Date: ",
    b"trailer": b"Trailer: ",
    b"via": b"Via: ",
}
"""The special fields that are passed on unchanged."""


def received_by(via: bytes, minor: int) -> bytes:
    """
    The proxy's entry in C{Via}, which says in which version it got the message (RFC 9110
    7.6.3).

    @param via: the entry for messages of HTTP/1.1.
    """
    return via if minor else via.replace(b"1.1", b"1.0", 1)


LOOP: Final = 3
"""
How often the proxy's own name stands in C{Via} before a request counts as looping.
Several proxies in a row may share a name, as none has to be configured.
"""


def goes_round(via: bytes, pseudonym: bytes) -> bool:
    """
    Whether a request has passed this proxy so often that it must be in a loop.

    @param via: the request's C{Via} (RFC 9110 7.6.3).
    @param pseudonym: the proxy's own name there.
    """
    if via.count(pseudonym) < LOOP:
        return False
    names = (member.split(None, 2)[1:2] for member in via.split(b",") if pseudonym in member)
    return sum(name == [pseudonym] for name in names) >= LOOP


def response(head: ResponseHead, *, minor: int, keep_alive: bool, via: bytes, date: bytes) -> bytes:
    """
    The head of a response, as it goes to a client.

    A body of unknown length goes out in chunks; to a 1.0 client, until the connection
    closes.

    @param minor: the minor version that the client speaks.
    @param date: for a response without one (RFC 9110 6.6.1).
    """
    lines = head.lines
    if head.named and not head.named <= _USUAL:
        lines = without(lines, head.named)
    parts = [b"HTTP/1.1 %d %b" % (head.status, head.reason), *lines]
    dated = False
    for name, value in head.specials:
        if name == b"date":
            dated = True
            parts.append(b"Date: " + value)
        elif (name == b"via" or name == b"trailer") and name not in head.named:
            parts.append(_PASSED[name] + value)
    if head.length < 0:
        if minor:
            parts.append(b"Transfer-Encoding: chunked")
    elif head.declared is not None:
        parts.append(b"Content-Length: %d" % head.declared)
    if not dated and head.status >= 200:
        parts.append(b"Date: " + date)
    if not keep_alive:
        parts.append(b"Connection: close")
    elif not minor:
        parts.append(b"Connection: keep-alive")
    if head.status == 426 and (protocols := upgrade_of(head)):
        # RFC 9110 15.5.22: the protocols that the server requires, also where it forgot to
        # name the field in Connection.
        parts.append(b"Connection: Upgrade\r\nUpgrade: " + protocols)
    parts.append(b"Via: %b\r\n\r\n" % (via if head.minor else received_by(via, 0)))
    return b"\r\n".join(parts)


def switch(head: ResponseHead, *, via: bytes, date: bytes) -> bytes:
    """
    The head of a response that switches protocols (RFC 9110 7.8, 15.2.2).

    @param date: for a response without one.
    """
    parts = [b"HTTP/1.1 101 " + head.reason, *without(head.lines, head.named)]
    parts.append(b"Date: " + dict(head.specials).get(b"date", date))
    parts.append(b"Connection: Upgrade\r\nUpgrade: " + switched_to(head))
    parts.append(b"Via: %b\r\n\r\n" % received_by(via, head.minor))
    return b"\r\n".join(parts)


def switched_to(head: ResponseHead) -> bytes:
    """
    The protocol that a response switches to, as spelled; empty: it does not say.
    """
    return upgrade_of(head) if b"upgrade" in head.named else b""


def upgrade_of(head: ResponseHead) -> bytes:
    """
    The protocols in the C{Upgrade} of a response, as spelled.
    """
    values = (value.strip(b" \t,") for name, value in head.specials if name == b"upgrade")
    return b", ".join(filter(None, values))


def chunk(data: bytes) -> bytes:
    """
    One chunk (RFC 9112 7.1). C{data} is not empty.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[bytes]) -> bytes:
    """
    The end of a chunked body, with its trailer fields (RFC 9112 7.1.2).
    """
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n%b\r\n\r\n" % b"\r\n".join(trailers)
