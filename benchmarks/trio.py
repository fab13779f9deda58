"""
The nodes of one cluster, three or more, on the loopback interface, and clients that keep them busy.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from processes import Broken

ADDRESS = "127.0.0.2"
"""
Where the nodes listen. Clients' connections come from another address, so none of them
can take the port of a node that is down.
"""

GIVE_UP = 30.0
"""Seconds."""

_CHECKOUT = Path(__file__).resolve().parent.parent

_TWISTD = "from twisted.scripts.twistd import run; run()"


class Node:
    """
    A node, running or not.

    @ivar name: its address for the others.
    """

    def __init__(self, directory: Path, ports: Sequence[int], program: str = _TWISTD) -> None:
        self._program = program
        self.proxy, self.management, cluster = ports
        self.name = f"{ADDRESS}:{cluster}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._client: HTTPConnection | None = None
        directory.mkdir()

    @property
    def state(self) -> Path:
        """
        The directory in which it keeps its state.
        """
        return self._directory / "alacrity-state"

    def configure(self, secret: Path, members: Sequence[Node], more: str = "") -> None:
        """
        Write its configuration file.

        @param members: of a new cluster; none: the node is to join one.
        @param more: tables beside those that a node needs.
        """
        port = self.name.rpartition(":")[2]
        (self._directory / "alacrity.toml").write_text(
            f'[proxy]\nlisten = ["tcp:{self.proxy}:interface={ADDRESS}"]\n'
            f'[management]\nlisten = ["tcp:{self.management}:interface={ADDRESS}"]\n'
            f'[cluster]\nlisten = ["tcp:{port}:interface={ADDRESS}"]\n'
            f'secret_file = "{secret}"\nmembers = {json.dumps([each.name for each in members])}\n'
            f"{more}"
        )

    def start(self, *options: str) -> None:
        """
        Start it, without waiting for anything.
        """
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", self._program),
                    *("-n", "--pidfile=", "--logfile=-", "alacrity", "--config=alacrity.toml"),
                    *options,
                ],
                cwd=self._directory,
                env={"PYTHONPATH": str(_CHECKOUT), "PYTHONUNBUFFERED": "1", "PATH": ""},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """
        Send it a signal.
        """
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> None:
        """
        Wait until it has ended.
        """
        assert self._process is not None
        self._process.wait(GIVE_UP)

    def end(self) -> None:
        """
        See that it does not run.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def cpu_ticks(self) -> int:
        """
        What it has used, in ticks of C{SC_CLK_TCK}.
        """
        assert self._process is not None
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def call(
        self, method: str, path: str, document: object = None, patience: float = GIVE_UP
    ) -> tuple[int, Any]:
        """
        Call its management API, on a connection of its own.

        @return: status and the document answered.
        @raise OSError: it does not answer.
        """
        with contextlib.closing(HTTPConnection(ADDRESS, self.management, timeout=patience)) as to:
            return call(to, method, path, document)

    def log_end(self) -> str:
        """
        The last lines of its log.
        """
        return "\n".join((self._directory / "log").read_text().splitlines()[-8:])


def call(
    connection: HTTPConnection, method: str, path: str, document: object = None
) -> tuple[int, Any]:
    """
    Make a request on a connection.

    @return: status and the document answered.
    @raise OSError: there is no answer.
    """
    body = None if document is None else json.dumps(document)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    except HTTPException as error:
        connection.close()
        raise ConnectionError(str(error)) from error
    except OSError:
        connection.close()
        raise
    return response.status, json.loads(content) if content else None


@contextlib.contextmanager
def trio(
    directory: Path,
    more: int = 0,
    size: int = 3,
    *,
    program: str = _TWISTD,
    tables: str = "",
    prepare: Callable[[list[Node]], None] = lambda nodes: None,
) -> Iterator[list[Node]]:
    """
    Nodes with a leader.

    @param more: how many nodes there are beside, which do not run yet.
    @param size: with how many the cluster begins.
    @param program: what a node's Python runs.
    @param tables: of the configuration, beside those that a node needs.
    @param prepare: called with the nodes before they start.
    """
    secret = directory / "secret"
    secret.write_text("a secret for nodes on the loopback interface\n")
    secret.chmod(0o600)
    with contextlib.ExitStack() as stack:
        probes = [
            stack.enter_context(socket.create_server((ADDRESS, 0)))
            for _ in range(3 * (size + more))
        ]
        ports = [probe.getsockname()[1] for probe in probes]
    nodes = [
        Node(directory / f"node-{at}", ports[3 * at : 3 * at + 3], program)
        for at in range(size + more)
    ]
    for at, node in enumerate(nodes):
        node.configure(secret, nodes[:size] if at < size else [], tables)
    prepare(nodes)
    try:
        for node in nodes[:size]:
            node.start()
        leader(nodes[:size])
        yield nodes
    finally:
        for node in nodes:
            node.end()


def until(met: Callable[[], bool], what: str, patience: float = GIVE_UP) -> float:
    """
    Wait until something holds.

    @return: how many seconds that took.
    @raise Broken: it takes too long.
    """
    began = time.perf_counter()
    while True:
        with contextlib.suppress(OSError):
            if met():
                return time.perf_counter() - began
        if time.perf_counter() - began > patience:
            raise Broken(f"not within {patience:.0f} s: {what}")
        time.sleep(0.002)


def leader(nodes: Sequence[Node]) -> Node:
    """
    Wait until nodes follow one leader, have applied the same, and it leads.
    """
    found: list[Node] = []

    def agreed() -> bool:
        said = [node.call("GET", "/cluster", patience=2.0)[1] for node in nodes]
        names = {each["leader"] for each in said}
        found[:] = [node for node in nodes if names == {node.name}]
        return (
            len(found) == 1
            and len({each["applied_index"] for each in said}) == 1
            and found[0].call("GET", "/health/leader")[0] == 200
        )

    until(agreed, "one leader of all nodes")
    return found[0]


class Load:
    """
    Clients of the nodes' proxies, one thread each, which leave out the nodes that are
    about to be killed.

    @ivar answered: how many requests were, with 200.
    @ivar faults: the others.
    @ivar slowest: seconds.
    """

    def __init__(self, nodes: Sequence[Node], pause: float = 0.005) -> None:
        self.answered = 0
        self.faults: list[str] = []
        self.slowest = 0.0
        self._pause = pause
        self._over = False
        self._left_out: Node | None = None
        self._locks = {node: threading.Lock() for node in nodes}
        self._threads = [threading.Thread(target=self._run, args=[node]) for node in nodes]
        for thread in self._threads:
            thread.start()

    def leave_out(self, node: Node | None) -> None:
        """
        Ask one node nothing, from now on; L{None}: ask all.
        """
        self._left_out = node
        if node is not None:
            with self._locks[node]:
                pass

    def _run(self, node: Node) -> None:
        connection = HTTPConnection(ADDRESS, node.proxy, timeout=GIVE_UP)
        while not self._over:
            with self._locks[node]:
                if self._left_out is node:
                    connection.close()
                else:
                    self._ask(connection)
            time.sleep(self._pause)
        connection.close()

    def _ask(self, connection: HTTPConnection) -> None:
        began = time.perf_counter()
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            self.faults.append(repr(error))
        else:
            if response.status == 200:
                self.answered += 1
            else:
                self.faults.append(str(response.status))
        self.slowest = max(self.slowest, time.perf_counter() - began)

    def stop(self) -> None:
        """
        Ask no more.
        """
        self._over = True
        for thread in self._threads:
            thread.join()


class Writer:
    """
    Registers and removes servers of its own by one node, in a thread.

    @ivar there: those whose registration was acknowledged, and nothing since.
    @ivar gone: those whose removal was.
    @ivar writes: how many were acknowledged.
    """

    KEPT = 50

    def __init__(self, number: int) -> None:
        self.there: dict[str, None] = {}
        self.gone: set[str] = set()
        self.writes = 0
        self._number = number
        self._next = 0
        self._over = False
        self._thread: threading.Thread | None = None

    def start(self, node: Node) -> None:
        """
        Write to a node until it is gone, or L{stop}.
        """
        self._over = False
        self._thread = threading.Thread(target=self._run, args=[node])
        self._thread.start()

    def stop(self) -> None:
        """
        Write no more.
        """
        self._over = True
        assert self._thread is not None
        self._thread.join()

    def _run(self, node: Node) -> None:
        connection = HTTPConnection(ADDRESS, node.management, timeout=GIVE_UP)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            while not self._over:
                self._write(connection)

    def _write(self, connection: HTTPConnection) -> None:
        if len(self.there) > self.KEPT:
            id = next(iter(self.there))
            # Whether an attempt counts that is not acknowledged, nobody knows.
            del self.there[id]
            status, _ = call(connection, "DELETE", f"/servers/{id}")
            if status == 204:
                self.gone.add(id)
        else:
            self._next += 1
            # Nobody listens there.
            ip = f"127.{100 + self._number}.{self._next // 250 % 250}.{1 + self._next % 250}"
            status, _ = call(connection, "POST", "/servers", server(ip, 1 + self._next // 62500))
            if status in {200, 201}:
                self.there[f"{ip}:{1 + self._next // 62500}"] = None
        self.writes += status in {200, 201, 204}


def server(ip: str, port: int) -> object:
    """
    The registration of a server that is checked hardly ever.
    """
    return {"ip": ip, "port": port, "check": {"type": "tcp", "interval": 3600}}
