"""
Readers of endpoint strings: those of the kinds that work where they stand.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from twisted.internet.endpoints import serverFromString

from alacrity.config.faults import Key, listed, one_line
from alacrity.config.readers import Reader, array, strings
from alacrity.net.descriptions import parse_description

_UNSERVED: Final = {
    "ssl": "TLS is not served here; put it in front",
    "tls": "TLS is not served here; put it in front",
    "haproxy": "the PROXY protocol is not read; have X-Forwarded-For sent",
}
"""The reasons why some kinds of endpoint strings are not allowed."""


def endpoint(key: Key, text: str, kinds: Collection[str], /) -> str:
    """
    Read an endpoint string, which Twisted has to understand. Nothing is bound.

    @param kinds: the allowed ones.
    """
    description = parse_description(text)
    allowed = (
        f"a Twisted endpoint string of the kinds {listed(kinds)}, such as "
        "tcp:8080:interface=127.0.0.1"
    )
    if description.kind not in kinds:
        why = _UNSERVED.get(description.kind)
        raise key.refuse(text, allowed if why is None else f"{allowed} ({why})")
    if description.kind in {"tcp", "tcp6", "ssl"} and description.arguments:
        port = description.port
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise key.refuse(text, "a port from 0 to 65535")
    try:
        serverFromString(None, text)
    except Exception as error:
        if description.kind == "systemd" and isinstance(error, LookupError):
            why = "systemd passes no such socket"
        else:
            why = one_line(str(error)) or type(error).__name__
        raise key.refuse(text, f"{allowed} ({why})") from None
    return text


PLAIN_KINDS: Final = ("tcp", "tcp6", "unix", "systemd")
"""The kinds of endpoint strings that the proxy and the cluster listen on."""

MANAGEMENT_KINDS: Final = (*PLAIN_KINDS, "ssl")
"""The kinds of endpoint strings that the management API listens on."""


def _endpoints(kinds: Collection[str]) -> Reader[tuple[str, ...]]:
    """
    A reader of an array of endpoint strings.

    @param kinds: see L{endpoint}.
    """
    read = array(lambda key, text: endpoint(key, text, kinds))

    def read_all(key: Key, value: object, /) -> tuple[str, ...]:
        if not strings(key, value):
            raise key.fault("an empty array", "at least one endpoint string")
        return read(key, value)

    return read_all


endpoints: Final = _endpoints(PLAIN_KINDS)

management_endpoints: Final = _endpoints(MANAGEMENT_KINDS)
