"""
Sections of header fields: read into frozen values, and a memo of those that come again.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import LOGINS, SPECIAL_LINES, content_length, options, valid_host

_NONE_NAMED: Final[frozenset[bytes]] = frozenset()

_EXPECTATIONS: Final = frozenset({b"100-continue"})


class RequestFields(msgspec.Struct, frozen=True, gc=False):
    """
    The header fields of a request, which several requests may share.

    @ivar count: their number.
    @ivar host: the value of C{Host}; L{None}: there is none.
    @ivar length: the number in C{Content-Length}; L{None}: there is none.
    @ivar chunked: whether the body is framed by chunks.
    @ivar upgrade: the value of C{Upgrade}; empty: there is none.
    @ivar expects: whether C{Expect} has a member.

    The other attributes are those of L{RequestHead<alacrity.http1.messages.RequestHead>}.
    """

    count: int
    host: bytes | None
    length: int | None
    chunked: bool
    lines: list[bytes]
    specials: list[tuple[bytes, bytes]]
    named: frozenset[bytes]
    upgrade: bytes
    via: bytes
    login: bool
    expects: bool


class ResponseFields(msgspec.Struct, frozen=True, gc=False):
    """
    The header fields of a response, which several responses may share.

    @ivar count: their number.
    @ivar length: the number in C{Content-Length}; L{None}: there is none.
    @ivar chunked: whether the body is framed by chunks.

    The other attributes are those of L{ResponseHead<alacrity.http1.messages.ResponseHead>}.
    """

    count: int
    length: int | None
    chunked: bool
    lines: list[bytes]
    specials: list[tuple[bytes, bytes]]
    named: frozenset[bytes]
    login: bool


def request_fields(lines: list[bytes]) -> RequestFields:
    """
    Read the field lines of a request, whose grammar llhttp has accepted.

    @raise ProtocolError: a field is there twice, or has an invalid value.
    """
    ordinary, specials = _split(lines)
    host: bytes | None = None
    length: int | None = None
    connection = upgrade = via = b""
    chunked = login = expects = False
    for name, value in specials:
        if name == b"host":
            # RFC 9112 3.2: more than one, or an invalid one, is an error.
            if host is not None or not valid_host(value):
                raise ProtocolError("there is more than one Host, or an invalid one")
            host = value
        elif name == b"connection":
            connection = b"%b,%b" % (connection, value) if connection else value
        elif name == b"content-length":
            # RFC 9112 6.3 item 5
            if length is not None:
                raise ProtocolError("there is more than one Content-Length")
            length = content_length(value)
        elif name == b"transfer-encoding":
            chunked = _read_coding(value, chunked)
        elif name == b"upgrade":
            upgrade = b"%b, %b" % (upgrade, value) if upgrade else value
        elif name == b"expect":
            # RFC 9110 10.1.1: a list, and the only expectation that is defined.
            expected = options(value)
            if not expected <= _EXPECTATIONS:
                raise ProtocolError("the Expect is not 100-continue", 417)
            expects = expects or bool(expected)
        elif name == b"via":
            via = b"%b, %b" % (via, value) if via else value
        elif name == b"authorization":
            login = True
    if chunked and length is not None:
        # RFC 9112 6.1, 6.3 item 3
        raise ProtocolError("there is a Content-Length beside a Transfer-Encoding")
    return RequestFields(
        len(lines),
        host,
        length,
        chunked,
        _with_logins(lines) if login else ordinary,
        specials,
        # All lines at once: a head may have many, and their members would be joined for each.
        options(connection) if connection else _NONE_NAMED,
        upgrade,
        via,
        login,
        expects,
    )


def response_fields(lines: list[bytes]) -> ResponseFields:
    """
    Read the field lines of a response, whose grammar llhttp has accepted.

    @raise ProtocolError: a field is there twice, or has an invalid value.
    """
    ordinary, specials = _split(lines)
    length: int | None = None
    connection = b""
    chunked = login = False
    for name, value in specials:
        if name == b"connection":
            connection = b"%b,%b" % (connection, value) if connection else value
        elif name == b"content-length":
            if length is not None:
                raise ProtocolError("there is more than one Content-Length")
            length = content_length(value)
        elif name == b"www-authenticate":
            login = True
        elif name == b"transfer-encoding":
            chunked = _read_coding(value, chunked)
    if chunked and length is not None:
        raise ProtocolError("there is a Content-Length beside a Transfer-Encoding")
    return ResponseFields(
        len(lines),
        length,
        chunked,
        _with_logins(lines) if login else ordinary,
        specials,
        options(connection) if connection else _NONE_NAMED,
        login,
    )


def _read_coding(value: bytes, chunked: bool) -> bool:
    # RFC 9112 6.1: chunked is the only coding known here.
    if chunked or value.lower() != b"chunked":
        raise ProtocolError("the Transfer-Encoding is not chunked")
    return True


def _split(lines: list[bytes]) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """
    Separate the ordinary field lines from the special fields. That each is a token,
    a colon and a value without controls, llhttp has checked.
    """
    ordinary = []
    specials = []
    for line in lines:
        special = SPECIAL_LINES[line]
        if special is None:
            ordinary.append(line)
        else:
            specials.append(special)
    return ordinary, specials


def _with_logins(lines: list[bytes]) -> list[bytes]:
    """
    The ordinary field lines of a head, and those that log a connection in, which are
    passed on too: in their order (RFC 9110 5.3).
    """
    specials = [(line, SPECIAL_LINES[line]) for line in lines]
    return [line for line, special in specials if special is None or special[0] in LOGINS]


Fields = TypeVar("Fields")

LONGEST: Final = 2048
"""Longest section that is remembered, in bytes, its line ends included."""


class SectionMemo(Generic[Fields]):
    """
    A memo of sections that were accepted, and their fields: the last one of each length.

    Clients and servers send the same section again and again. To compare it with the last one
    is far cheaper than to have llhttp check it and to take it apart; and where another one of
    its length was last, they differ early on as a rule, so a vain look costs next to nothing.
    """

    __slots__ = ("_fields", "_sections")

    def __init__(self) -> None:
        self._sections: list[bytes] = [b""] * (LONGEST + 1)
        self._fields: list[Fields | None] = [None] * (LONGEST + 1)

    def get(self, section: bytes) -> Fields | None:
        """The fields of a section; L{None}: it is not remembered."""
        size = len(section)
        if size > LONGEST or self._sections[size] != section:
            return None
        return self._fields[size]

    def add(self, section: bytes, fields: Fields) -> None:
        """Remember a section, in the place of another one of its length."""
        size = len(section)
        if size <= LONGEST:
            self._sections[size] = section
            self._fields[size] = fields


REQUEST_SECTIONS: Final = SectionMemo[RequestFields]()
RESPONSE_SECTIONS: Final = SectionMemo[ResponseFields]()
