"""
A cluster of three nodes, or more, on the loopback interface: C{python benchmarks/cluster.py}.

Measures how soon writes are answered and registered servers get traffic; what the
death, the absence and the return of nodes cost; and what a cluster costs that does
nothing, or has many servers. Prints each figure with its bar. The exit status is 1
if one is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from processes import Broken, allow_descriptors, end_on_sigterm, forked
from registration import serve
from trio import ADDRESS, GIVE_UP, Load, Node, Writer, call, leader, server, trio, until

CALLERS = 16
"""How many register the many servers at once."""

_UNKNOWN = "/servers/192.0.2.1:1"


class Counts(NamedTuple):
    """
    How often each is done, and by how many nodes; C{idle} in seconds.
    """

    nodes: int
    writes: int
    rotations: int
    failovers: int
    rounds: int
    idle: float
    servers: int


class Report:
    """
    Prints figures, and remembers whether a bar was missed.
    """

    missed = False

    def say(self, what: str) -> None:
        """A figure without a bar."""
        print(f"    {what}", flush=True)

    def bar(self, what: str, value: float, most: float, unit: str) -> None:
        """A figure, and what it may be at most."""
        met = value <= most
        self.missed = self.missed or not met
        print(
            f"  {what:58} {value:9.2f} {unit:3} bar {most:g}: {'met' if met else 'MISSED'}",
            flush=True,
        )


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _times(count: int, action: Callable[[int], object]) -> list[float]:
    """
    How long something takes, each time, in ms.
    """
    times = []
    for number in range(count):
        began = time.perf_counter()
        action(number)
        times.append(1e3 * (time.perf_counter() - began))
    return times


def _expect(statuses: set[int], answer: tuple[int, Any]) -> Any:
    if answer[0] not in statuses:
        raise Broken(f"answered {answer[0]}: {answer[1]!r}")
    return answer[1]


def writes(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    C{POST /servers}, and a commit alone.
    """
    with trio(directory, size=counts.nodes) as nodes:
        disk = directory / "disk"
        with disk.open("wb", buffering=0) as file:

            def sync(_: int) -> None:
                file.write(bytes(200))
                os.fdatasync(file.fileno())

            report.say(f"the disk: 200 bytes and fdatasync, p50 {median(_times(200, sync)):.2f} ms")
        first = leader(nodes)
        follower = next(node for node in nodes if node is not first)
        _write(first, "127.1", port, "the leader", counts.writes, report)
        _write(follower, "127.2", port, "a follower", counts.writes, report)


def _write(node: Node, network: str, port: int, who: str, count: int, report: Report) -> None:
    to = HTTPConnection(ADDRESS, node.management, timeout=GIVE_UP)

    def register(number: int) -> None:
        ip = f"{network}.{number // 250}.{1 + number % 250}"
        _expect({201}, call(to, "POST", "/servers", server(ip, port)))

    with contextlib.closing(to):
        register(count)
        times = _times(count, register)
        report.bar(f"POST /servers to {who}: p50", median(times), 10, "ms")
        report.bar(f"POST /servers to {who}: p99", _percentile(times, 99), 50, "ms")
        # The last ones are checked meanwhile.
        time.sleep(2)
        read = median(_times(count, lambda _: _expect({404}, call(to, "GET", _UNKNOWN))))
        commit = median(_times(count, lambda _: _expect({404}, call(to, "DELETE", _UNKNOWN))))
    report.say(
        f"at {who}, p50 of GET of an unknown server {read:.2f} ms, of DELETE of one, which "
        f"is committed, {commit:.2f} ms"
    )
    report.bar(f"commit alone, by {who}: DELETE less GET, p50", commit - read, 3, "ms")


def rotation(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    From a registration to traffic by all nodes.
    """
    with trio(directory, size=counts.nodes) as nodes:
        first = leader(nodes)
        for who in ("the leader", "a follower"):
            node = next(node for node in nodes if (node is first) == (who == "the leader"))
            times = [
                _rotate(nodes, node, f"127.3.0.{1 + number % 250}", port)
                for number in range(counts.rotations)
            ]
            what = f"registered with {who} -> in rotation on all: p50"
            report.bar(what, median(times), 20, "ms")
            report.say(f"worst of {len(times)}: {max(times):.2f} ms")


def _rotate(nodes: Sequence[Node], at: Node, ip: str, port: int) -> float:
    clients = {node: HTTPConnection(ADDRESS, node.proxy, timeout=GIVE_UP) for node in nodes}
    to = HTTPConnection(ADDRESS, at.management, timeout=GIVE_UP)
    for client in (*clients.values(), to):
        client.connect()

    def status(node: Node) -> int:
        clients[node].request("GET", "/")
        response = clients[node].getresponse()
        response.read()
        return response.status

    waiting = list(nodes)
    pool = ThreadPoolExecutor(1)
    began = time.perf_counter()
    answer = pool.submit(call, to, "POST", "/servers", server(ip, port))
    while waiting:
        waiting = [node for node in waiting if status(node) != 200]
        if time.perf_counter() - began > GIVE_UP:
            raise Broken("a server got no traffic")
        select.select([], [], [], 0.0005)
    took = 1e3 * (time.perf_counter() - began)
    _expect({201}, answer.result())
    pool.shutdown()
    _expect({204}, call(to, "DELETE", f"/servers/{ip}:{port}"))
    until(lambda: all(status(node) == 503 for node in nodes), "rid of the server")
    for client in (*clients.values(), to):
        client.close()
    return took


def _served(nodes: Sequence[Node], port: int) -> None:
    """
    Have two servers get traffic by all nodes.
    """
    for ip in ("127.4.0.1", "127.4.0.2"):
        _expect({201}, nodes[0].call("POST", "/servers", server(ip, port)))
    for node in nodes:
        until(
            lambda node=node: (
                [each["state"] for each in node.call("GET", "/servers")[1]]  # type: ignore[misc]
                == ["up", "up"]
            ),
            "traffic",
        )


def failover(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    The leader is killed, again and again.
    """
    times = []
    with trio(directory, size=counts.nodes) as nodes:
        _served(nodes, port)
        load = Load(nodes)
        try:
            for number in range(counts.failovers):
                dying = leader(nodes)
                survivors = [node for node in nodes if node is not dying]
                load.leave_out(dying)
                dying.send(signal.SIGKILL)
                began = time.perf_counter()
                _accepted(survivors[number % len(survivors)], f"127.9.0.{1 + number % 250}")
                times.append(time.perf_counter() - began)
                dying.wait()
                dying.start()
                leader(nodes)
                load.leave_out(None)
        finally:
            load.stop()
    report.bar("leader killed -> writes accepted again: median", median(times), 1.0, "s")
    report.bar(f"likewise, worst of {len(times)}", max(times), 2.5, "s")
    report.bar("proxied requests failed on survivors", len(load.faults), 0, "")
    report.say(f"of {load.answered} answered; the slowest took {1e3 * load.slowest:.1f} ms")
    for fault in load.faults[:5]:
        report.say(fault)


def _accepted(node: Node, ip: str) -> None:
    """
    Wait until a node accepts a write.
    """
    until(lambda: node.call("POST", "/servers", server(ip, 1))[0] in {200, 201}, "a write accepted")


def pause(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    The leader stops for 5 s, and goes on.
    """
    with trio(directory, size=counts.nodes) as nodes:
        _served(nodes, port)
        load = Load(nodes)
        writer = Writer(9)
        try:
            paused = leader(nodes)
            survivors = [node for node in nodes if node is not paused]
            load.leave_out(paused)
            paused.send(signal.SIGSTOP)
            began = time.perf_counter()
            _accepted(survivors[0], "127.9.0.1")
            took = time.perf_counter() - began
            writer.start(survivors[0])
            time.sleep(max(0.0, 5 - (time.perf_counter() - began)))
            paused.send(signal.SIGCONT)
            back = time.perf_counter()
            _accepted(paused, "127.9.0.2")
            followed = time.perf_counter() - back
            load.leave_out(None)
            time.sleep(1)
            writer.stop()
            leader(nodes)
        finally:
            load.stop()
        lost, equal = _compare(nodes, [writer])
    report.bar("leader stopped -> writes accepted again", took, 2.5, "s")
    report.say(f"gone on after 5 s: it takes writes after {followed:.2f} s")
    report.bar("requests failed on survivors, and on it once back", len(load.faults), 0, "")
    report.bar(f"lost, of {writer.writes} acknowledged writes", lost, 0, "")
    report.bar("nodes whose state differs", len(nodes) - equal, 0, "")


def crashes(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    All nodes are killed while they take writes.
    """
    rng = random.Random(1)
    lost = different = 0
    restarts = []
    writers = [Writer(number) for number in range(1, 1 + counts.nodes)]
    with trio(directory, size=counts.nodes) as nodes:
        for number in range(counts.rounds):
            for writer, node in zip(writers, nodes, strict=True):
                writer.start(node)
            time.sleep(rng.uniform(0.05, 0.6))
            for node in rng.sample(nodes, len(nodes)):
                node.send(signal.SIGKILL)
            for writer in writers:
                writer.stop()
            for node in nodes:
                node.wait()
            began = time.perf_counter()
            for node in nodes:
                node.start()
            leader(nodes)
            restarts.append(time.perf_counter() - began)
            missing, equal = _compare(nodes, writers)
            lost += missing
            different += equal != len(nodes)
            if missing or equal != len(nodes):
                report.say(
                    f"round {number + 1}: {missing} lost, {equal} of {len(nodes)} states equal"
                )
            if (number + 1) % 20 == 0:
                print(f"{number + 1} rounds", file=sys.stderr, flush=True)
    acknowledged = sum(writer.writes for writer in writers)
    report.bar(f"{counts.rounds} x all killed: lost of {acknowledged} acknowledged", lost, 0, "")
    report.bar("rounds after which states differ", different, 0, "")
    report.say(
        f"from the start of all to a leader that all follow: median {median(restarts):.2f} s, "
        f"worst {max(restarts):.2f} s"
    )


def _compare(nodes: Sequence[Node], writers: Sequence[Writer]) -> tuple[int, int]:
    """
    How many acknowledged writes have left no trace, and how many nodes are equal to the
    first.
    """
    pools = [_expect({200}, node.call("GET", "/servers?consistent=1")) for node in nodes]
    for pool in pools:
        for each in pool:
            del each["last_check"]
    # What was under way may be applied while they are read.
    if any(pool != pools[0] for pool in pools):
        leader(nodes)
        pools = [_expect({200}, node.call("GET", "/servers?consistent=1")) for node in nodes]
        for pool in pools:
            for each in pool:
                del each["last_check"]
    known = {each["id"] for each in pools[0] if each["state"] != "draining"}
    lost = sum(len(writer.there.keys() - known) + len(writer.gone & known) for writer in writers)
    return lost, sum(pool == pools[0] for pool in pools)


def idle(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    What a cluster costs that does nothing.
    """
    with trio(directory, size=counts.nodes) as nodes:
        first = leader(nodes)
        time.sleep(3)
        before = [node.cpu_ticks() for node in nodes]
        time.sleep(counts.idle)
        ticks = os.sysconf("SC_CLK_TCK")
        for node, ticks_before in zip(nodes, before, strict=True):
            used = (node.cpu_ticks() - ticks_before) / ticks / counts.idle
            who = "the leader" if node is first else "a follower"
            report.bar(f"CPU of {who} that is idle, of a core", 100 * used, 2, "%")


class Probe:
    """
    Asks proxies for something every few ms, in a process of its own.
    """

    EVERY = 0.004

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._slowest = multiprocessing.Array("d", len(nodes))
        self._nodes = nodes

    def run(self) -> None:
        """For the process."""
        clients = [HTTPConnection(ADDRESS, node.proxy, timeout=GIVE_UP) for node in self._nodes]
        while True:
            for at, client in enumerate(clients):
                began = time.perf_counter()
                try:
                    client.request("GET", "/")
                    client.getresponse().read()
                except Exception:
                    # The node is being restarted.
                    client.close()
                else:
                    took = time.perf_counter() - began
                    self._slowest[at] = max(self._slowest[at], took)
            time.sleep(self.EVERY)

    def slowest(self) -> dict[Node, float]:
        """
        The slowest answer of each node since the last call, in ms.
        """
        time.sleep(0.1)
        values = {node: 1e3 * self._slowest[at] for at, node in enumerate(self._nodes)}
        self._slowest[:] = [0.0] * len(self._nodes)
        return values


def many(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Many servers: snapshot, restart, join, and what they do to the requests meanwhile.
    """
    with trio(directory, more=1, size=counts.nodes) as (*nodes, newcomer):
        first = leader(nodes)
        began = time.perf_counter()
        _each(counts.servers, lambda to, number: _register(to, number, port), first)
        report.say(
            f"{counts.servers} servers registered by {CALLERS} clients at "
            f"{counts.servers / (time.perf_counter() - began):.0f}/s"
        )

        def are_up() -> bool:
            time.sleep(1)
            servers = first.call("GET", "/servers")[1]
            return {each["state"] for each in servers} == {"up"}

        until(are_up, "all up", 120)
        probe = Probe(nodes)
        with forked(probe.run):
            time.sleep(1)
            probe.slowest()
            time.sleep(5)
            _pauses(report, "nothing (the machine's noise)", probe.slowest(), nodes)

            # More than the log holds, so that each node makes a snapshot.
            _each(6000, lambda to, _: _expect({404}, call(to, "DELETE", _UNKNOWN)), first)
            _pauses(report, "6000 commits, and with them snapshots", probe.slowest(), nodes)

            first = leader(nodes)
            follower = next(node for node in nodes if node is not first)
            others = [node for node in nodes if node is not follower]
            follower.send(signal.SIGKILL)
            follower.wait()
            began = time.perf_counter()
            follower.start()
            _caught_up(follower, first)
            report.bar(
                f"restart with {counts.servers} servers", time.perf_counter() - began, 5, "s"
            )
            _pauses(report, "a restart of another node", probe.slowest(), others)

            probe.slowest()
            began = time.perf_counter()
            newcomer.start("--join", f"http://{ADDRESS}:{first.management}")
            _caught_up(newcomer, first)
            report.bar(f"join with {counts.servers} servers", time.perf_counter() - began, 5, "s")
            _pauses(report, "a join", probe.slowest(), nodes)

            _expect({200}, nodes[0].call("GET", "/servers"))
            worst = probe.slowest()[nodes[0]]
            report.say(f"slowest request during GET /servers of all: {worst:.1f} ms")


def _register(to: HTTPConnection, number: int, port: int) -> None:
    ip = f"127.{10 + number // 50000}.{number // 250 % 200}.{1 + number % 250}"
    _expect({200, 201}, call(to, "POST", "/servers", server(ip, port)))


def _each(count: int, action: Callable[[HTTPConnection, int], object], node: Node) -> None:
    """
    Do something so often, by clients of a node that do it at once.
    """

    def some(first: int) -> None:
        to = HTTPConnection(ADDRESS, node.management, timeout=GIVE_UP)
        with contextlib.closing(to):
            for number in range(first, count, CALLERS):
                action(to, number)

    with ThreadPoolExecutor(CALLERS) as callers:
        for done in [callers.submit(some, first) for first in range(CALLERS)]:
            done.result()


def _caught_up(node: Node, first: Node) -> None:
    """
    Wait until a node is a member that has applied all that the leader has.
    """

    def has() -> bool:
        wanted = first.call("GET", "/cluster")[1]
        own = node.call("GET", "/cluster", patience=2.0)[1]
        return (own["role"], own["leader"]) == ("follower", first.name) and int(
            own["applied_index"]
        ) >= int(wanted["commit_index"])

    until(has, "caught up")


def _pauses(report: Report, during: str, slowest: dict[Node, float], nodes: Sequence[Node]) -> None:
    worst = max(slowest[node] for node in nodes)
    report.bar(f"slowest request during {during}", worst, 50, "ms")


PARTS = {
    "writes": writes,
    "rotation": rotation,
    "failover": failover,
    "pause": pause,
    "idle": idle,
    "many": many,
    "crashes": crashes,
}
"""In the order in which they run."""


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="A cluster on this machine.")
    parser.add_argument("--only", default=",".join(PARTS), help="of %(default)s")
    for name, default, what in (
        ("nodes", 3, "with which the cluster begins"),
        ("writes", 500, "writes of each kind"),
        ("rotations", 50, "registrations until traffic, by each node"),
        ("failovers", 50, "deaths of the leader"),
        ("rounds", 200, "deaths of all nodes"),
        ("servers", 10000, "servers, where they are many"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} (%(default)s)")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds (%(default)s)")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"--only: {', '.join(sorted(unknown))}")
    counts = Counts(**{name: getattr(options, name) for name in Counts._fields})
    if min(counts) < 2:
        parser.error("each count is 2 or more")
    end_on_sigterm()
    report = Report()
    try:
        allow_descriptors(8192)
        for name in parts:
            print(f"{name}:", flush=True)
            _play(name, counts, report)
    except (Broken, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return int(report.missed)


def _play(name: str, counts: Counts, report: Report) -> None:
    """
    Run a part, with servers that all loopback addresses reach.
    """
    with (
        TemporaryDirectory(prefix="alacrity-cluster-") as directory,
        socket.create_server(("0.0.0.0", 0), backlog=4096) as listener,
        forked(lambda: serve([listener])),
    ):
        PARTS[name](Path(directory), listener.getsockname()[1], counts, report)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
