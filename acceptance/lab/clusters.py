"""
Clusters on the loopback interface.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from acceptance.lab.nodes import TWISTD, Node
from acceptance.lab.processes import FileOutput
from acceptance.lab.waiting import PATIENCE, wait_until
from alacrity.cluster import secret

ADDRESS: Final = "127.0.0.2"
"""
The address that the nodes listen on. Connections of clients come from another address, so none of them
can take the port of a node that is down.
"""

QUIET: Final = {"type": "tcp", "interval": 3600}
"""A check that comes once an hour."""


class Cluster:
    """
    Nodes with one secret, which know each other's addresses before they start.

    @ivar addresses: of the nodes, for each other, by number.
    @ivar nodes: those that were started, by number; also those that have ended.
    """

    def __init__(
        self,
        directory: Path,
        configuration: str = "",
        more: int = 0,
        size: int = 3,
        *,
        program: Sequence[str] = TWISTD,
    ) -> None:
        """
        @param configuration: of each node, beside C{[cluster]}.
        @param more: for how many nodes there is an address, beside the first ones.
        @param size: how many nodes the cluster begins with.
        @param program: see L{Node}.
        """
        self._directory = directory
        self._configuration = configuration
        self._size = size
        self._program = program
        ports = free_ports(3 * (size + more))
        self.addresses = [f"{ADDRESS}:{port}" for port in ports[::3]]
        self._ports = list(zip(ports[1::3], ports[2::3], strict=True))
        self.nodes: dict[int, Node] = {}
        secret.create(directory / "secret")

    def directory(self, number: int) -> Path:
        """
        A node's working directory.
        """
        return self._directory / f"node-{number}"

    def state(self, number: int) -> Path:
        """
        A node's state directory.
        """
        return self.directory(number) / "alacrity-state"

    def table(self, number: int, *, members: bool = True, more: str = "") -> str:
        """
        A node's table C{[cluster]}.

        @param members: whether it begins a cluster with the first ones.
        @param more: more lines.
        """
        host, _, port = self.addresses[number].rpartition(":")
        lines = [
            "[cluster]",
            f'listen = ["tcp:{port}:interface={host}"]',
            'secret_file = "../secret"',
            f"members = {json.dumps(self.addresses[: self._size])}" if members else "",
            more,
        ]
        return "\n".join(lines) + "\n"

    def node(self, number: int, configuration: str | None = None) -> Node:
        """
        Make a node, which does not run.

        @param configuration: L{None}: that of a member from the beginning.
        """
        if configuration is None:
            configuration = self._configuration + self.table(number)
        self.directory(number).mkdir(exist_ok=True)
        node = self.nodes[number] = Node(
            self.directory(number),
            configuration=configuration,
            host=ADDRESS,
            ports=self._ports[number],
            program=self._program,
            output=FileOutput(self.directory(number) / "output"),
        )
        return node

    def start(
        self, *numbers: int, options: Sequence[str] = (), members: bool = True, more: str = ""
    ) -> None:
        """
        Start nodes at the same time, or again, and wait until each serves.

        @param options: of the command.
        @param members: see L{table}.
        @param more: see L{table}.
        """
        for number in numbers:
            table = self.table(number, members=members, more=more)
            self.node(number, self._configuration + table).start(*options)
        for number in numbers:
            self.nodes[number].started()

    def kill(self, *numbers: int) -> None:
        """
        End nodes at the same moment, with SIGKILL.
        """
        for number in numbers:
            self.nodes[number].send(9)
        for number in numbers:
            self.nodes[number].kill()

    def stop(self) -> None:
        """
        End what still runs.
        """
        self.kill(*self.nodes)

    def leader(self, *numbers: int) -> int:
        """
        Wait until nodes follow the same one of them, and it leads.

        @param numbers: of all that run.
        @return: the leader's number.
        """
        return next(
            number
            for number in numbers
            if self.nodes[number] is leader([self.nodes[each] for each in numbers])
        )

    def equal(self, *numbers: int) -> list[dict[str, Any]]:
        """
        Wait until nodes have applied the same, and see that they hold the same.

        @return: the servers, but for the results of checks, which the leader alone has.
        """
        return equal([self.nodes[number] for number in numbers])


@contextlib.contextmanager
def running_cluster(
    directory: Path,
    configuration: str = "",
    *,
    size: int = 3,
    more: int = 0,
    program: Sequence[str] = TWISTD,
    prepare: Callable[[Cluster], None] = lambda cluster: None,
) -> Iterator[list[Node]]:
    """
    Nodes with a leader, which are ended in the end.

    @param configuration: of each node, beside C{[cluster]}.
    @param size: how many nodes the cluster begins with.
    @param more: how many nodes are to join; they come last, and do not run yet.
    @param program: see L{Node}.
    @param prepare: called before the nodes start.
    """
    cluster = Cluster(directory, configuration, more, size, program=program)
    joining = [configuration + cluster.table(size + n, members=False) for n in range(more)]
    nodes = [cluster.node(n, each) for n, each in enumerate([*[None] * size, *joining])]
    prepare(cluster)
    try:
        for node in nodes[:size]:
            node.start()
        for node in nodes[:size]:
            node.started()
        leader(nodes[:size])
        yield nodes
    finally:
        cluster.stop()


def leading(nodes: Sequence[Node]) -> list[Node]:
    """
    The nodes that say that they lead; one that does not answer is not among them.
    """
    found = []
    for node in nodes:
        with contextlib.suppress(OSError):
            if node.says_it_leads():
                found.append(node)
    return found


def leader(nodes: Sequence[Node]) -> Node:
    """
    Wait until nodes follow the same one of them, and it leads.
    """
    found: list[Node] = []

    def agreed() -> bool:
        names = {node.cluster()["leader"] for node in nodes}
        found[:] = [node for node in nodes if names == {node.cluster()["name"]}]
        return len(found) == 1 and found[0].says_it_leads()

    wait_until(agreed, f"one leader of {[node.name for node in nodes]}")
    return found[0]


def lead_by(nodes: Sequence[Node], wanted: Node) -> None:
    """
    Wait until a node leads, and ask the leader to hand over as long as another does.
    """

    def leads() -> bool:
        if leader(nodes) is wanted:
            return True
        wanted.call("POST", "/cluster/leader", {"name": wanted.cluster()["name"]})
        return False

    wait_until(leads, f"{wanted.name} leads", 2 * PATIENCE)


def leaderless(nodes: Sequence[Node]) -> None:
    """
    Wait until none of these nodes leads or follows, where they are too few to elect one.

    One that hears nobody for a while, on a busy machine, knows no leader either, and may find the former
    one again. Once all know none, none can lead, and what one of them believes is looked at a second time.
    """
    wait_until(
        lambda: all(node.cluster()["leader"] is None for _ in range(2) for node in nodes),
        f"no leader of {[node.name for node in nodes]}",
    )


def applied_alike(nodes: Sequence[Node]) -> bool:
    """
    True if nodes have applied the same entries.
    """
    return len({node.cluster()["applied_index"] for node in nodes}) == 1


def equal(nodes: Sequence[Node], patience: float = PATIENCE) -> list[dict[str, Any]]:
    """
    Wait until nodes have applied the same, and see that they hold the same.

    @return: the servers, but for the results of checks, which the leader alone has.
    """
    pools: list[list[dict[str, Any]]] = []

    def settled() -> bool:
        indices = set()
        pools.clear()
        for node in nodes:
            answer = node.call("GET", "/servers?consistent=1")
            if answer.status != 200:
                return False
            indices.add(answer.headers["X-Alacrity-Index"])
            pools.append([_agreed_on(each) for each in answer.json()])
        return len(indices) == 1

    wait_until(settled, f"the same index on {[node.name for node in nodes]}", patience)
    for each in pools[1:]:
        assert each == pools[0], (each, pools[0])
    return pools[0]


def written(servers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    The part of servers that only callers change. A leader's checks may change the state at any moment.
    """
    return [{key: each[key] for key in each if key != "state"} for each in servers]


def _agreed_on(server: dict[str, Any]) -> dict[str, Any]:
    return {key: server[key] for key in ("id", "ip", "port", "weight", "check", "state")}


def free_ports(count: int) -> list[int]:
    """
    Ports that nobody listens on.
    """
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((ADDRESS, 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
