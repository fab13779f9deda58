"""
Consistency between the keys of the configuration, and with the options.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec

from alacrity.config.cluster import ClusterSettings
from alacrity.config.faults import Key, shown
from alacrity.config.health import HealthSettings
from alacrity.config.settings import Settings
from alacrity.net.addresses import ADDRESS, NodeAddress, is_http_url, join_address
from alacrity.net.bindings import Socket, UnixSocket, socket_of
from alacrity.net.descriptions import parse_description


def check_health(health: HealthSettings, name: str) -> None:
    """
    Require that a health check that takes its whole time ends before the next is due.

    @param health: with a timeout that is not the default. The default, with a shorter
        interval, is no fault: it is as long as the interval then.
    @param name: the configuration file's, for faults.
    @raise ConfigurationError: it does not.
    """
    if health.timeout > health.interval:
        raise Key(name, "health.timeout").fault(
            f"{health.timeout}, above health.interval, {health.interval}",
            "at most that; raise the interval, or lower the timeout",
        )


def complete_cluster(cluster: ClusterSettings, name: str) -> ClusterSettings:
    """
    Check that the keys of C{[cluster]} agree, and fill in the address that the node
    advertises, where it follows from the one that it listens at.

    @param name: the configuration file's, for faults.
    @return: the table, completed.
    @raise ConfigurationError: two keys contradict each other, or one is missing.
    """
    if not cluster.listen:
        for key, value in (
            ("advertise", cluster.advertise),
            ("members", [node.address for node in cluster.members]),
        ):
            if value:
                raise Key(name, f"cluster.{key}").fault(
                    f"{shown(value)} without cluster.listen", "only together with cluster.listen"
                )
        return cluster
    is_local = all(parse_description(each).is_local for each in cluster.listen)
    if cluster.secret_file == "" and not is_local:
        raise Key(name, "cluster.secret_file").fault(
            "nothing",
            "a file made by `python -m alacrity.cluster.secret FILE`, the same on all nodes, "
            "since cluster.listen can be reached from other machines",
        )
    if not cluster.advertise:
        advertise = _derive_address(cluster.listen, Key(name, "cluster.advertise"))
        cluster = msgspec.structs.replace(cluster, advertise=advertise)
    if cluster.members:
        _check_members(cluster.members, cluster.me, Key(name, "cluster.members"))
    return cluster


def _derive_address(listen: tuple[str, ...], key: Key) -> str:
    """
    The address at which a node can be reached that says only where it listens.
    """
    if len(listen) == 1:
        address = parse_description(listen[0]).address
        if address is not None and address[1] != 0 and not ip_address(address[0]).is_unspecified:
            return join_address(*address)
    raise key.fault(
        "nothing",
        f"{ADDRESS}: where the other nodes reach this one, which does not follow from "
        "cluster.listen",
    )


def _check_members(members: tuple[NodeAddress, ...], me: NodeAddress, key: Key) -> None:
    """
    Check that this node is among the members, under its own name and address.
    """
    if me in members:
        return
    own = f"{me.name}={me.address}" if me.name != me.address else me.address
    for member in members:
        if member.name == me.name or member.address == me.address:
            raise key.fault(
                f"{member.name}={member.address} for this node",
                f"what cluster.name and cluster.advertise make it, {own}",
            )
    names = [f"{member.name}={member.address}" for member in members]
    raise key.refuse(names, f"the nodes of a new cluster, this one among them: {own}")


def require_token(
    settings: Settings, *, name: str = "configuration", options: bool = False
) -> None:
    """
    Check that the management API asks for a token where other machines reach it, unless
    that was waived.

    @param name: the configuration file's, for faults.
    @param options: whether the addresses were given as options.
    @raise ConfigurationError: it does not.
    """
    management = settings.management
    if management.token_file is not None or management.insecure:
        return
    for key, description in _listening(settings, "management", name, given=options):
        if not parse_description(description).is_local:
            raise key.fault(
                f"{shown(description)}, which others may reach, and no token",
                "an address such as tcp:8687:interface=127.0.0.1 or unix:/run/alacrity, or "
                "management.token_file, or management.insecure = true",
            )


def require_sockets(
    settings: Settings,
    *,
    name: str = "configuration",
    options: Collection[str] = (),
    directory: Path = Path(),
) -> None:
    """
    Check that each address to listen on can be had beside the others, as far as that can
    be told without binding them.

    @param name: the configuration file's, for faults.
    @param options: the tables whose addresses were given as options.
    @param directory: the one that the node runs in.
    @raise ConfigurationError: one cannot.
    """
    taken: list[tuple[Key, str, Socket]] = []
    for table in ("proxy", "management", "cluster"):
        for key, description in _listening(settings, table, name, given=table in options):
            socket = socket_of(description)
            fault = socket.fault(directory) if isinstance(socket, UnixSocket) else None
            if fault is not None:
                raise key.fault(f"{shown(description)}, {fault[0]}", fault[1])
            for other_key, other, other_socket in taken:
                if socket.overlaps(other_socket):
                    raise key.fault(
                        f"{shown(description)}, which {shown(other)} of {other_key.path} takes too",
                        "each address once (tcp:PORT takes every IPv4 address, tcp6:PORT "
                        "every IPv6 address)",
                    )
            taken.append((key, description, socket))


def _listening(
    settings: Settings, table: str, name: str, *, given: bool
) -> Iterator[tuple[Key, str]]:
    """
    The endpoint strings of a table, and where they stand.

    @param given: whether they were given as options.
    """
    for n, description in enumerate(getattr(settings, table).listen):
        key = Key("options", f"--{table}") if given else Key(name, f"{table}.listen").item(n)
        yield key, description


def require_listen(settings: Settings, *, join: str | None) -> None:
    """
    Check that a node that is to join a cluster can be reached by it.

    @param join: the option.
    @raise ConfigurationError: it cannot, or the option is not a URL.
    """
    if join is None:
        return
    key = Key("options", "--join")
    if not is_http_url(join):
        raise key.refuse(join, "a URL such as http://10.0.0.1:8687")
    if not settings.cluster.listen:
        raise key.fault(
            f"{shown(join)} without cluster.listen", "only together with cluster.listen"
        )
