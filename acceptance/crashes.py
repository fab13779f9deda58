"""
Leaders that die, a leader that stops, and nodes that all die at once, on the loopback
interface: C{python -m acceptance.crashes}.

Prints each figure with its bar: how soon writes are accepted again, requests that failed on
nodes that were alive, acknowledged writes that were lost, states that differ. The exit
status is 1 if a bar is missed. C{--nodes 5} does it with five.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from acceptance.lab.clusters import QUIET, applied_alike, equal, leader, running_cluster
from acceptance.lab.loads import Requests, Writer
from acceptance.lab.nodes import Node
from acceptance.lab.processes import exit_with
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import parser_of, play_parts
from acceptance.lab.waiting import Broken, wait_until

KEPT = 50
"""Servers of its own that a writer registers before it begins to remove."""


class Counts(NamedTuple):
    """
    The numbers of nodes and repetitions.
    """

    nodes: int
    failovers: int
    rounds: int


def failover(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Kill the leader, again and again.
    """
    times = []
    answered, slowest, faults = 0, 0.0, 0
    with running_cluster(directory, size=counts.nodes) as nodes:
        _serve(nodes, port)
        for number in range(counts.failovers):
            dying = leader(nodes)
            survivors = [node for node in nodes if node is not dying]
            loads = [Requests(node, 0.005).start() for node in survivors]
            dying.send(signal.SIGKILL)
            begun = time.perf_counter()
            _accepted(survivors[number % len(survivors)])
            times.append(time.perf_counter() - begun)
            dying.ended()
            dying.started()
            leader(nodes)
            wait_until(lambda: applied_alike(nodes), "equal nodes")
            for load in loads:
                load.stop()
                answered += load.outcomes["200"]
                faults += load.faults.total()
                slowest = max(slowest, load.slowest)
                if load.faults:
                    report.say(str(load))
    report.bar("leader killed -> writes accepted again: median", median(times), 1.0, "s")
    report.bar(f"likewise, worst of {len(times)}", max(times), 2.5, "s")
    report.bar("proxied requests failed on survivors", faults, 0, "")
    report.say(f"of {answered} answered; the slowest took {1e3 * slowest:.1f} ms")


def pause(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Stop the leader for 5 s, and let it go on.
    """
    with running_cluster(directory, size=counts.nodes) as nodes:
        _serve(nodes, port)
        paused = leader(nodes)
        survivors = [node for node in nodes if node is not paused]
        loads = [Requests(node, 0.005).start() for node in survivors]
        paused.send(signal.SIGSTOP)
        begun = time.perf_counter()
        _accepted(survivors[0])
        took = time.perf_counter() - begun
        writer = Writer(survivors[0], check=QUIET, kept=KEPT, pause=0.0).start()
        time.sleep(max(0.0, 5 - (time.perf_counter() - begun)))
        paused.send(signal.SIGCONT)
        back = time.perf_counter()
        _accepted(paused)
        followed = time.perf_counter() - back
        loads.append(Requests(paused, 0.005).start())
        time.sleep(1)
        writer.stop()
        leader(nodes)
        for load in loads:
            load.stop()
        lost, different = _compare(nodes, [writer])
    report.bar("leader stopped -> writes accepted again", took, 2.5, "s")
    report.say(f"gone on after 5 s: it takes writes after {followed:.2f} s")
    faults = sum(load.faults.total() for load in loads)
    report.bar("requests failed on survivors, and on it once back", faults, 0, "")
    report.bar(f"lost, of {writer.acknowledged} acknowledged writes", lost, 0, "")
    report.bar("states that differ", different, 0, "")


def crashes(directory: Path, port: int, counts: Counts, report: Report) -> None:
    """
    Kill all nodes while they take writes, again and again.
    """
    rng = random.Random(1)
    lost = differing = 0
    restarts = []
    with running_cluster(directory, size=counts.nodes) as nodes:
        writers = [Writer(node, check=QUIET, kept=KEPT, pause=0.0) for node in nodes]
        for number in range(counts.rounds):
            for writer in writers:
                writer.start()
            time.sleep(rng.uniform(0.05, 0.6))
            for node in rng.sample(nodes, len(nodes)):
                node.send(signal.SIGKILL)
            for writer in writers:
                writer.stop()
            for node in nodes:
                node.ended()
            begun = time.perf_counter()
            for node in nodes:
                node.start()
            leader(nodes)
            restarts.append(time.perf_counter() - begun)
            missing, different = _compare(nodes, writers)
            lost += missing
            differing += different > 0
            if missing or different:
                report.say(f"round {number + 1}: {missing} lost, {different} states differ")
            if (number + 1) % 20 == 0:
                sys.stderr.write(f"{number + 1} rounds\n")
    acknowledged = sum(writer.acknowledged for writer in writers)
    report.bar(f"{counts.rounds} x all killed: lost of {acknowledged} acknowledged", lost, 0, "")
    report.bar("rounds after which states differ", differing, 0, "")
    report.say(
        f"from the start of all to a leader that all follow: median {median(restarts):.2f} s, "
        f"worst {max(restarts):.2f} s"
    )


def _serve(nodes: Sequence[Node], port: int) -> None:
    """
    Have two servers get traffic through all nodes.
    """
    for ip in ("127.4.0.1", "127.4.0.2"):
        answer = nodes[0].call("POST", "/servers", {"ip": ip, "port": port, "check": QUIET})
        if answer.status != 201:
            raise Broken(f"a registration was answered {answer.status}: {answer.body!r}")

    def are_up() -> bool:
        return all(
            [each["state"] for each in node.servers().values()] == ["up", "up"] for node in nodes
        )

    wait_until(are_up, "traffic")


def _accepted(node: Node) -> None:
    """
    Wait until a node accepts a write.
    """
    new = {"ip": "127.9.0.1", "port": 1, "check": QUIET}
    wait_until(
        lambda: node.call("POST", "/servers", new).status in {200, 201}, "a write", pause=0.002
    )


def _compare(nodes: Sequence[Node], writers: Sequence[Writer]) -> tuple[int, int]:
    """
    Count acknowledged writes that have left no trace, and states that differ, as 0 or 1.
    """
    try:
        equal(nodes)
        different = 0
    except AssertionError:
        different = 1
    return sum(writer.lost(nodes[:1]) for writer in writers), different


PARTS: dict[str, Callable[[Path, int, Counts, Report], None]] = {
    "failover": failover,
    "pause": pause,
    "crashes": crashes,
}
"""In the order in which they run."""


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    return play_parts(
        parser_of(__doc__),
        PARTS,
        (
            ("nodes", 3, "with which the cluster begins"),
            ("failovers", 50, "deaths of the leader"),
            ("rounds", 200, "deaths of all nodes"),
        ),
        lambda options: Counts(options.nodes, options.failovers, options.rounds),
        least=1,
    )


if __name__ == "__main__":
    exit_with(main)
