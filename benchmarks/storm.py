"""
Thousands of servers that change their state at once, on a cluster of three nodes on the
loopback interface: C{python -m benchmarks.storm}.

The leader's checks come to a verdict on all of them in a moment; requests go through all
nodes and C{GET /servers} is asked of each meanwhile. Prints how long it takes until all
nodes agree, how many elections there were and how long a request had to wait, each with
its bar. The exit status is 1 if one is missed.
"""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from acceptance.lab.clusters import Cluster, leader, running_cluster
from acceptance.lab.loads import Load
from acceptance.lab.nodes import Node
from acceptance.lab.processes import allow_descriptors, exit_with, forked
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import parser_of
from acceptance.lab.servers import serving_everywhere
from acceptance.lab.waiting import wait_until
from benchmarks.probe import Probe

KEPT = 8
"""Servers that do not change, so that requests have where to go."""

BARS = {2000: 1.0, 10_000: 5.0}
"""Seconds until all nodes agree, by how many servers there are."""

PAUSE = 50.0
"""Milliseconds that a request may wait."""

PROGRAM = (sys.executable, "-c", "from benchmarks.storm import run_node; run_node()")
"""The command in C{twistd}'s place."""

_QUIET = "[health]\ninterval = 3600.0\nfast_interval = 3600.0\nderegister_after = 0.0\n"
"""The servers are not looked at, beside what the storm says of them."""


def run_node() -> None:
    """
    Run C{twistd} with a node whose monitor, at SIGUSR1, finds that all servers have changed.
    """
    from twisted.scripts.twistd import run

    from alacrity.node.service import Alacrity

    start = Alacrity.startService

    def start_service(self: Alacrity) -> None:
        start(self)
        signal.signal(signal.SIGUSR1, lambda *_: self._reactor.callFromThread(_break, self))

    Alacrity.startService = start_service  # type: ignore[method-assign]
    run()


def _break(service: object) -> None:
    """
    Let a monitor come to its verdicts as fast as it begins checks: 10 each 2 ms. (Faster than
    that they do not come. All in one turn of the loop is harder: Python's collector then looks
    through thousands that wait, for some 40 ms at a time.)
    """
    from alacrity.health.monitor import STARTS, TICK
    from alacrity.node.service import Alacrity
    from alacrity.pool import Report as Verdict
    from alacrity.pool import State

    assert isinstance(service, Alacrity)
    monitor = service.control.monitor
    watches = list(monitor._watches.values())[KEPT:]  # noqa: SLF001 - of a program of ours

    def some() -> None:
        for watch in watches[-STARTS:]:
            server = watch.server
            state = State.DOWN if server.state is State.UP else State.UP
            verdict = Verdict(server.id, server.revision, state, "a storm", time.time())
            monitor._proposer.begin(watch, verdict)  # noqa: SLF001
        del watches[-STARTS:]
        if watches:
            service._reactor.callLater(TICK, some)  # noqa: SLF001

    some()


def _address(number: int) -> str:
    return f"127.{10 + number // 50000}.{number // 250 % 200}.{1 + number % 250}"


def _prepare(servers: int, port: int) -> Callable[[Cluster], None]:
    """
    A function that has a cluster begin with servers that are up.
    """
    from alacrity.cluster.log.files import DirectoryFiles
    from alacrity.cluster.log.members import Member
    from alacrity.cluster.log.storage import Storage
    from alacrity.cluster.raft.membership import bootstrap
    from alacrity.cluster.state import Replicated, encode_state
    from alacrity.pool import Pool, Server, State, TcpCheck

    now = time.time()
    known = [
        Server(_address(n), port, TcpCheck(), 1, State.UP, "connected", now, now, n + 1)
        for n in range(servers + KEPT)
    ]
    state = encode_state(Replicated(Pool(len(known), {each.id: each for each in known})))

    def prepare(cluster: Cluster) -> None:
        members = tuple(Member(address, address) for address in cluster.addresses)
        for node in cluster.nodes.values():
            node.state.mkdir(mode=0o700)
            files = DirectoryFiles(node.state)
            storage = Storage.open(files)
            bootstrap(storage, members, state)
            storage.close()
            files.close()

    return prepare


def _agreed(node: Node, servers: int, port: int, state: str) -> bool:
    """
    True if all servers of a storm are in a state, on a node. One of the last verdicts is
    asked for before all are.
    """
    if node.document(f"/servers/{_address(KEPT)}:{port}")["state"] != state:
        return False
    states = [each["state"] for each in node.document("/servers")]
    return states[KEPT:] == [state] * servers


def storm(servers: int, rounds: int, port: int, pause: float, report: Report) -> None:
    """
    Play storms over a number of servers.

    @param pause: seconds between two calls of C{GET /servers}; 0: there are none.
    """
    report.step(f"{servers} servers")
    with (
        TemporaryDirectory() as directory,
        running_cluster(
            Path(directory), _QUIET, program=PROGRAM, prepare=_prepare(servers, port)
        ) as nodes,
    ):
        first = leader(nodes)
        time.sleep(1.0)
        term = first.cluster()["term"]
        probe = Probe(nodes)
        with forked(probe.run):
            time.sleep(2.0)
            report.say(f"slowest request before: {max(probe.slowest().values()):.1f} ms")
            for number in range(rounds):
                state = ("down", "up")[number % 2]
                turns = itertools.cycle(nodes)
                reader = Load(lambda turns=turns: _read_all(next(turns)), pause)  # type: ignore[misc]
                if pause:
                    reader.start()
                probe.slowest()
                before = {node: node.cpu_seconds() for node in nodes}
                began = time.perf_counter()
                first.send(signal.SIGUSR1)
                for node in nodes:
                    agreed = partial(_agreed, node, servers, port, state)
                    wait_until(agreed, f"all are {state}", 30.0, pause=0.002)
                took = time.perf_counter() - began
                reader.stop()
                slowest = probe.slowest()
                used = [f"{node.cpu_seconds() - before[node]:.2f}" for node in nodes]
                elections = max(node.cluster()["term"] for node in nodes) - term
                term += elections
                report.bar(f"all {state} on all nodes", took, BARS.get(servers, 5.0), "s")
                report.bar("elections", elections, 0, "")
                report.bar("slowest request meanwhile", max(slowest.values()), PAUSE, "ms")
                report.say(f"CPU seconds of the nodes: {', '.join(used)}")
                first = leader(nodes)


def _read_all(node: Node) -> str:
    return str(node.call("GET", "/servers").status)


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = parser_of(__doc__)
    parser.add_argument("--servers", type=int, nargs="+", default=sorted(BARS))
    parser.add_argument("--rounds", type=int, default=4, help="storms for each (4)")
    parser.add_argument(
        "--pause", type=float, default=0.5, help="seconds between two GET /servers (0.5; 0: none)"
    )
    options = parser.parse_args()
    report = Report()
    allow_descriptors(8192)
    with serving_everywhere() as port:
        for servers in options.servers:
            storm(servers, options.rounds, port, options.pause, report)
    return int(report.failed)


if __name__ == "__main__":
    exit_with(main)
