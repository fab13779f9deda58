"""
Real nodes that make up a cluster, on this machine, and clients that keep them busy.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from alacrity.cluster import secret
from tests.support.node import PATIENCE, Node, call, wait_until

_HOST: Final = "127.0.0.2"
"""
Where the nodes listen for each other. Connections of clients come from another address,
so none of them can take the port of a node that is down.
"""


class Cluster:
    """
    Nodes with one secret, which know each other's addresses before they start.

    @ivar addresses: of the nodes.
    @ivar nodes: those that were started last, by number; also those that have ended.
    """

    def __init__(
        self, directory: Path, configuration: str = "", more: int = 0, size: int = 3
    ) -> None:
        """
        @param configuration: of each node, beside C{[cluster]}.
        @param more: for how many nodes there is an address, beside the first ones.
        @param size: how many nodes the cluster begins with.
        """
        self._directory = directory
        self._configuration = configuration
        self._size = size
        self.addresses = _free_addresses(size + more)
        self.nodes: dict[int, Node] = {}
        secret.create(directory / "secret")

    def directory(self, number: int) -> Path:
        """Where a node runs."""
        return self._directory / f"node-{number}"

    def state(self, number: int) -> Path:
        """Where a node keeps its state."""
        return self.directory(number) / "alacrity-state"

    def table(self, number: int, *, members: bool = True, more: str = "") -> str:
        """
        A node's table C{[cluster]}.
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

    def start(self, *numbers: int, options: Sequence[str] = (), **more: Any) -> None:
        """
        Start nodes at the same time, or again, and wait until each serves.

        @param options: of the command.
        @param more: see L{table}.
        """
        for number in numbers:
            self.nodes[number] = Node(
                self.directory(number),
                *options,
                configuration=self._configuration + self.table(number, **more),
            )
        for number in numbers:
            self.nodes[number].started()

    def kill(self, *numbers: int) -> None:
        """
        End nodes at the same moment, with SIGKILL.
        """
        for number in numbers:
            self.nodes[number].send(signal.SIGKILL)
        for number in numbers:
            self.nodes[number].stop(signal.SIGKILL)

    def stop(self) -> None:
        """
        End what still runs.
        """
        self.kill(*self.nodes)

    def ask(self, number: int, path: str) -> Any:
        """
        What a node's management API says.
        """
        return call(self.nodes[number].management, "GET", path).json()

    def leader(self, *numbers: int) -> int:
        """
        Wait until nodes follow the same one of them, and it leads.

        @param numbers: of all that run.
        @return: the leader's number.
        """
        found: list[int] = []

        def agreed() -> bool:
            names = {self.ask(number, "/cluster")["leader"] for number in numbers}
            found[:] = [number for number in numbers if names == {self.addresses[number]}]
            return bool(found) and self._leads(*found)

        wait_until(agreed, f"one leader of {numbers}")
        return found[0]

    def _leads(self, number: int) -> bool:
        return call(self.nodes[number].management, "GET", "/health/leader").status == 200

    def equal(self, *numbers: int) -> list[dict[str, Any]]:
        """
        Wait until nodes have applied the same, and see that they hold the same.

        @return: the servers, but for the results of checks, which the leader alone has.
        """
        pools: list[list[dict[str, Any]]] = []

        def settled() -> bool:
            indices = set()
            pools.clear()
            for number in numbers:
                answer = call(self.nodes[number].management, "GET", "/servers?consistent=1")
                if answer.status != 200:
                    return False
                indices.add(answer.headers["X-Alacrity-Index"])
                pools.append([_agreed_on(each) for each in answer.json()])
            return len(indices) == 1

        wait_until(settled, f"the same index on {numbers}")
        for each in pools[1:]:
            assert each == pools[0], (each, pools[0])
        return pools[0]


def _agreed_on(server: dict[str, Any]) -> dict[str, Any]:
    return {key: server[key] for key in ("id", "ip", "port", "weight", "check", "state")}


class Repeating:
    """
    Does something again and again, in a thread of its own.

    @ivar count: how often it was done.
    """

    def __init__(self, action: Callable[[], object]) -> None:
        """
        @param action: an L{OSError} or L{HTTPException} it raises is ignored.
        """
        self.count = 0
        self._action = action
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._action()
            except (OSError, HTTPException):
                pass
            self.count += 1

    def stop(self) -> None:
        """
        Do it no more, once it is done this time.
        """
        self._over.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


class Requests(Repeating):
    """
    A client of some proxies, which has one connection with each.

    @ivar faults: all that was not answered with 200.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.faults: list[object] = []
        self._connections = [HTTPConnection("127.0.0.1", port, timeout=PATIENCE) for port in ports]
        super().__init__(self._ask_all)

    def _ask_all(self) -> None:
        for connection in self._connections:
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    self.faults.append((response.status, body))
            except (OSError, HTTPException) as error:
                self.faults.append(error)
                connection.close()

    def stop(self) -> None:
        super().stop()
        for connection in self._connections:
            connection.close()


class Writes(Repeating):
    """
    Registers one server after another, which nobody checks within a test.

    @ivar acknowledged: the ids of those that were acknowledged.
    """

    def __init__(self, port: int, network: str) -> None:
        """
        @param port: of a management API.
        @param network: of the servers, its first three numbers.
        """
        self.acknowledged: list[str] = []
        self._port = port
        self._network = network
        super().__init__(self._register)

    def _register(self) -> None:
        answer = call(
            self._port,
            "POST",
            "/servers",
            {"ip": f"{self._network}.1", "port": 1 + self.count, "check": QUIET},
        )
        if answer.status in {200, 201}:
            self.acknowledged.append(answer.json()["id"])


QUIET: Final = {"type": "tcp", "interval": 3600}
"""A check that is done hardly ever."""


def _free_addresses(count: int) -> list[str]:
    """
    Addresses that nobody listens on.
    """
    probes = [socket.create_server((_HOST, 0)) for _ in range(count)]
    addresses = [f"{_HOST}:{probe.getsockname()[1]}" for probe in probes]
    for probe in probes:
        probe.close()
    return addresses
