"""
Operations on three nodes: C{python -m acceptance.upkeep}.

Rolling restarts, a node replaced, a majority lost for good, C{serve = "leader"}. The exit
status is 1 if a request on a node that was up failed, or an acknowledged registration was
lost.

As root, with Debian's C{iproute2}.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from acceptance.lab.namespaces import (
    CLUSTER,
    MANAGEMENT,
    NODES,
    answers_again,
    leads_among,
    loads_of,
    network,
    one_that,
    reckon,
    registering,
    the_leader,
    three,
    unregistered,
)
from acceptance.lab.nodes import Node
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import play
from acceptance.lab.waiting import wait_until


def rolling(directory: Path, report: Report) -> None:
    """
    Restart all nodes one by one, the leader last, while writes go on elsewhere.
    """
    with network(), three(directory) as nodes:
        first, followers = one_that(nodes, "leader")
        for victim in (*followers, first):
            rest = [node for node in nodes if node is not victim]
            loads = loads_of(rest)
            writer = registering(rest[0])
            role = "leader" if victim is first else "follower"
            if victim is first:
                victim.call("POST", "/cluster/leader", {})
                moved = wait_until(leads_among(rest), "another leader", 10)
                report.step(f"POST /cluster/leader: another leads after {moved:.2f} s")
            begun = time.monotonic()
            victim.stop(patience=60)
            stopped = time.monotonic() - begun
            back = _is_back(victim.start())
            report.step(
                f"the {role}, {victim.name}: stopped in {stopped:.2f} s, back in {back:.2f} s"
            )
            reckon(report, nodes, [writer], loads)


def _is_back(node: Node) -> float:
    took = answers_again(node)
    return took + wait_until(lambda: node.get().status == 200, "traffic there")


def replace(directory: Path, report: Report) -> None:
    """
    Lose node 3 with its disk, and let it join anew.
    """
    with network(), three(directory) as nodes:
        victim, rest = nodes[2], nodes[:2]
        loads = loads_of(rest)
        writer = registering(rest[0])
        victim.kill()
        wait_until(leads_among(rest), "a leader", 10)
        path = f"/cluster/nodes/{victim.host}:{CLUSTER}"
        begun = time.monotonic()
        status = rest[0].call("DELETE", path).status
        report.step(f"DELETE {path}: {status}, {_since(begun)}")
        _join_anew(victim, rest[0])
        joined = wait_until(
            lambda: len(victim.cluster()["members"]) == len(NODES), "it is among the members"
        )
        report.step(f"started with --join: it is a member after {joined:.2f} s")
        reckon(report, nodes, [writer], loads)


def _join_anew(node: Node, through: Node) -> None:
    """
    Start a node without its files and without knowing the members.
    """
    shutil.rmtree(node.state)
    lines = node.configuration.splitlines(keepends=True)
    node.configure("".join(line for line in lines if not line.startswith("members")))
    node.start("--join", f"http://{through.host}:{MANAGEMENT}")


def majority(directory: Path, report: Report) -> None:
    """
    Lose two nodes of three for good, and go on with one.
    """
    with network(), three(directory) as nodes:
        survivor, others = nodes[0], nodes[1:]
        writer = registering(survivor)
        time.sleep(2)
        writer.stop()
        (load,) = loads_of([survivor]).values()
        for node in others:
            node.kill()
        wait_until(lambda: bool(survivor.cluster()["stale"]), "the one left says stale", 10)
        begun = time.monotonic()
        answer = survivor.call("POST", "/servers", unregistered())
        report.step(
            f"POST /servers on the one left: {answer.status} {_since(begun)}: "
            f"{answer.json().get('detail')}"
        )
        report.traffic("there", load)
        survivor.stop(patience=60)
        survivor.start("--force-new-cluster")
        back = wait_until(leads_among([survivor]), "the one left leads", 15)
        report.step(f"started with --force-new-cluster: it leads after {back:.2f} s")
        _expect_kept(report, writer.lost([survivor]))
        for node in others:
            _join_anew(node, survivor)
            joined = wait_until(
                lambda node=node: _is_member(node, survivor),  # type: ignore[misc]
                f"{node.name} is a member",
            )
            report.step(f"{node.name} with --join: a member after {joined:.2f} s")
        survivor.stop(patience=60)
        survivor.start()
        wait_until(
            lambda: len(survivor.cluster()["members"]) == len(NODES), "the cluster as it was", 15
        )
        reckon(report, nodes, [writer], {})


def _is_member(node: Node, leader: Node) -> bool:
    """
    True if a node is a member in the eyes of the leader and in its own.
    """
    own = node.cluster()
    names = {member["name"] for member in leader.cluster()["members"]}
    return own["role"] in {"follower", "leader"} and own["name"] in names


def _expect_kept(report: Report, lost: int) -> None:
    report.say(f"lost: {lost}")
    if lost:
        report.fail("acknowledged registrations are lost")


def serve_leader(directory: Path, report: Report) -> None:
    """
    Have the leader alone serve.
    """
    with network(), three(directory, 'serve = "leader"') as nodes:
        for round_ in range(2):
            first = the_leader(nodes)
            wait_until(lambda first=first: first.get().status == 200, "traffic")  # type: ignore[misc]
            for node in nodes:
                serves = node.get().status == 200
                report.say(
                    f"{node.name}: leads {node is first}, serves {serves}, "
                    f"/health {node.call('GET', '/health').status}"
                )
                if serves != (node is first):
                    report.fail("not the leader alone serves")
            if not round_:
                report.step("POST /cluster/leader")
                nodes[0].call("POST", "/cluster/leader", {})
                time.sleep(2)


def _since(begun: float) -> str:
    return f"after {time.monotonic() - begun:.2f} s"


SCENARIOS = {
    "rolling": rolling,
    "replace": replace,
    "majority": majority,
    "serve-leader": serve_leader,
}

if __name__ == "__main__":
    play(__doc__, SCENARIOS)
