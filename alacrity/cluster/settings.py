"""
What C{[cluster]} means: who this node is, and who the others are. Without I/O.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, Protocol

from alacrity.cluster.log.members import Member
from alacrity.net.addresses import (
    ADDRESS,
    NODE_NAME,
    is_address,
    is_ip,
    is_node_name,
    join_address,
    normalized_address,
)

STANDALONE: Final = "standalone"
"""The name of a node that is alone and has been given no other."""


class Fault(Exception):
    """
    What is wrong in the table.

    @ivar key: where.
    """

    def __init__(self, key: str, found: str, allowed: str) -> None:
        super().__init__(f"{key}: found {found}; allowed: {allowed}")
        self.key = key
        self.found = found
        self.allowed = allowed


class Table(Protocol):
    """
    See L{alacrity.config.Cluster}.
    """

    @property
    def listen(self) -> tuple[str, ...]: ...
    @property
    def advertise(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def members(self) -> tuple[Member, ...]: ...
    @property
    def secret_file(self) -> str: ...


def read_members(descriptions: Sequence[str]) -> tuple[Member, ...]:
    """
    Members as they are configured: C{host:port}, or C{name=host:port}.

    @raise Fault: one is not like that, or two have the same name or address.
    """
    members = []
    for number, text in enumerate(descriptions):
        name, equals, address = text.rpartition("=")
        if not is_address(address) or (equals and not is_node_name(name)):
            raise Fault(
                f"members[{number}]",
                _shown(text),
                f"{ADDRESS}, or name=host:port with a name of {NODE_NAME}",
            )
        address = normalized_address(address)
        members.append(Member(name or address, address))
    for attribute in ("name", "address"):
        counts = Counter(getattr(member, attribute) for member in members)
        for value, count in counts.items():
            if count > 1:
                raise Fault("members", f"{count} with the {attribute} {_shown(value)}", "one")
    return tuple(members)


def identify(name: str, advertise: str) -> Member:
    """
    Who a node is, by what is configured.
    """
    return Member(name or advertise or STANDALONE, advertise)


def own_address(table: Table) -> str:
    """
    Where the other nodes reach this one; empty: nowhere.

    @raise Fault: its keys contradict each other, or one is missing.
    """
    if not table.listen:
        for key in ("advertise", "members"):
            if value := getattr(table, key):
                found = _shown(value if key == "advertise" else [m.address for m in value])
                raise Fault(key, f"{found} without cluster.listen", "it only beside that")
        return ""
    if table.secret_file == "" and not all(map(_is_local, table.listen)):
        raise Fault(
            "secret_file",
            "nothing",
            "a file made by `python -m alacrity.cluster.secret FILE`, the same on all nodes, "
            "since cluster.listen can be reached from other machines",
        )
    advertise = normalized_address(table.advertise) if table.advertise else _derived(table.listen)
    if table.members:
        _check_members(table.members, identify(table.name, advertise))
    return advertise


def _check_members(members: tuple[Member, ...], me: Member) -> None:
    """
    See that this node is among the members, as what it is.
    """
    if me in members:
        return
    own = f"{me.name}={me.address}" if me.name != me.address else me.address
    for member in members:
        if member.name == me.name or member.address == me.address:
            raise Fault(
                "members",
                f"{member.name}={member.address} for this node",
                f"what cluster.name and cluster.advertise make it, {own}",
            )
    listed = _shown([f"{member.name}={member.address}" for member in members])
    raise Fault("members", listed, f"the nodes of a new cluster, this one among them: {own}")


def _derived(listen: tuple[str, ...]) -> str:
    """
    Where a node can be reached that says only where it listens.
    """
    if len(listen) == 1:
        at = _bound_to(listen[0])
        if at is not None and at[1] != 0 and not ip_address(at[0]).is_unspecified:
            return join_address(*at)
    raise Fault(
        "advertise",
        "nothing",
        f"{ADDRESS}: where the other nodes reach this one, which does not follow from cluster.listen",
    )


def _bound_to(description: str) -> tuple[str, int] | None:
    """
    The address that an endpoint string of kind C{tcp} or C{tcp6} binds to.
    """
    kind, *parts = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", description)]
    if kind not in {"tcp", "tcp6"}:
        return None
    values = dict(zip(("port", "interface", "backlog"), _positional(parts), strict=False))
    values |= dict(part.split("=", 1) for part in parts if "=" in part)
    host = values.get("interface") or ("::" if kind == "tcp6" else "0.0.0.0")  # noqa: S104
    if not is_ip(host) or not values["port"].isdigit():
        return None
    return str(ip_address(host)), int(values["port"])


def _positional(parts: Sequence[str]) -> list[str]:
    return [part for part in parts if "=" not in part]


def _is_local(description: str) -> bool:
    """
    Whether nobody can connect from another machine.
    """
    if description.startswith("unix:"):
        return True
    at = _bound_to(description)
    return at is not None and ip_address(at[0]).is_loopback


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:80] + "..."
