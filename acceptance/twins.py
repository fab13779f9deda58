"""
Two live nodes of one name: C{python -m acceptance.twins}.

Three nodes run; a fourth process, on an address of its own, has the name of one of them,
and the secret: with an empty directory, and with a copy of that node's, as from a restored
image. The exit status is 1 if a request failed, an acknowledged registration was lost,
states differ, the leader changed, or a node spun, grew or filled its log.

As root, with Debian's C{iproute2}.
"""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

from acceptance.lab.namespaces import (
    CLUSTER,
    loads_of,
    make_node,
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
from acceptance.lab.watches import GROWTH, Watch, show

TWIN = 4
"""The number of its namespace and address."""

LOOK = 30.0
"""Seconds for which both run."""

LINES = 12
"""Lines that a node may log meanwhile."""

EACH = 4
"""KiB of memory that a registered server may take."""


def twins(role: str, directory: Path, report: Report) -> None:
    """
    Have a node meet a twin with an empty directory, and one with a copy of its files.

    @param role: the node's.
    """
    with network(TWIN), three(directory) as nodes:
        for copy in (False, True):
            of, _ = one_that(nodes, role)
            what = "a copy of its files" if copy else "an empty directory"
            report.step(f"a twin of the {role}, {of.name}, with {what}")
            _meet(nodes, of, directory, report, copy=copy)
            time.sleep(3)


def _meet(nodes: list[Node], of: Node, directory: Path, report: Report, *, copy: bool) -> None:
    twin = make_node(directory, TWIN, extra=f'advertise = "{of.host}:{CLUSTER}"')
    if twin.state.exists():
        shutil.rmtree(twin.state)
    if copy:
        # As an image has it: the node runs.
        shutil.copytree(of.state, twin.state)
    first = the_leader(nodes)
    term = first.cluster()["term"]
    loads = loads_of(nodes)
    writers = [registering(node, interval=3600) for node in nodes]
    watches = {node: Watch(node) for node in nodes}
    try:
        twin.started()
        time.sleep(LOOK)
        own = twin.cluster()
        refusal = twin.call("POST", "/servers", unregistered()).status
        report.say(
            f"it, of itself: {own['role']}, leader {own['leader']}, stale {own['stale']}; "
            f"POST /servers there: {refusal}"
        )
        said = [line for line in twin.log.splitlines() if "alacrity.cluster" in line]
        report.say(f"it logs {len(said)} lines of the cluster")
        show(report, [line.partition(" ")[2] for line in said], 8)
        for node, watch in watches.items():
            report.say(node.name)
            watch.tell(report, GROWTH + EACH * sum(writer.acknowledged for writer in writers))
            if len(watch.said()) > LINES:
                report.fail("it fills its log")
    finally:
        twin.kill()
    now = the_leader(nodes)
    report.say(f"leader {first.name} in term {term}; now {now.name} in {now.cluster()['term']}")
    if (now, now.cluster()["term"]) != (first, term):
        report.fail("the cluster was disturbed")
    reckon(report, nodes, writers, loads)


SCENARIOS = {"follower": partial(twins, "follower"), "leader": partial(twins, "leader")}

if __name__ == "__main__":
    play(__doc__, SCENARIOS)
