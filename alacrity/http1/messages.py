"""
The parsed heads of messages, and the limits of messages. Frozen values.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alacrity.http1.fields import UPGRADES

CHUNKED: Final = -1
"""As a body's length: framed by chunks (RFC 9112 7.1)."""

UNTIL_CLOSE: Final = -2
"""As a body's length: up to the end of the connection (RFC 9112 6.3, 8)."""


class MessageLimits(msgspec.Struct, frozen=True):
    """
    The sizes above which a message is refused, in bytes but for C{header_count}; and the
    protocols that it may ask to switch to.

    @ivar upgrades: in lower case; see L{alacrity.http1.fields.UPGRADES}.
    """

    request_line: int = 16384
    header_bytes: int = 32768
    header_count: int = 100
    upgrades: frozenset[bytes] = UPGRADES


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """
    A request's control data and fields.

    @ivar method: as sent; methods are case-sensitive (RFC 9110 9.1).
    @ivar target: in origin or asterisk form (RFC 9112 3.2); byte for byte as
        sent, except the scheme and authority of an absolute form.
    @ivar minor: the minor version: 0 or 1.
    @ivar host: the target's host and port; empty if a 1.0 client sent none.
    @ivar lines: the ordinary fields, each a line without its end, as sent.
    @ivar specials: the fields that have a meaning to a proxy, in the order sent:
        name in lower case, value. See L{alacrity.http1.fields.SPECIAL}.
    @ivar named: the options and fields that C{Connection} names, in lower case (RFC 9110
        7.6.1).
    @ivar length: bytes of the body; 0: none; or L{CHUNKED}.
    @ivar keep_alive: whether the client may send another request.
    @ivar upgrade: the protocols that the client asks to switch to, of those that are
        allowed, as a list (RFC 9110 7.8); empty: none.
    @ivar via: the intermediaries that it passed, as a list (RFC 9110 7.6.3).
    @ivar login: whether it logs in the connection, not the request alone (RFC 4559).
    @ivar expects: whether the client waits to be told to send the body (RFC 9110 10.1.1).
    """

    method: bytes
    target: bytes
    minor: int
    host: bytes
    lines: list[bytes]
    specials: list[tuple[bytes, bytes]]
    named: frozenset[bytes]
    length: int
    keep_alive: bool
    upgrade: bytes = b""
    via: bytes = b""
    login: bool = False
    expects: bool = False


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """
    A response's status and fields.

    @ivar reason: the reason phrase; may be empty.
    @ivar length: bytes of the body that follows; 0: none; or L{CHUNKED}, or
        L{UNTIL_CLOSE}.
    @ivar declared: the number in C{Content-Length}, which may be there without a body:
        in the response to a HEAD request, or with 304 (RFC 9110 8.6); L{None}: there is
        none.
    @ivar keep_alive: whether the server takes another request afterwards.
    @ivar login: whether it asks for a login that holds for the connection (RFC 4559).
    @ivar minor: the minor version that the server speaks: 0 or 1.

    The other attributes are those of L{RequestHead}.
    """

    status: int
    reason: bytes
    lines: list[bytes]
    specials: list[tuple[bytes, bytes]]
    named: frozenset[bytes]
    length: int
    declared: int | None
    keep_alive: bool
    login: bool = False
    minor: int = 1
