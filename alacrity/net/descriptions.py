"""
Endpoint strings of Twisted's, such as C{tcp:8080:interface=127.0.0.1} and
C{unix:/run/alacrity.sock:mode=660}, as values. Without I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

import msgspec

from alacrity.net.addresses import is_ip, unmapped

_POSITIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog"),
    "unix": ("address", "mode", "backlog", "lockfile"),
}
"""The names of the arguments by their positions, as Twisted's endpoints have them."""

_ANYWHERE: Final[Mapping[str, str]] = {"tcp": "0.0.0.0", "tcp6": "::"}  # noqa: S104 - not bound
"""The hosts that the kinds listen on where no interface is named."""


class Description(msgspec.Struct, frozen=True):
    """
    An endpoint string, taken apart. It may still be one that Twisted refuses.

    @ivar kind: such as C{tcp}.
    @ivar arguments: by their names; those without a name by the name that their position
        has, or by the position, from 0, where the kind is not known here.
    """

    kind: str
    arguments: Mapping[str, str]

    @property
    def port(self) -> str:
        """The port, as it stands there; empty: there is none."""
        return self.arguments.get("port", "")

    @property
    def interface(self) -> str:
        """The interface, as it stands there; empty: there is none."""
        return self.arguments.get("interface", "")

    @property
    def names_mode(self) -> bool:
        """Whether the mode of a Unix socket is among the arguments."""
        return "mode" in self.arguments

    @property
    def address(self) -> tuple[str, int] | None:
        """
        The IP address, in its canonical form, and the port that a description of kind
        C{tcp} or C{tcp6} binds to; L{None}: it is of another kind, or has a host name.
        """
        host = self.interface or _ANYWHERE.get(self.kind, "")
        if self.kind not in _ANYWHERE or not is_ip(host) or not self.port.isdecimal():
            return None
        return str(unmapped(ip_address(host))), int(self.port)

    @property
    def is_local(self) -> bool:
        """
        Whether only this machine can connect, as far as the description tells: to a Unix
        socket, or to an interface of 127.0.0.0/8 or ::1.
        """
        if self.kind == "unix":
            return True
        host = self.interface
        if self.kind not in {"tcp", "tcp6", "ssl"}:
            return False
        if host == "localhost":
            return True
        return is_ip(host) and unmapped(ip_address(host)).is_loopback


def parse_description(text: str) -> Description:
    """
    Take an endpoint string apart at its colons and equals signs, as Twisted does: a
    backslash has the next character stand for itself.
    """
    kind, *parts = _split(text)
    names = _POSITIONS.get(kind[0], ())
    arguments: dict[str, str] = {}
    position = 0
    for part in parts:
        if len(part) > 1:
            arguments[part[0]] = part[1]
            continue
        name = names[position] if position < len(names) else str(position)
        arguments.setdefault(name, part[0])
        position += 1
    return Description(kind[0], arguments)


def _split(text: str) -> list[list[str]]:
    """
    The parts of an endpoint string: a value each, or a name and a value.
    """
    parts, escaped = [[""]], False
    for character in text:
        if not escaped and character == "\\":
            escaped = True
            continue
        if not escaped and character == ":":
            parts.append([""])
        elif not escaped and character == "=" and len(parts[-1]) == 1:
            parts[-1].append("")
        else:
            parts[-1][-1] += character
        escaped = False
    return parts
