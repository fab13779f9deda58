"""
Nodes that do not reach the servers: C{python -m acceptance.sight}.

Cuts the leader's path to the servers, and half of the paths of two nodes, while the nodes reach
each other. The exit status is 1 if a server went down that other nodes reach, leadership did not
move, or moved too often, a node answered what it could have spared its clients, or a dead server
stayed up for longer than one more check takes.

As root, with Debian's C{iproute2} and C{iptables}.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from acceptance.lab.clusters import leading
from acceptance.lab.loads import Load
from acceptance.lab.namespaces import (
    HUB_ADDRESS,
    network,
    one_that,
    the_leader,
    three,
)
from acceptance.lab.nodes import Node
from acceptance.lab.origins import HEALTH, Origin
from acceptance.lab.processes import run
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import Scenario, play
from acceptance.lab.waiting import wait_until

TRAFFIC: Final = range(9101, 9121)
"""The ports of the servers, beside the one that comes with the nodes."""

MANY: Final = range(9101, 9401)
"""More servers than members are asked about at once."""

CHECKS: Final = 9500
"""A port for checks alone."""

SETTLED: Final = 15.0
"""Seconds after which all nodes know that the leader does not see: checks that fail three times,
one more at a witness, and an election."""

HOLD: Final = 60.0
"""Seconds between two hand-overs by sight, at the least."""

CONNECT: Final = 3.0
"""Seconds of the default C{timeouts.connect}."""

ROUNDS: Final = 5
"""Servers that die."""

_FIRST: Final = 9000
_QUICK: Final = "[health]\ninterval = 1.0\ntimeout = 1.0\njitter = 0.0\n"


def cut(node: Node, first: int, last: int, *, is_silent: bool = True) -> None:
    """
    Lose what a node sends to ports of the servers, on its way.

    @param is_silent: whether it is lost without a word, rather than refused, as by a firewall.
    """
    fate = ["DROP"] if is_silent else ["REJECT", "--reject-with", "tcp-reset"]
    # This process is where the servers are.
    run(
        [
            *("iptables", "-I", "INPUT", "-s", node.host, "-p", "tcp"),
            *("--dport", f"{first}:{last}", "-j", *fate),
        ],
        10,
    )


def heal() -> None:
    """
    Lose nothing any more.
    """
    run(["iptables", "-F"], 10)


def loads_of(nodes: Sequence[Node]) -> dict[Node, Load]:
    """
    Requests through the proxy of each node, begun, by a client that waits for what a node takes
    to find out that it cannot connect.
    """
    return {node: Load(partial(_ask, node)).start() for node in nodes}


def _ask(node: Node) -> str:
    return str(node.get(timeout=3 * CONNECT).status)


@contextlib.contextmanager
def served(
    directory: Path,
    extra: str = "",
    *,
    check_port: int | None = None,
    traffic: range = TRAFFIC,
) -> Iterator[list[Node]]:
    """
    Three nodes, and servers that are up.

    @param extra: see L{three}.
    @param traffic: the ports of the servers.
    @param check_port: the port of all checks; L{None}: the servers' own.
    """
    ports = [*traffic, CHECKS]
    with network(), three(directory, extra) as nodes:
        origin = Origin(directory, "servers", host=HUB_ADDRESS, ports=ports).started()
        try:
            for port in traffic:
                check: dict[str, Any] = {"type": "http", "path": HEALTH}
                if check_port is not None:
                    check["port"] = check_port
                document = {"ip": HUB_ADDRESS, "port": port, "check": check}
                nodes[0].call("POST", "/servers", document)
            if check_port is not None:
                nodes[0].call("DELETE", f"/servers/{HUB_ADDRESS}:{_FIRST}")
            wait_until(lambda: all(_up(node) >= len(traffic) for node in nodes), "all servers up")
            yield nodes
        finally:
            origin.kill()


def _up(node: Node) -> int:
    return sum(each["state"] == "up" for each in node.servers().values())


def _disputed(node: Node) -> int:
    return sum(each["disputed"] for each in node.servers().values())


class Observation:
    """
    What is asked of nodes ten times a second: who leads, and how many servers are up.

    @ivar leaders: the leaders, in their order.
    @ivar fewest: by node, the fewest servers that were up.
    @ivar disputed: by node, the most that were disputed.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self.leaders: list[str] = []
        self.fewest = {node.name: 1 << 30 for node in nodes}
        self.disputed = dict.fromkeys(self.fewest, 0)
        self._load = Load(self._look, pause=0.1).start()

    def _look(self) -> str:
        for node in leading(self._nodes):
            if self.leaders[-1:] != [node.name]:
                self.leaders.append(node.name)
        for node in self._nodes:
            name = node.name
            self.fewest[name] = min(self.fewest[name], _up(node))
            self.disputed[name] = max(self.disputed[name], _disputed(node))
        return "seen"

    def stop(self) -> None:
        """
        Observe no more.
        """
        self._load.stop()

    def __str__(self) -> str:
        return (
            f"leaders: {' -> '.join(self.leaders)}; fewest servers up: {self.fewest}; most "
            f"disputed: {self.disputed}"
        )


def blind(directory: Path, report: Report, *, checks_alone: bool) -> None:
    """
    Cut the leader's path to all servers, or to the port of their checks alone; heal it.
    """
    with served(directory, check_port=CHECKS if checks_alone else None) as nodes:
        victim, others = one_that(nodes, "leader")
        all_up = _up(victim)
        what = "the port of the checks" if checks_alone else "the servers"
        report.step(f"the leader, {victim.name}, is cut off from {what}; {all_up} are up")
        observed = Observation(nodes)
        loads = loads_of(nodes)
        time.sleep(1)
        cut(victim, *((CHECKS, CHECKS) if checks_alone else (_FIRST, TRAFFIC[-1])))
        begun = time.monotonic()
        wait_until(lambda: _disputed(others[0]) > 0, "servers in dispute", SETTLED)
        report.say(f"the first server is disputed after {time.monotonic() - begun:.2f} s")
        wait_until(lambda: bool(leading(others)), "another leader", SETTLED)
        moved = time.monotonic() - begun
        report.bar("until leadership has moved", moved, SETTLED, "s")
        undisputed = wait_until(
            lambda: all(_disputed(node) == 0 for node in nodes), "no server in dispute", SETTLED
        )
        report.say(f"no server is disputed any more {undisputed:.2f} s later")
        time.sleep(max(0.0, SETTLED - (time.monotonic() - begun)))
        # What came before it has settled is counted apart.
        for node, load in loads.items():
            load.stop()
            report.say(f"traffic on {node.name} until then: {load}")
            _count_503(report, node, load)
            if node is not victim and load.faults:
                report.fail(f"{node.name} reaches the servers, and did not answer 200 always")
            load.outcomes.clear()
            load.slowest = 0.0
            load.start()
        time.sleep(20)
        for node, load in loads.items():
            load.stop()
            report.say(f"traffic on {node.name} after that: {load}")
            _count_503(report, node, load)
            if (checks_alone or node is not victim) and load.faults:
                report.fail(f"{node.name} reaches the servers, and did not answer 200 always")
        heal()
        report.step(f"{victim.name} reaches the servers again")
        back = wait_until(lambda: victim.get(timeout=3.0).status == 200, "an answer there", 40)
        report.say(f"it answers 200 after {back:.2f} s")
        observed.stop()
        report.say(str(observed))
        if min(observed.fewest.values()) < all_up:
            report.fail("servers went down that two of three nodes reach")
        report.bar("changes of the leader", len(observed.leaders) - 1, 1, "")


def _count_503(report: Report, node: Node, load: Load) -> None:
    report.bar(f"503 on {node.name}", load.outcomes["503"], 0, "")


def half_blind(directory: Path, report: Report) -> None:
    """
    Have two of three nodes see another half of the servers each, while the third is dead: for
    longer than two hand-overs by sight are apart.
    """
    with served(directory) as nodes:
        dead, rest = one_that(nodes, "follower")
        all_up = _up(dead)
        dead.kill()
        wait_until(lambda: bool(leading(rest)), "a leader of the two")
        report.step(f"{dead.name} is dead; each of the others is cut off from another half")
        observed = Observation(rest)
        middle = TRAFFIC[len(TRAFFIC) // 2]
        cut(rest[0], middle, TRAFFIC[-1], is_silent=False)
        cut(rest[1], _FIRST, middle - 1, is_silent=False)
        time.sleep(SETTLED)
        loads = loads_of(rest)
        time.sleep(2 * HOLD + 10)
        observed.stop()
        for node, load in loads.items():
            load.stop()
            report.traffic(f"on {node.name}", load)
        report.say(str(observed))
        if min(observed.fewest.values()) < all_up:
            report.fail("servers went down that one of the two nodes reaches")
        report.bar("changes of the leader", len(observed.leaders) - 1, 0, "")


def dead(directory: Path, report: Report) -> None:
    """
    Have servers vanish, with witnesses and without: what the second opinion costs.
    """
    took = {}
    for witnesses in (False, True):
        extra = f"{_QUICK}witnesses = {str(witnesses).lower()}\n"
        place = directory / f"witnesses-{witnesses}"
        place.mkdir()
        with served(place, extra) as nodes:
            times = []
            for port in TRAFFIC[:ROUNDS]:
                for node in nodes:
                    cut(node, port, port)
                id = f"{HUB_ADDRESS}:{port}"
                times.append(wait_until(partial(_are_down, nodes, id), f"{id} down on all nodes"))
            took[witnesses] = median(times)
            report.say(
                f"witnesses = {witnesses}: down on all nodes after "
                f"{', '.join(f'{each:.2f}' for each in sorted(times))} s"
            )
    report.bar("a second opinion on a dead server, medians", took[True] - took[False], 1.5, "s")


def many(directory: Path, report: Report) -> None:
    """
    Have many servers vanish at once.
    """
    took = {}
    for witnesses in (False, True):
        extra = f"{_QUICK}witnesses = {str(witnesses).lower()}\n"
        place = directory / f"witnesses-{witnesses}"
        place.mkdir()
        with served(place, extra, traffic=MANY) as nodes:
            for node in nodes:
                cut(node, MANY[0], MANY[-1])
            begun = time.monotonic()
            wait_until(
                lambda nodes=nodes: all(_up(node) <= 1 for node in nodes),  # type: ignore[misc]
                "all down on all nodes",
                pause=0.2,
            )
            took[witnesses] = time.monotonic() - begun
            report.say(
                f"witnesses = {witnesses}: {len(MANY)} are down on all nodes after "
                f"{took[witnesses]:.2f} s"
            )
    report.bar("a second opinion on many dead servers", took[True] - took[False], 2.5, "s")


def _are_down(nodes: Sequence[Node], id: str) -> bool:
    return all(node.servers()[id]["state"] == "down" for node in nodes)


def serve_leader(directory: Path, report: Report) -> None:
    """
    Cut one server off from the leader, where the leader alone serves.
    """
    with served(directory, 'serve = "leader"') as nodes:
        victim, others = one_that(nodes, "leader")
        report.step(f"the leader, {victim.name}, is cut off from one server, and alone serves")
        cut(victim, TRAFFIC[0], TRAFFIC[0])
        begun = time.monotonic()
        wait_until(lambda: bool(leading(others)), "another leader", SETTLED + 5)
        report.bar("until leadership has moved", time.monotonic() - begun, SETTLED + 5, "s")
        first = the_leader(others)
        wait_until(lambda: first.get().status == 200, "traffic there")


SCENARIOS: Final[dict[str, Scenario]] = {
    "blind": partial(blind, checks_alone=False),
    "checks": partial(blind, checks_alone=True),
    "half-blind": half_blind,
    "dead": dead,
    "many": many,
    "serve-leader": serve_leader,
}

if __name__ == "__main__":
    play(__doc__, SCENARIOS)
