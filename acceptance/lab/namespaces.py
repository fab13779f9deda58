"""
Three nodes in three network namespaces, and the means to cut them off.

All is in namespaces of its own, called C{alacrity-...}: the hub has the bridge, the
servers and the load, and is where the process that calls L{network} is moved to. The
machine's own network is not touched. It needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from acceptance.lab.clusters import applied_alike, leading
from acceptance.lab.loads import Load, Writer, traffic
from acceptance.lab.nodes import Node, TestServer
from acceptance.lab.processes import FileOutput, run
from acceptance.lab.reports import Report
from acceptance.lab.waiting import Broken, wait_until
from alacrity.cluster import secret

HUB: Final = "alacrity-hub"
HUB_ADDRESS: Final = "10.99.0.9"
VIRTUAL: Final = "10.99.0.100"
PROXY: Final = 8080
MANAGEMENT: Final = 8687
CLUSTER: Final = 8688

NODES: Final = (1, 2, 3)

_CLONE_NEWNET = 0x40000000
_SERVER_PORT = 9000


def ip(arguments: str) -> None:
    """
    Run C{ip}.
    """
    run(["ip", *arguments.split()], 10)


def inside(number: int, *command: str | Path) -> list[str]:
    """
    A command that runs in a node's namespace.
    """
    return ["nsenter", f"--net=/run/netns/{namespace(number)}", *map(str, command)]


def namespace(number: int) -> str:
    """
    The name of a node's namespace.
    """
    return f"alacrity-{number}"


def address(number: int) -> str:
    """
    A node's address.
    """
    return f"10.99.0.{number}"


@contextlib.contextmanager
def network(*more: int) -> Iterator[None]:
    """
    Make the namespaces, and move this process into the hub; remove them in the end.

    @param more: numbers of further ones, beside those of the nodes.
    @raise Broken: they cannot be made, as when another script has them.
    """
    numbers = [*NODES, *more]
    made: list[str] = []
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        for name in (HUB, *map(namespace, numbers)):
            # Fails where another script has made it, whose it stays.
            ip(f"netns add {name}")
            made.append(name)
            ip(f"-n {name} link set lo up")
        ip(f"-n {HUB} link add br0 type bridge")
        ip(f"-n {HUB} address add {HUB_ADDRESS}/24 dev br0")
        ip(f"-n {HUB} link set br0 up")
        for number in numbers:
            peer = namespace(number)
            ip(f"-n {HUB} link add n{number} type veth peer eth0 netns {peer}")
            ip(f"-n {HUB} link set n{number} master br0 up")
            ip(f"-n {peer} address add {address(number)}/24 dev eth0")
            ip(f"-n {peer} link set eth0 up")
        hub = os.open(f"/run/netns/{HUB}", os.O_RDONLY)
        _enter(hub)
        os.close(hub)
        yield
    finally:
        _enter(own)
        os.close(own)
        for name in made:
            with contextlib.suppress(Broken):
                ip(f"netns delete {name}")


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise Broken(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")


def make_node(directory: Path, number: int, *, alone: bool = False, extra: str = "") -> Node:
    """
    Make a node, which does not run.

    @param directory: with the file C{secret}; the node has one of its own within.
    @param alone: whether it is in no cluster.
    @param extra: lines for C{[cluster]}, and tables after it.
    """
    members = [f"{address(each)}:{CLUSTER}" for each in NODES]
    cluster = (
        f'[cluster]\nlisten = ["tcp:{CLUSTER}:interface={address(number)}"]\n'
        f'members = {json.dumps(members)}\nsecret_file = "{directory / "secret"}"\n{extra}\n'
    )
    place = directory / f"n{number}"
    place.mkdir(parents=True, exist_ok=True)
    return Node(
        place,
        configuration="[management]\ninsecure = true\n" + ("" if alone else cluster),
        host=address(number),
        interface="",
        ports=(PROXY, MANAGEMENT),
        within=inside(number),
        output=FileOutput(place / "log"),
    )


@contextlib.contextmanager
def running(nodes: list[Node]) -> Iterator[None]:
    """
    Start nodes, and end them.
    """
    try:
        for node in nodes:
            node.start()
        yield
    finally:
        for node in nodes:
            node.kill()


@contextlib.contextmanager
def three(directory: Path, extra: str = "") -> Iterator[list[Node]]:
    """
    Three nodes that have just begun a cluster, and a server behind them.

    @param extra: lines for C{[cluster]}, and tables after it.
    """
    secret.create(directory / "secret")
    nodes = [make_node(directory, number, extra=extra) for number in NODES]
    with running(nodes):
        wait_until(lambda: all(node.cluster()["has_quorum"] for node in nodes), "a leader")
        with served(nodes, only_leader="serve" in extra):
            yield nodes


@contextlib.contextmanager
def served(nodes: list[Node], *, only_leader: bool = False) -> Iterator[None]:
    """
    A server in the hub, up on all nodes.

    @param only_leader: whether the leader alone serves.
    """
    server = TestServer("--host", HUB_ADDRESS, "--port", str(_SERVER_PORT))
    try:
        new = {"ip": HUB_ADDRESS, "port": server.port, "check": {"type": "http", "path": "/"}}
        answer = nodes[0].call("POST", "/servers", new)
        if answer.status != 201:
            raise Broken(f"the server was not registered: {answer.status} {answer.body!r}")
        serving = any if only_leader else all
        wait_until(lambda: serving(node.get().status == 200 for node in nodes), "traffic")
        yield
    finally:
        server.kill()


def drop(number: int, other: int, *chains: str) -> None:
    """
    Have a node lose what comes from another (C{INPUT}), what goes there (C{OUTPUT}), or
    both.
    """
    for chain in chains:
        side = "-s" if chain == "INPUT" else "-d"
        run(inside(number, "iptables", "-I", chain, side, address(other), "-j", "DROP"), 10)


def cut_off(number: int, *chains: str) -> None:
    """
    Have a node lose what comes from the other nodes, or what goes to them. The hub
    reaches it still.
    """
    for other in NODES:
        if other != number:
            drop(number, other, *chains)


def heal(number: int) -> None:
    """
    Have a node lose nothing any more.
    """
    run(inside(number, "iptables", "-F"), 10)


def number_of(node: Node) -> int:
    """
    A node's number, as it is in its address.
    """
    return int(node.host.rpartition(".")[2])


def one_that(nodes: Sequence[Node], role: str) -> tuple[Node, list[Node]]:
    """
    Choose a node.

    @param role: C{leader} or C{follower}.
    @return: the first that is in this role, and the others.
    """
    first = the_leader(nodes)
    chosen = first if role == "leader" else next(node for node in nodes if node is not first)
    return chosen, [node for node in nodes if node is not chosen]


def the_leader(nodes: Sequence[Node]) -> Node:
    """
    Wait until one of these nodes leads, by its own account.
    """
    wait_until(lambda: bool(leading(nodes)), "a node that leads")
    return leading(nodes)[0]


def leads_among(nodes: Sequence[Node]) -> Callable[[], bool]:
    """
    A condition: one of these nodes leads, by its own account.
    """
    return lambda: bool(leading(nodes))


def registering(node: Node, *, interval: int = 5) -> Writer:
    """
    Register servers of the hub with a node, where none of them listens, begun.

    @param interval: seconds between two checks of each.
    """
    check = {"type": "tcp", "interval": interval}
    return Writer(node, ip=HUB_ADDRESS, check=check).start()


def loads_of(nodes: Sequence[Node]) -> dict[Node, Load]:
    """
    Requests through the proxy of each node, begun.
    """
    return {node: traffic(node.host, PROXY) for node in nodes}


def unregistered() -> dict[str, object]:
    """
    A document that registers a server of the hub where nobody listens.
    """
    return {"ip": HUB_ADDRESS, "port": 1, "check": {"type": "tcp"}}


def reckon(
    report: Report, nodes: Sequence[Node], writers: Sequence[Writer], loads: dict[Node, Load]
) -> None:
    """
    End what keeps nodes busy, print its outcomes, and note lost registrations, nodes that
    differ and requests that failed.
    """
    for writer in writers:
        writer.stop()
        report.say(f"registrations: {writer}")
    wait_until(lambda: applied_alike(nodes), "equal nodes")
    lost = sum(writer.lost(nodes) for writer in writers)
    report.say(f"lost of {sum(writer.acknowledged for writer in writers)}: {lost}")
    if lost:
        report.fail("acknowledged registrations are lost")
    if any(node.servers().keys() != nodes[0].servers().keys() for node in nodes):
        report.fail("the nodes' servers differ")
    for node, load in loads.items():
        report.traffic(f"on {node.name}", load)


def answers_again(node: Node) -> float:
    """
    Wait until a node hears a majority.

    @return: the seconds that it took.
    """
    return wait_until(lambda: bool(node.cluster()["has_quorum"]), f"the return of {node.name}")
