"""
Three nodes in three network namespaces, with what asks them and cuts them off.

All is in namespaces of its own, called C{alacrity-...}: the hub has the bridge, the
servers and the load, and is where the process that calls L{network} is moved to. The
machine's own network is not touched. It needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from processes import Broken, run

HUB = "alacrity-hub"
HUB_ADDRESS = "10.99.0.9"
VIRTUAL = "10.99.0.100"
PROXY = 8080
MANAGEMENT = 8687
CLUSTER = 8688

NODES = (1, 2, 3)
PAUSE = 0.02
"""Seconds between two requests of a load."""

_CLONE_NEWNET = 0x40000000


def ip(arguments: str) -> None:
    """
    Run C{ip}.
    """
    run(["ip", *arguments.split()], 10)


def inside(number: int, *command: str | Path) -> list[str]:
    """
    What runs a command in a node's namespace.
    """
    return ["nsenter", f"--net=/run/netns/{namespace(number)}", *map(str, command)]


def namespace(number: int) -> str:
    return f"alacrity-{number}"


def address(number: int) -> str:
    return f"10.99.0.{number}"


@contextlib.contextmanager
def network(*more: int) -> Iterator[None]:
    """
    Make the namespaces, and move this process into the hub; remove them in the end.

    @param more: numbers of further ones, beside those of the nodes.
    """
    numbers = [*NODES, *more]
    names = [HUB, *map(namespace, numbers)]
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        for name in names:
            ip(f"netns add {name}")
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
        for name in names:
            with contextlib.suppress(Broken):
                ip(f"netns delete {name}")


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise Broken(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")


class Node:
    """
    One node.

    @ivar pid: of its process, while it runs.
    """

    def __init__(
        self, directory: Path, number: int, *, alone: bool = False, extra: str = ""
    ) -> None:
        """
        @param alone: it is no cluster's.
        @param extra: lines for C{[cluster]}.
        """
        self.number = number
        self.directory = directory / f"n{number}"
        self.state = self.directory / "state"
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.state.mkdir(parents=True, exist_ok=True)
        members = [f"{address(each)}:{CLUSTER}" for each in NODES]
        cluster = (
            f'[cluster]\nlisten = ["tcp:{CLUSTER}:interface={address(number)}"]\n'
            f'members = {json.dumps(members)}\nsecret_file = "{directory / "secret"}"\n{extra}\n'
        )
        (self.directory / "alacrity.toml").write_text(
            f'[proxy]\nlisten = ["tcp:{PROXY}"]\n[management]\ninsecure = true\n'
            f'listen = ["tcp:{MANAGEMENT}"]\n' + ("" if alone else cluster)
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        """
        Start it.

        @param options: after the usual ones.
        @param environment: beside the usual one.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                inside(
                    self.number,
                    *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                    *("-n", "--pidfile="),
                    *("alacrity", "--config", "alacrity.toml", "--state-dir", self.state),
                    *options,
                ),
                cwd=self.directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """
        End it with -9, if it runs.
        """
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> float:
        """
        Ask it to stop, and wait until it has.

        @return: the seconds that it took.
        """
        assert self._process is not None
        begun = time.monotonic()
        self._process.terminate()
        self._process.wait(60)
        self._process = None
        return time.monotonic() - begun

    def wait(self, timeout: float) -> int:
        """
        Wait until it ends by itself.

        @return: its exit status.
        """
        assert self._process is not None
        return self._process.wait(timeout)

    def ask(
        self, path: str, body: object = None, method: str | None = None, timeout: float = 8
    ) -> tuple[int, Any, dict[str, str]]:
        """
        Call the management API.

        @return: status, document, and header fields.
        @raise OSError: nobody answers.
        """
        return call(address(self.number), MANAGEMENT, path, body, method, timeout)

    def cluster(self) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("/cluster", timeout=2)[1]
        return document

    def servers(self) -> dict[str, Any]:
        """
        The servers that it knows, by id.
        """
        return {each["id"]: each for each in self.ask("/servers")[1]}

    def lines(self, since: int = 0) -> list[str]:
        """
        Its log, without the times.
        """
        lines = self.log.read_text(errors="replace").splitlines()[since:]
        return [line.partition(" ")[2] for line in lines]

    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def rss_kib(self) -> int:
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in rollup if line.startswith("Rss:"))


def call(
    host: str,
    port: int,
    path: str,
    body: object = None,
    method: str | None = None,
    timeout: float = 8,
) -> tuple[int, Any, dict[str, str]]:
    """
    One request on a connection of its own.

    @return: status, document, and header fields with lower case names.
    @raise OSError: there was no answer.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        data = None if body is None else json.dumps(body)
        fields = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method or ("GET" if body is None else "POST"), path, data, fields)
        response = connection.getresponse()
        content = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"no proper answer: {error!r}") from error
    finally:
        connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    is_json = "json" in found.get("content-type", "")
    return response.status, json.loads(content) if is_json and content else content, found


@contextlib.contextmanager
def three(directory: Path, extra: str = "") -> Iterator[list[Node]]:
    """
    Three nodes that have just begun a cluster, and a server behind them.
    """
    secret = directory / "secret"
    run([sys.executable, "-m", "alacrity.cluster.secret", secret], 10)
    nodes = [Node(directory, number, extra=extra) for number in NODES]
    with running(nodes):
        until(lambda: all(node.cluster()["has_quorum"] for node in nodes), "a leader", 20)
        with served(nodes):
            yield nodes


@contextlib.contextmanager
def running(nodes: list[Node]) -> Iterator[None]:
    try:
        for node in nodes:
            node.start()
        yield
    finally:
        for node in nodes:
            node.kill()


@contextlib.contextmanager
def served(nodes: list[Node]) -> Iterator[None]:
    """
    A server in the hub, up on all nodes.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "alacrity.testserver", "--host", HUB_ADDRESS, "--port", "9000"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: call(HUB_ADDRESS, 9000, "/")[0] == 200, "a test server", 10)
        new = {"ip": HUB_ADDRESS, "port": 9000, "check": {"type": "http", "path": "/"}}
        status, document, _ = nodes[0].ask("/servers", new)
        if status != 201:
            raise Broken(f"the server was not registered: {status} {document}")
        for node in nodes:
            if "serve" not in (node.directory / "alacrity.toml").read_text():
                until(lambda node=node: call(address(node.number), PROXY, "/")[0] == 200, "it", 10)  # type: ignore[misc]
        yield
    finally:
        process.kill()
        process.wait()


def until(met: Callable[[], bool], what: str, timeout: float) -> float:
    """
    Wait until something holds; an C{OSError} or C{LookupError} means not
    yet.

    @return: the seconds that it took.
    @raise Broken: it did not.
    """
    begun = time.monotonic()
    while True:
        with contextlib.suppress(OSError, LookupError):
            if met():
                return time.monotonic() - begun
        if time.monotonic() - begun > timeout:
            raise Broken(f"there was no sign of {what} after {timeout:g} s")
        time.sleep(0.02)


def leader(nodes: list[Node]) -> Node:
    """
    The one of these nodes that leads, by its own account.

    @raise LookupError: none does.
    """
    for node in nodes:
        with contextlib.suppress(OSError):
            if node.ask("/health/leader", timeout=2)[0] == 200:
                return node
    raise LookupError("nobody leads")


class Load:
    """
    Asks again and again, in a thread, until it is stopped.

    @ivar outcomes: how often what came of it; statuses and error types.
    @ivar late: the longest that an answer took, in seconds.
    """

    def __init__(self, once: Callable[[], str]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.late = 0.0
        self._once = once
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            begun = time.monotonic()
            try:
                outcome = self._once()
            except OSError as error:
                outcome = type(error).__name__
            self.outcomes[outcome] += 1
            self.late = max(self.late, time.monotonic() - begun)

    def stop(self) -> str:
        """
        @return: what came of it, in words.
        """
        self._over.set()
        self._thread.join()
        parts = ", ".join(f"{count} x {what}" for what, count in sorted(self.outcomes.items()))
        return f"{parts or 'nothing'}; the longest took {self.late:.2f} s"


def traffic(host: str) -> Load:
    """
    Requests through the proxy on an address.
    """
    return Load(lambda: str(call(host, PROXY, "/", timeout=3)[0]))


class Registrations:
    """
    Registers one server after another with a node.

    @ivar acknowledged: the ids of those that were answered 201.
    @ivar load: what makes the calls.
    """

    last = 10000

    def __init__(self, node: Node, interval: int = 5) -> None:
        """
        @param interval: seconds between two checks of each; they fail.
        """
        self.acknowledged: list[str] = []
        self._node = node
        self._check = {"type": "tcp", "interval": interval}
        self.load = Load(self._once)

    def _once(self) -> str:
        Registrations.last += 1
        new = {"ip": HUB_ADDRESS, "port": Registrations.last, "check": self._check}
        status, document, _ = self._node.ask("/servers", new)
        if status == 201:
            self.acknowledged.append(document["id"])
        return str(status)

    def missing(self, nodes: list[Node]) -> int:
        """
        How many of those acknowledged are not on some node.
        """
        return sum(len(set(self.acknowledged) - set(node.servers())) for node in nodes)


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
    run(inside(number, "iptables", "-F"), 10)


def exit_with(main: Callable[[], int]) -> NoReturn:
    """
    End the process with the status that C{main} returns, or with 1 and a line that says
    what is broken.
    """
    try:
        sys.exit(main())
    except Broken as broken:
        print(broken, file=sys.stderr)
        sys.exit(1)
