"""
Nodes that lose each other, and a virtual IP: C{python -m acceptance.partitions}.

Kills leaders under a virtual IP that keepalived holds; cuts nodes off, both ways and one
way. The exit status is 1 if an acknowledged registration was lost, a request on a node that
was alive failed, two nodes led, or something that had to happen did not.

As root, with Debian's C{iproute2}, C{iptables}, C{keepalived} and C{curl}.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from acceptance.lab.clusters import leading
from acceptance.lab.loads import traffic
from acceptance.lab.namespaces import (
    NODES,
    PROXY,
    VIRTUAL,
    answers_again,
    cut_off,
    heal,
    inside,
    leads_among,
    loads_of,
    namespace,
    network,
    number_of,
    one_that,
    reckon,
    registering,
    the_leader,
    three,
    unregistered,
)
from acceptance.lab.nodes import Node
from acceptance.lab.processes import FileOutput, Process, run
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import play
from acceptance.lab.waiting import wait_until

KEEPALIVED = """\
global_defs {
    enable_script_security
    vrrp_version 3
    script_user nobody
}
vrrp_script alacrity_serves {
    script "/usr/bin/curl -sfo /dev/null -m 1 http://127.0.0.1:8687/health"
    interval 1
    fall 2
    rise 1
}
vrrp_script alacrity_leads {
    script "/usr/bin/curl -sfo /dev/null -m 1 http://127.0.0.1:8687/health/leader"
    interval 1
    fall 1
    rise 1
    weight 50
}
vrrp_instance alacrity {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 0.2
    virtual_ipaddress {
        10.99.0.100/24
    }
    track_script {
        alacrity_serves
        alacrity_leads
    }
}
"""
"""The same on all nodes; it is also in docs/operations.md."""

ROUNDS = 5
"""Leaders that are killed."""


def virtual_ip(directory: Path, report: Report) -> None:
    """
    Kill the leader, again and again: the virtual IP follows the leadership.
    """
    with network(), three(directory) as nodes, keepalived(nodes):
        wait_until(lambda: _is_on_leader(nodes), "the virtual IP on the leader alone")
        report.step(f"the virtual IP is on the leader, {the_leader(nodes).name}")
        for _ in range(ROUNDS):
            _kill_leader(nodes, report)
            time.sleep(2)


def _kill_leader(nodes: list[Node], report: Report) -> None:
    old, rest = one_that(nodes, "leader")
    through = traffic(VIRTUAL, PROXY)
    beside = loads_of(rest)
    time.sleep(1)
    old.kill()
    elected = wait_until(leads_among(rest), "a new leader", 10)
    moved = elected + wait_until(
        lambda: number_of(the_leader(rest)) in _holders(), "the virtual IP on the new leader"
    )
    alone = moved + wait_until(
        lambda: _is_on_leader(rest), "the virtual IP on the new leader alone"
    )
    time.sleep(1)
    report.step(
        f"kill -9 of the leader, {old.name}: new leader after {elected:.2f} s, has the virtual "
        f"IP after {moved:.2f} s, alone after {alone:.2f} s"
    )
    through.stop()
    report.say(f"through the virtual IP: {through}")
    for node, load in beside.items():
        report.traffic(f"on {node.name}", load)
    old.start()
    answers_again(old)


@contextlib.contextmanager
def keepalived(nodes: list[Node]) -> Iterator[None]:
    """
    A keepalived beside each node.
    """
    with contextlib.ExitStack() as stack:
        for node in nodes:
            config = node.directory / "keepalived.conf"
            config.write_text(KEEPALIVED)
            command = inside(
                number_of(node),
                *("keepalived", "--dont-fork", "--log-console", "--log-detail"),
                *("--use-file", config),
                *("--pid", node.directory / "keepalived.pid"),
                *("--vrrp_pid", node.directory / "vrrp.pid"),
            )
            output = FileOutput(node.directory / "keepalived.log")
            stack.enter_context(Process(command, node.directory, output=output))
        yield


def _holders() -> list[int]:
    """
    The numbers of the nodes on which the virtual IP is.
    """
    return [
        number
        for number in NODES
        if f"{VIRTUAL}/" in run(["ip", "-n", namespace(number), "-4", "address"], 10)
    ]


def _is_on_leader(nodes: list[Node]) -> bool:
    """
    True if the virtual IP is on the leader, and nowhere else.
    """
    return _holders() == [number_of(node) for node in leading(nodes)]


def cuts(directory: Path, report: Report) -> None:
    """
    Cut a follower and the leader off, both ways and one way, and heal.
    """
    with network(), three(directory) as nodes:
        for role in ("follower", "leader"):
            for chains in (("INPUT", "OUTPUT"), ("INPUT",), ("OUTPUT",)):
                _cut(nodes, role, chains, report)


def _cut(nodes: list[Node], role: str, chains: tuple[str, ...], report: Report) -> None:
    victim, rest = one_that(nodes, role)
    ways = {2: "both ways", 1: "for what it is sent" if "INPUT" in chains else "for what it sends"}
    report.step(f"the {role}, {victim.name}, is cut off {ways[len(chains)]}")
    terms = [node.cluster()["term"] for node in nodes]
    loads = loads_of(nodes)
    writer = registering(rest[0])
    time.sleep(1)
    cut_off(number_of(victim), *chains)
    begun = time.monotonic()
    took = wait_until(lambda: bool(victim.cluster()["stale"]), "the node cut off says stale", 10)
    report.say(f"it says stale after {took:.2f} s, and that it leads: {victim.says_it_leads()}")
    wait_until(leads_among(rest), "a leader of the majority", 10)
    if role == "leader":
        report.say(f"the others have a new leader after {time.monotonic() - begun:.2f} s")
    asked = time.monotonic()
    answer = victim.call("POST", "/servers", unregistered())
    report.say(
        f"POST /servers there: {answer.status} after {time.monotonic() - asked:.2f} s, "
        f"Retry-After {answer.headers['Retry-After']}"
    )
    stale = victim.call("GET", "/servers").headers["X-Alacrity-Stale"]
    report.say(f"GET /servers there: X-Alacrity-Stale {stale}")
    time.sleep(3)
    leaders = leading(nodes)
    expected = leading(rest)
    heal(number_of(victim))
    report.say(f"after healing, it is back in {answers_again(victim):.2f} s")
    time.sleep(1)
    after = [node.cluster()["term"] for node in nodes]
    names = [node.name for node in leaders]
    report.say(f"leaders during the cut: {names}; terms {terms} before, {after} after")
    if len(leaders) != 1 or leaders != expected:
        report.fail("not exactly one node led")
    reckon(report, nodes, [writer], loads)
    # Checks go on meanwhile, so that two reads may differ for a moment.
    wait_until(lambda: len({_states(node) for node in nodes}) == 1, "equal pools", 15)
    for id in writer.there:
        rest[0].call("DELETE", f"/servers/{id}")


def _states(node: Node) -> frozenset[tuple[str, str]]:
    return frozenset((id, each["state"]) for id, each in node.servers().items())


SCENARIOS = {"virtual-ip": virtual_ip, "cuts": cuts}

if __name__ == "__main__":
    play(__doc__, SCENARIOS)
