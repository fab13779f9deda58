"""
Readers of the values in a configuration file, one for each kind of field.

A reader is a function of the place of a value and the value as TOML has it. It returns the
typed value, or raises a L{ConfigurationError} that names the place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar, get_args

import msgspec

from alacrity.config.faults import Key, listed, one_line, shown
from alacrity.net.addresses import (
    ADDRESS,
    NODE_NAME,
    NodeAddress,
    is_address,
    is_node_name,
    normalized_address,
    plain_network,
)
from alacrity.net.tokens import TokenError, read_token

Network: TypeAlias = IPv4Network | IPv6Network

_DAY: Final = 86400.0
_YEAR: Final = 365 * _DAY

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Reader(Protocol[_T_co]):
    """
    A reader of one field.
    """

    def __call__(self, key: Key, value: object, /) -> _T_co:
        """
        @raise ConfigurationError: the value is not allowed.
        """


def _converted(kind: type[_T], allowed: str, test: Callable[[_T], bool]) -> Reader[_T]:
    """
    A reader of values of a type that pass a test.

    @param allowed: those values, in words.
    """

    def read(key: Key, value: object, /) -> _T:
        try:
            converted = msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise key.refuse(value, allowed) from None
        if not test(converted):
            raise key.refuse(value, allowed)
        return converted

    return read


# Truth and choices

boolean: Final = _converted(bool, "true or false", lambda _: True)


def choice(literal: Any) -> Reader[Any]:
    """
    A reader of one of some strings.

    @param literal: a C{typing.Literal} of these.
    """
    names = get_args(literal)
    return _converted(str, f"one of {listed(names)}", names.__contains__)


# Numbers

count: Final = _converted(int, "a whole number from 1", lambda n: 1 <= n < 1 << 31)

count_or_zero: Final = _converted(int, "a whole number from 0", lambda n: 0 <= n < 1 << 31)

limit: Final = _converted(
    int, "a whole number from 1, or 0 for no limit", lambda n: 0 <= n < 1 << 63
)

fraction: Final = _converted(float, "a number from 0 to 1", lambda x: 0 <= x <= 1)

positive: Final = _converted(float, "a number from 0 to 100", lambda x: 0 <= x <= 100)

hash_bound: Final = _converted(float, "a number from 1 to 100", lambda x: 1 <= x <= 100)

whole_seconds: Final = _converted(
    int, "a whole number of seconds from 0 to 31536000", lambda n: 0 <= n <= _YEAR
)


def duration(shortest: float) -> Reader[float]:
    """
    A reader of a number of seconds, at most a day.

    @param shortest: the least of them.
    """
    return _converted(
        float,
        f"a number of seconds from {shortest} to 86400",
        lambda seconds: shortest <= seconds <= _DAY,
    )


SHORTEST_TIMEOUT: Final = 0.001
"""Seconds of the shortest time limit, on the data path and for checks."""

time_limit: Final = duration(SHORTEST_TIMEOUT)

duration_or_zero: Final = _converted(
    float, "a number of seconds, at most 86400", lambda seconds: 0 <= seconds <= _DAY
)

duration_or_never: Final = _converted(
    float,
    "a number of seconds from 1 to 31536000, or 0 for never",
    lambda seconds: seconds == 0 or 1 <= seconds <= _YEAR,
)


# Parts of HTTP

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# RFC 9110 5.6.2, 7.6.3
pseudonym: Final = _converted(
    str, "a token, such as a host name", lambda text: _TOKEN.fullmatch(text) is not None
)

cookie_name: Final = _converted(
    str,
    "the name of a cookie (letters, digits, - and _), or nothing",
    lambda text: re.fullmatch(r"[0-9A-Za-z_-]{0,64}", text) is not None,
)

cookie_domain: Final = _converted(
    str,
    "a domain such as shop.example, or nothing",
    lambda text: text == "" or (is_address(f"{text.removeprefix('.')}:1") and "[" not in text),
)

hash_key: Final = _converted(
    str,
    "ip, path, header:NAME, cookie:NAME or query:NAME",
    lambda text: (
        re.fullmatch(
            r"ip|path|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}|(cookie|query):[^\s\x00-\x20;=&#]{1,64}",
            text,
        )
        is not None
    ),
)


def statuses(key: Key, value: object, /) -> tuple[int, ...]:
    """
    Read an array of statuses of responses that are failures.
    """
    allowed = "an array of statuses from 400 to 599"
    if not isinstance(value, list):
        raise key.refuse(value, allowed)
    for each in value:
        if not isinstance(each, int) or not 400 <= each <= 599:
            raise key.refuse(value, allowed)
    return tuple(dict.fromkeys(value))


def group_weights(key: Key, value: object, /) -> dict[str, int]:
    """
    Read a table of weights, by the names of groups.
    """
    if not isinstance(value, dict):
        raise key.refuse(value, "a table of weights, such as { canary = 5, stable = 95 }")
    for name, weight in value.items():
        if not GROUP_NAME.fullmatch(name):
            raise key.refuse(name, "names of 1 to 63 of a-z, 0-9 and -")
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 1000:
            raise Key(key.source, f"{key.path}.{name}").refuse(
                weight, "a whole number from 0 to 1000"
            )
    return dict(value)


GROUP_NAME: Final = re.compile(r"[0-9a-z-]{1,63}")
"""The name of a group of servers."""


# Names and addresses

node_name: Final = _converted(str, NODE_NAME, is_node_name)

_address: Final = _converted(str, ADDRESS, is_address)


def address(key: Key, value: object, /) -> str:
    """
    Read C{host:port}, in its one spelling.
    """
    return normalized_address(_address(key, value))


def host_name(key: Key, text: str, /) -> str:
    """
    Read a host, in the form in which it is compared with C{Host}.
    """
    host = text.lower().removesuffix(".")
    if not is_address(f"{host}:1"):
        raise key.refuse(text, "a host name, without a port")
    return host


def network(key: Key, text: str, /) -> Network:
    """
    Read a network in CIDR notation.
    """
    allowed = "a network such as 10.0.0.0/8"
    if "%" in text:
        raise key.refuse(text, f"{allowed} (without a zone; fe80::/10 has the addresses of all)")
    try:
        return plain_network(ip_network(text))
    except ValueError as error:
        raise key.refuse(text, f"{allowed} ({one_line(str(error))})") from None


# RFC 9110 7.8
_PROTOCOL: Final = re.compile(rf"({_TOKEN.pattern})(?:/{_TOKEN.pattern})?")

# Drafts of these had names such as h2c-14.
_CARRIES_HTTP: Final = re.compile(r"http.*|(?:h2c?|h3|quic|ssl|tls)(?:-.*)?", re.IGNORECASE)
"""Matches the names of protocols within which requests would pass that were not read here."""


def upgrade_protocol(key: Key, text: str, /) -> str:
    """
    Read the name of a protocol, and its version if it has one, as they stand in C{Upgrade}.
    """
    words = _PROTOCOL.fullmatch(text)
    if words is None:
        raise key.refuse(text, "a protocol as Upgrade names it, such as websocket or SPDY/3.1")
    if _CARRIES_HTTP.fullmatch(words[1]) is not None:
        raise key.refuse(text, "a protocol that carries no HTTP, as that would pass unread")
    return text


# Files

_file_name: Final = _converted(str, "the name of a file", lambda text: text != "")


def file(key: Key, value: object, /) -> str:
    """
    Read the name of a file, as an absolute path.
    """
    return str(key.beside(_file_name(key, value)))


def token_file(key: Key, value: object, /) -> Path:
    """
    Read the path of a file in which there is a token.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise key.refuse(value, "the path of a file")
    path = key.beside(value)
    try:
        read_token(path)
    except TokenError as error:
        raise key.fault(f"{shown(value)}, {error.found}", error.allowed) from None
    return path


# Arrays


def strings(key: Key, value: object) -> list[str]:
    """
    Read an array of strings.
    """
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise key.refuse(value, "an array of strings")
    return value


def choices(literal: Any) -> Reader[tuple[Any, ...]]:
    """
    A reader of an array of some strings, each once.

    @param literal: a C{typing.Literal} of these.
    """
    names = get_args(literal)

    def read_all(key: Key, value: object, /) -> tuple[str, ...]:
        found = strings(key, value)
        for each in found:
            if each not in names:
                raise key.refuse(each, f"an array of {listed(names)}")
        return tuple(dict.fromkeys(found))

    return read_all


def array(read: Callable[[Key, str], _T]) -> Reader[tuple[_T, ...]]:
    """
    A reader of an array of strings.

    @param read: reads each of them.
    """

    def read_all(key: Key, value: object, /) -> tuple[_T, ...]:
        return tuple(read(key.item(n), text) for n, text in enumerate(strings(key, value)))

    return read_all


UNIX: Final = "unix"
"""The word for all that connect over Unix sockets."""


def trusted_peer(key: Key, text: str, /) -> Network | str:
    """
    Read a network, or the word L{UNIX}.
    """
    if text == UNIX:
        return text
    if text.lower().startswith(UNIX):
        raise key.refuse(
            text, f"a network such as 10.0.0.0/8, or the word {UNIX} alone, for all Unix sockets"
        )
    return network(key, text)


def _node(key: Key, text: str, /) -> NodeAddress:
    """
    Read a node: C{host:port}, or C{name=host:port}.
    """
    name, equals, place = text.rpartition("=")
    if not is_address(place) or (equals and not is_node_name(name)):
        raise key.refuse(text, f"{ADDRESS}, or name=host:port with a name of {NODE_NAME}")
    place = normalized_address(place)
    return NodeAddress(name or place, place)


_nodes: Final = array(_node)


def nodes(key: Key, value: object, /) -> tuple[NodeAddress, ...]:
    """
    Read an array of nodes, of which no two have the same name or address.
    """
    found = _nodes(key, value)
    for attribute in ("name", "address"):
        counts = Counter(getattr(node, attribute) for node in found)
        for each, times in counts.items():
            if times > 1:
                raise key.fault(f"{times} with the {attribute} {shown(each)}", "one")
    return found
