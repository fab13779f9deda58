"""
What an operator does to three nodes: C{python benchmarks/upkeep.py}.

As root, on a machine with C{ip} and C{nsenter}; the nodes run in network namespaces of
their own, see L{lab}. Prints what happened; the exit status is 1 if a request on a node
that was up failed, or an acknowledged registration was lost.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import (
    CLUSTER,
    MANAGEMENT,
    PROXY,
    Node,
    Registrations,
    address,
    call,
    exit_with,
    leader,
    network,
    three,
    traffic,
    until,
)
from namespaces import Outcome, expect_only
from processes import end_on_sigterm


def rolling(nodes: list[Node]) -> None:
    """
    Restart all nodes one by one, the leader last, while writes go on elsewhere.
    """
    first = leader(nodes)
    for victim in [*(node for node in nodes if node is not first), first]:
        rest = [node for node in nodes if node is not victim]
        loads = [traffic(address(node.number)) for node in rest]
        writes = Registrations(rest[0])
        what = "leader" if victim is first else "follower"
        if victim is first:
            victim.ask("/cluster/leader", {})
            moved = until(lambda: leader(rest) in rest, "another leader", 10)  # noqa: B023
            print(f"POST /cluster/leader: another leads after {moved:.2f} s")
        stopped = victim.stop()
        victim.start()
        back = until(lambda victim=victim: victim.cluster()["has_quorum"], "its return", 15)  # type: ignore[misc]
        until(lambda victim=victim: call(address(victim.number), PROXY, "/")[0] == 200, "it", 15)  # type: ignore[misc]
        print(f"the {what}, node {victim.number}: stopped in {stopped:.2f} s, back in {back:.2f} s")
        _account(nodes, writes)
        for load in loads:
            print(f"    traffic on another node: {load.stop()}")
            expect_only(load.outcomes, "200")


def replace(nodes: list[Node]) -> None:
    """
    Lose node 3 with its disk, and let it join anew.
    """
    victim, rest = nodes[2], nodes[:2]
    loads = [traffic(address(node.number)) for node in rest]
    writes = Registrations(rest[0])
    victim.kill()
    shutil.rmtree(victim.state)
    victim.state.mkdir()
    until(lambda: leader(rest) in rest, "a leader", 10)
    begun = time.monotonic()
    status = rest[0].ask(f"/cluster/nodes/{address(3)}:{CLUSTER}", method="DELETE")[0]
    print(f"DELETE /cluster/nodes/{address(3)}:{CLUSTER}: {status}, {_since(begun)}")
    _leave_members_out(victim)
    victim.start("--join", f"http://{address(1)}:{MANAGEMENT}")
    joined = until(lambda: len(victim.cluster()["members"]) == 3, "it among the members", 20)
    print(f"started with --join: it is a member after {joined:.2f} s")
    _account(nodes, writes)
    for load in loads:
        print(f"    traffic on another node: {load.stop()}")
        expect_only(load.outcomes, "200")


def majority(nodes: list[Node]) -> None:
    """
    Lose two nodes of three for good, and go on with one.
    """
    survivor, others = nodes[0], nodes[1:]
    writes = Registrations(survivor)
    time.sleep(2)
    writes.load.stop()
    load = traffic(address(1))
    for node in others:
        node.kill()
    until(lambda: bool(survivor.cluster()["stale"]), "staleness", 10)
    new = {"ip": "10.99.0.9", "port": 1, "check": {"type": "tcp"}}
    begun = time.monotonic()
    status, document, _ = survivor.ask("/servers", new)
    print(f"POST /servers on the one left: {status} {_since(begun)}: {document.get('detail')}")
    print(f"    traffic there: {load.stop()}")
    expect_only(load.outcomes, "200")
    survivor.stop()
    survivor.start("--force-new-cluster")
    back = until(lambda: leader([survivor]) is survivor, "the one left leading", 15)
    print(f"started with --force-new-cluster: it leads after {back:.2f} s")
    print(f"    lost of {len(writes.acknowledged)}: {writes.missing([survivor])}")
    for node in others:
        shutil.rmtree(node.state)
        node.state.mkdir()
        _leave_members_out(node)
        node.start("--join", f"http://{address(1)}:{MANAGEMENT}")
        joined = until(lambda node=node: node.cluster()["role"] == "follower", "a member", 20)  # type: ignore[misc]
        print(f"node {node.number} with --join: a member after {joined:.2f} s")
    survivor.stop()
    survivor.start()
    until(lambda: len(survivor.cluster()["members"]) == 3, "the cluster as it was", 15)
    print(f"    lost on some node: {writes.missing(nodes)}")


def serve_leader(nodes: list[Node]) -> None:
    """
    Have the leader alone serve.
    """
    until(lambda: call(address(leader(nodes).number), PROXY, "/")[0] == 200, "traffic", 10)
    for round_ in range(2):
        for node in nodes:
            answer = call(address(node.number), PROXY, "/")
            print(
                f"node {node.number}: proxy {answer[0]}, /health {node.ask('/health')[0]}, "
                f"/health/leader {node.ask('/health/leader')[0]}"
            )
        if not round_:
            nodes[0].ask("/cluster/leader", {})
            print("POST /cluster/leader")
            time.sleep(2)


def _since(begun: float) -> str:
    return f"after {time.monotonic() - begun:.2f} s"


def _leave_members_out(node: Node) -> None:
    config = node.directory / "alacrity.toml"
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("members")))


def _account(nodes: list[Node], writes: Registrations) -> None:
    made = writes.load.stop()
    until(lambda: len({node.cluster()["applied_index"] for node in nodes}) == 1, "equal nodes", 10)
    lost = writes.missing(nodes)
    print(f"    registrations on another node: {made}; lost: {lost}")
    if lost:
        Outcome.failed = True


SCENARIOS: dict[str, Callable[[list[Node]], None]] = {
    "rolling": rolling,
    "replace": replace,
    "majority": majority,
    "serve-leader": serve_leader,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(SCENARIOS), help="one of the scenarios")
    parser.add_argument("--keep", type=Path, help="a directory for configuration, state and logs")
    options = parser.parse_args()
    end_on_sigterm()
    with TemporaryDirectory() as temporary, network():
        for name, scenario in SCENARIOS.items():
            if options.only in {None, name}:
                directory = (options.keep or Path(temporary)) / name
                directory.mkdir(parents=True)
                with three(directory, 'serve = "leader"' if "-" in name else "") as nodes:
                    scenario(nodes)
    return int(Outcome.failed)


if __name__ == "__main__":
    exit_with(main)
