"""
The speed of a cluster of three nodes, or more, on the loopback interface:
C{python -m benchmarks.cluster}.

Measures how soon writes are answered and registered servers get traffic, what a cluster
costs that does nothing, and what many servers cost. Prints each figure with its bar. The
exit status is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from acceptance.lab.calls import Answer, ask
from acceptance.lab.clusters import QUIET, leader, running_cluster
from acceptance.lab.nodes import Node
from acceptance.lab.processes import exit_with, forked
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import play_parts
from acceptance.lab.waiting import Broken, wait_until
from benchmarks.probe import Probe

CALLERS = 16
"""Clients that register the many servers at once."""

GIVE_UP = 30.0
"""Seconds."""

_UNKNOWN = "/servers/192.0.2.1:1"


class Counts(NamedTuple):
    """
    The numbers of nodes, servers and repetitions; C{idle} in seconds.
    """

    nodes: int
    writes: int
    rotations: int
    idle: float
    servers: int


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _times(count: int, action: Callable[[int], object]) -> list[float]:
    """
    The milliseconds that an action takes, each time.
    """
    times = []
    for number in range(count):
        began = time.perf_counter()
        action(number)
        times.append(1e3 * (time.perf_counter() - began))
    return times


def _expect(statuses: set[int], answer: Answer) -> None:
    """
    @raise Broken: an answer has another status.
    """
    if answer.status not in statuses:
        raise Broken(f"answered {answer.status}: {answer.body!r}")


def _connection(node: Node, port: int) -> HTTPConnection:
    return HTTPConnection(node.host, port, timeout=GIVE_UP)


def _server(ip: str, port: int) -> object:
    """
    The registration of a server that is checked hardly ever.
    """
    return {"ip": ip, "port": port, "check": QUIET}


def writes(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Measure C{POST /servers}, and a commit alone.
    """
    with running_cluster(directory, size=counts.nodes) as nodes:
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
    to = _connection(node, node.management)

    def register(number: int) -> None:
        ip = f"{network}.{number // 250}.{1 + number % 250}"
        _expect({201}, ask(to, "POST", "/servers", _server(ip, port)))

    with closing(to):
        register(count)
        times = _times(count, register)
        report.bar(f"POST /servers to {who}: p50", median(times), 10, "ms")
        report.bar(f"POST /servers to {who}: p99", _percentile(times, 99), 50, "ms")
        # The last ones are checked meanwhile.
        time.sleep(2)
        read = median(_times(count, lambda _: _expect({404}, ask(to, "GET", _UNKNOWN))))
        commit = median(_times(count, lambda _: _expect({404}, ask(to, "DELETE", _UNKNOWN))))
    report.say(
        f"at {who}, p50 of GET of an unknown server {read:.2f} ms, of DELETE of one, which "
        f"is committed, {commit:.2f} ms"
    )
    report.bar(f"commit alone, by {who}: DELETE less GET, p50", commit - read, 3, "ms")


def rotation(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Measure the time from a registration to traffic by all nodes.
    """
    with running_cluster(directory, size=counts.nodes) as nodes:
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
    clients = {node: _connection(node, node.proxy) for node in nodes}
    to = _connection(at, at.management)
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
    answer = pool.submit(ask, to, "POST", "/servers", _server(ip, port))
    while waiting:
        waiting = [node for node in waiting if status(node) != 200]
        if time.perf_counter() - began > GIVE_UP:
            raise Broken("a server got no traffic")
        select.select([], [], [], 0.0005)
    took = 1e3 * (time.perf_counter() - began)
    _expect({201}, answer.result())
    pool.shutdown()
    _expect({204}, ask(to, "DELETE", f"/servers/{ip}:{port}"))
    wait_until(lambda: all(status(node) == 503 for node in nodes), "rid of the server", pause=0.002)
    for client in (*clients.values(), to):
        client.close()
    return took


def idle(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Measure a cluster that does nothing.
    """
    with running_cluster(directory, size=counts.nodes) as nodes:
        first = leader(nodes)
        time.sleep(3)
        before = [node.cpu_seconds() for node in nodes]
        time.sleep(counts.idle)
        for node, seconds in zip(nodes, before, strict=True):
            used = (node.cpu_seconds() - seconds) / counts.idle
            who = "the leader" if node is first else "a follower"
            report.bar(f"CPU of {who} that is idle, of a core", 100 * used, 2, "%")


def many(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Measure snapshot, restart and join with many servers, and requests meanwhile.
    """
    with running_cluster(directory, more=1, size=counts.nodes) as (*nodes, newcomer):
        first = leader(nodes)
        began = time.perf_counter()
        _each(counts.servers, lambda to, number: _register(to, number, port), first)
        report.say(
            f"{counts.servers} servers registered by {CALLERS} clients at "
            f"{counts.servers / (time.perf_counter() - began):.0f}/s"
        )

        def are_up() -> bool:
            time.sleep(1)
            return {each["state"] for each in first.servers().values()} == {"up"}

        wait_until(are_up, "all are up", 120)
        probe = Probe(nodes)
        with forked(probe.run):
            time.sleep(1)
            probe.slowest()
            time.sleep(5)
            _pauses(report, "nothing (the machine's noise)", probe.slowest(), nodes)

            # More than the log holds, so that each node makes a snapshot.
            _each(6000, lambda to, _: _expect({404}, ask(to, "DELETE", _UNKNOWN)), first)
            _pauses(report, "6000 commits, and with them snapshots", probe.slowest(), nodes)

            first = leader(nodes)
            follower = next(node for node in nodes if node is not first)
            others = [node for node in nodes if node is not follower]
            follower.send(signal.SIGKILL)
            follower.ended()
            began = time.perf_counter()
            follower.start()
            _caught_up(follower, first)
            report.bar(
                f"restart with {counts.servers} servers", time.perf_counter() - began, 5, "s"
            )
            _pauses(report, "a restart of another node", probe.slowest(), others)

            probe.slowest()
            began = time.perf_counter()
            newcomer.start("--join", f"http://{first.host}:{first.management}")
            _caught_up(newcomer, first)
            report.bar(f"join with {counts.servers} servers", time.perf_counter() - began, 5, "s")
            _pauses(report, "a join", probe.slowest(), nodes)

            _expect({200}, nodes[0].call("GET", "/servers"))
            worst = probe.slowest()[nodes[0]]
            report.say(f"slowest request during GET /servers of all: {worst:.1f} ms")


def _register(to: HTTPConnection, number: int, port: int) -> None:
    ip = f"127.{10 + number // 50000}.{number // 250 % 200}.{1 + number % 250}"
    _expect({200, 201}, ask(to, "POST", "/servers", _server(ip, port)))


def _each(count: int, action: Callable[[HTTPConnection, int], object], node: Node) -> None:
    """
    Do something so often, by clients of a node that do it at once.
    """

    def some(first: int) -> None:
        to = _connection(node, node.management)
        with closing(to):
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
        wanted, own = first.cluster(), node.cluster()
        return (own["role"], own["leader"]) == ("follower", wanted["name"]) and int(
            own["applied_index"]
        ) >= int(wanted["commit_index"])

    wait_until(has, "caught up", GIVE_UP, pause=0.002)


def _pauses(report: Report, during: str, slowest: dict[Node, float], nodes: Sequence[Node]) -> None:
    worst = max(slowest[node] for node in nodes)
    report.bar(f"slowest request during {during}", worst, 50, "ms")


PARTS: dict[str, Callable[[Path, int, Counts, Report], None]] = {
    "writes": writes,
    "rotation": rotation,
    "idle": idle,
    "many": many,
}
"""In the order in which they run."""


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="A cluster on this machine.")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds (%(default)s)")
    return play_parts(
        parser,
        PARTS,
        (
            ("nodes", 3, "with which the cluster begins"),
            ("writes", 500, "writes of each kind"),
            ("rotations", 50, "registrations until traffic, by each node"),
            ("servers", 10000, "servers, where they are many"),
        ),
        lambda options: Counts(
            options.nodes, options.writes, options.rotations, options.idle, options.servers
        ),
        least=2,
    )


if __name__ == "__main__":
    exit_with(main)
