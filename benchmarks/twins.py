"""
Two live nodes of one name: C{python benchmarks/twins.py}.

As root, as for L{lab}. Three nodes run; a fourth process, on an address of its own, has the
name of one of them, and the secret: with an empty directory, and with a copy of that node's,
as from a restored image. Prints what each says and uses; the exit status is 1 if traffic
failed, an acknowledged registration was lost, states differ, the leader changed, or a node
spun, grew or filled its log.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from faults import GROWTH, Watch, fail
from lab import (
    CLUSTER,
    Node,
    Registrations,
    address,
    exit_with,
    leader,
    network,
    three,
    traffic,
    until,
)
from namespaces import Outcome, expect_only
from processes import end_on_sigterm

TWIN = 4
"""The number of its namespace and address."""

LOOK = 30.0
"""Seconds for which both run."""

LINES = 12
"""So many may a node log meanwhile."""

EACH = 4
"""KiB of memory that a registered server may take."""


def meet(nodes: list[Node], of: Node, directory: Path, *, copy: bool) -> None:
    """
    Start a twin of a node beside it.

    @param copy: it has the node's files; else it has none.
    """
    name = f"{address(of.number)}:{CLUSTER}"
    twin = Node(directory, TWIN, extra=f'advertise = "{name}"')
    shutil.rmtree(twin.state)
    if copy:
        # As an image has it: the node runs.
        shutil.copytree(of.state, twin.state)
    else:
        twin.state.mkdir()
    first = leader(nodes)
    term = first.cluster()["term"]
    loads = {node.number: traffic(address(node.number)) for node in nodes}
    writes = [Registrations(node, 3600) for node in nodes]
    watches = {node.number: Watch(node) for node in nodes}
    begun = len(twin.lines()) if twin.log.exists() else 0
    twin.start()
    try:
        until(lambda: twin.ask("/health", timeout=2)[0] in {200, 503}, "the twin", 15)
        time.sleep(LOOK)
        own = twin.cluster()
        print(
            f"    it, of itself: {own['role']}, leader {own['leader']}, stale {own['stale']}; "
            f"POST /servers there: {twin.ask('/servers', _new())[0]}"
        )
        said = [line for line in twin.lines(begun) if "alacrity.cluster" in line]
        print(f"    it logs {len(said)} lines of the cluster")
        for line in said[:8]:
            print(f"        | {line[:200]}")
        for number, watch in watches.items():
            print(f"    node {number}")
            watch.tell(GROWTH + EACH * sum(len(made.acknowledged) for made in writes))
            if len(watch.said()) > LINES:
                fail("it fills its log")
    finally:
        twin.kill()
    now = leader(nodes)
    print(f"    leader {first.number} in term {term}; now {now.number} in {now.cluster()['term']}")
    if (now, now.cluster()["term"]) != (first, term):
        fail("the cluster was disturbed")
    for each in writes:
        print(f"    registrations on a node: {each.load.stop()}")
    until(lambda: len({node.cluster()["applied_index"] for node in nodes}) == 1, "equal nodes", 10)
    lost = sum(each.missing(nodes) for each in writes)
    print(f"    lost of {sum(len(each.acknowledged) for each in writes)}: {lost}")
    if lost:
        fail("acknowledged registrations are lost")
    if any(node.servers().keys() != nodes[0].servers().keys() for node in nodes):
        fail("the nodes' servers differ")
    for number, load in loads.items():
        print(f"    traffic on node {number}: {load.stop()}")
        expect_only(load.outcomes, "200")


def _new() -> dict[str, object]:
    return {"ip": "10.99.0.9", "port": 2, "check": {"type": "tcp"}}


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="a directory for configuration, state and logs")
    options = parser.parse_args()
    end_on_sigterm()
    with TemporaryDirectory() as temporary, network(TWIN):
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        with three(directory) as nodes:
            for who in ("follower", "leader"):
                for copy in (False, True):
                    first = leader(nodes)
                    of = first if who == "leader" else next(n for n in nodes if n is not first)
                    what = "a copy of its files" if copy else "an empty directory"
                    print(f"a twin of the {who}, node {of.number}, with {what}")
                    meet(nodes, of, directory, copy=copy)
                    time.sleep(3)
    return int(Outcome.failed)


if __name__ == "__main__":
    exit_with(main)
