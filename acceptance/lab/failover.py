"""
The leader of three nodes that is killed while servers fail, drain and renew their leases.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from acceptance.lab.clients import Clients
from acceptance.lab.clusters import QUIET, equal, free_ports, leader, running_cluster
from acceptance.lab.loads import Load, Writer
from acceptance.lab.nodes import Node
from acceptance.lab.origins import HEALTH, SERVICE_TIME, Origin
from acceptance.lab.outcomes import Bar, Row, figures
from acceptance.lab.waiting import Broken, wait_until

LEASE: Final = 4
"""Seconds."""

_EACH: Final = 6
"""Servers of each kind."""


class Renewals(Load):
    """
    Renewals of leases, each in time as a server would, asked of one node after another.
    """

    def __init__(self, nodes: Sequence[Node], ids: Sequence[str]) -> None:
        self._nodes = itertools.cycle(nodes)
        self._due = dict.fromkeys(ids, 0.0)
        super().__init__(self._renew, 0.02)

    def _renew(self) -> str:
        now = time.monotonic()
        outcomes = {"nothing due"}
        for id in [id for id, due in self._due.items() if due <= now]:
            # A renewal that is not answered is made again soon, of another node.
            self._due[id] = now + 0.2
            answer = next(self._nodes).call("PUT", f"/servers/{id}/lease", timeout=1.0)
            if answer.status == 200:
                self._due[id] = now + answer.json()["renew_after"]
            outcomes.add(str(answer.status))
        return min(outcomes - {"nothing due"}, default="nothing due")


class Changes(Load):
    """
    Administrative changes of one server after another, each with a number in its reason.

    @ivar asked: the last number asked for, by server.
    @ivar acknowledged: the last number that was acknowledged, likewise.
    """

    def __init__(self, nodes: Sequence[Node], ids: Sequence[str]) -> None:
        self._nodes = itertools.cycle(nodes)
        self._ids = itertools.cycle(ids)
        self._numbers = itertools.count(1)
        self.asked: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        super().__init__(self._change, 0.01)

    def _change(self) -> str:
        id, number = next(self._ids), next(self._numbers)
        self.asked[id] = number
        document = {"admin": "drain" if number % 2 else "ready", "reason": str(number)}
        answer = next(self._nodes).call("PATCH", f"/servers/{id}", document, timeout=5.0)
        if answer.status == 200:
            self.acknowledged[id] = number
        return str(answer.status)

    def lost(self, node: Node) -> int:
        """
        The number of servers whose last acknowledged change a node does not have.
        """
        known = node.servers()
        return sum(
            not number <= int(known[id]["admin"]["reason"] or 0) <= self.asked[id]
            for id, number in self.acknowledged.items()
        )


class LeaseWatch(Load):
    """
    Looks at servers with leases, on all nodes in turn.

    @ivar expired: the ids of those that were not up.
    """

    def __init__(self, nodes: Sequence[Node], ids: Sequence[str]) -> None:
        self._nodes = itertools.cycle(nodes)
        self._ids = ids
        self.expired: set[str] = set()
        super().__init__(self._look, 0.1)

    def _look(self) -> str:
        servers = next(self._nodes).servers()
        self.expired |= {
            id for id in self._ids if id not in servers or servers[id]["state"] != "up"
        }
        return "200"


def failover(name: str, directory: Path, after: float) -> Row:
    """
    Kill the leader, and count the acknowledged changes and the leases that are lost.

    @param after: seconds that all goes on after it.
    """
    directory.mkdir(parents=True)
    with running_cluster(directory) as nodes, _servers(directory) as origins:
        failing = origins[0]
        dying = leader(nodes)
        survivors = [node for node in nodes if node is not dying]
        ids = [_registered(nodes, each) for each in origins]
        writer = Writer(survivors[0], check=QUIET)
        changes = Changes(survivors, ids[2])
        renewals = Renewals(survivors, ids[1])
        watch = LeaseWatch(survivors, ids[1])
        clients = Clients([(node.host, node.proxy) for node in survivors])
        loads: tuple[Load, ...] = (writer, changes, renewals, watch)
        with _running([*loads, clients]):
            time.sleep(2.0)
            failing.send(signal.SIGKILL)
            fault = time.monotonic()
            dying.send(signal.SIGKILL)
            time.sleep(max(after, 2 * LEASE))
        equal(survivors)
        lost = writer.lost(survivors) + sum(changes.lost(node) for node in survivors)
        watch.expired |= {
            id for id in ids[1] if any(node.servers()[id]["state"] != "up" for node in survivors)
        }
    found = figures(clients.outcomes, fault, usual=SERVICE_TIME)
    acknowledged = writer.acknowledged + changes.outcomes["200"]
    if not changes.acknowledged or not renewals.outcomes["200"]:
        raise Broken(f"changes: {changes}; renewals: {renewals}")
    bars = (
        Bar(f"of {acknowledged} acknowledged changes lost", lost, 0),
        Bar(f"of {len(ids[1])} leases lost", len(watch.expired), 0),
        Bar("idempotent requests failed", found.failed, 0),
    )
    return Row(name, "alacrity", found, math.nan, bars)


@contextlib.contextmanager
def _servers(directory: Path) -> Iterator[list[Origin]]:
    """
    Servers that will fail, servers with leases, and servers that are administered.
    """
    kinds = ("failing", "leased", "administered")
    origins = [Origin(directory, kind, ports=free_ports(_EACH)) for kind in kinds]
    try:
        for each in origins:
            each.started()
        yield origins
    finally:
        for each in origins:
            each.kill()


@contextlib.contextmanager
def _running(loads: Sequence[Load | Clients]) -> Iterator[None]:
    for each in loads:
        each.start()
    try:
        yield
    finally:
        for each in loads:
            each.stop()


def _registered(nodes: Sequence[Node], origin: Origin) -> list[str]:
    """
    Register an origin's servers, those called leased with leases, and wait until all are up.

    @return: their ids.
    """
    ids = []
    more: dict[str, object] = {"check": {"type": "http", "path": HEALTH}}
    if origin.name == "leased":
        more = {"check": {"type": "none"}, "lease": LEASE}
    for port in origin.ports:
        document = {"ip": origin.host, "port": port, **more}
        answer = nodes[0].call("POST", "/servers", document)
        if answer.status != 201:
            raise Broken(f"a registration was answered {answer.status}: {answer.body!r}")
        ids.append(answer.json()["id"])
    wait_until(
        lambda: all(node.servers()[id]["state"] == "up" for node in nodes for id in ids), "up"
    )
    return ids
