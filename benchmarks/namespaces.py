"""
Three nodes that lose each other, and a virtual IP: C{python benchmarks/namespaces.py}.

As root, on a machine with C{ip}, C{iptables}, C{nsenter} and Debian's C{keepalived}.
Everything happens in network namespaces of its own, see L{lab}. Prints what happened;
the exit status is 1 if an acknowledged registration was lost, a request on a node that
was alive failed, or something that had to happen did not.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import (
    NODES,
    VIRTUAL,
    Node,
    Registrations,
    address,
    cut_off,
    exit_with,
    heal,
    inside,
    leader,
    namespace,
    network,
    three,
    traffic,
    until,
)
from processes import end_on_sigterm, run

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


def virtual_ip(nodes: list[Node]) -> None:
    """
    Kill the leader, again and again: the virtual IP follows the leadership.
    """
    with keepalived(nodes):
        until(lambda: _holders() == [leader(nodes).number], "the virtual IP on the leader", 20)
        print(f"the virtual IP is on the leader, node {leader(nodes).number}")
        for _ in range(ROUNDS):
            old = leader(nodes)
            rest = [node for node in nodes if node is not old]
            through = traffic(VIRTUAL)
            beside = [traffic(address(node.number)) for node in rest]
            time.sleep(1)
            old.kill()
            elected = until(lambda rest=rest, old=old: leader(rest) is not old, "a new leader", 10)  # type: ignore[misc]
            moved = elected + until(
                lambda rest=rest: leader(rest).number in _holders(),  # type: ignore[misc]
                "the virtual IP on the new leader",
                15,
            )
            alone = moved + until(
                lambda rest=rest: _holders() == [leader(rest).number],  # type: ignore[misc]
                "the virtual IP on the new leader alone",
                15,
            )
            time.sleep(1)
            print(
                f"kill -9 of leader {old.number}: new leader after {elected:.2f} s, has the virtual "
                f"IP after {moved:.2f} s, alone after {alone:.2f} s"
            )
            print(f"    through the virtual IP: {through.stop()}")
            for load in beside:
                print(f"    on a node that was alive: {load.stop()}")
                expect_only(load.outcomes, "200")
            old.start()
            until(lambda old=old: old.cluster()["has_quorum"], "the old leader's return", 15)  # type: ignore[misc]
            time.sleep(2)


@contextlib.contextmanager
def keepalived(nodes: list[Node]) -> Iterator[None]:
    """
    Run one on each node.
    """
    processes = []
    try:
        for node in nodes:
            config = node.directory / "keepalived.conf"
            config.write_text(KEEPALIVED)
            with (node.directory / "keepalived.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        inside(
                            node.number,
                            *("keepalived", "--dont-fork", "--log-console", "--log-detail"),
                            *("--use-file", config),
                            *("--pid", node.directory / "keepalived.pid"),
                            *("--vrrp_pid", node.directory / "vrrp.pid"),
                        ),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
                )
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


def _holders() -> list[int]:
    """
    The nodes on which the virtual IP is.
    """
    return [
        number
        for number in NODES
        if f"{VIRTUAL}/" in run(["ip", "-n", namespace(number), "-4", "address"], 10)
    ]


def cuts(nodes: list[Node]) -> None:
    """
    Cut a follower and the leader off, both ways and one way, and heal.
    """
    for who in ("follower", "leader"):
        for chains in (("INPUT", "OUTPUT"), ("INPUT",), ("OUTPUT",)):
            first = leader(nodes)
            victim = first if who == "leader" else next(n for n in nodes if n is not first)
            _cut(nodes, victim, chains, who)


def _cut(nodes: list[Node], victim: Node, chains: tuple[str, ...], who: str) -> None:
    ways = {2: "both ways", 1: "for what it is sent" if "INPUT" in chains else "for what it sends"}
    print(f"the {who}, node {victim.number}, is cut off {ways[len(chains)]}")
    rest = [node for node in nodes if node is not victim]
    terms = [node.cluster()["term"] for node in nodes]
    loads = {node.number: traffic(address(node.number)) for node in nodes}
    writes = Registrations(rest[0])
    time.sleep(1)
    cut_off(victim.number, *chains)
    begun = time.monotonic()
    took = until(lambda: bool(victim.cluster()["stale"]), "staleness of the node cut off", 10)
    led = victim.ask("/health/leader")[0]
    print(f"    it says stale after {took:.2f} s; its GET /health/leader: {led}")
    until(lambda: leader(rest) is not victim, "a leader of the majority", 10)
    elected = time.monotonic() - begun
    if who == "leader":
        print(f"    the others have a new leader after {elected:.2f} s")
    asked = time.monotonic()
    new = {"ip": "10.99.0.9", "port": 1, "check": {"type": "tcp"}}
    status, _, fields = victim.ask("/servers", new)
    print(
        f"    POST /servers there: {status} after {time.monotonic() - asked:.2f} s, "
        f"Retry-After {fields.get('retry-after')}"
    )
    fields = victim.ask("/servers")[2]
    print(f"    GET /servers there: X-Alacrity-Stale {fields.get('x-alacrity-stale')}")
    time.sleep(3)
    leaders = [node.number for node in nodes if node.ask("/health/leader")[0] == 200]
    heal(victim.number)
    healed = until(lambda: victim.cluster()["has_quorum"], "the healed node with the others", 15)
    time.sleep(1)
    made = writes.load.stop()
    caught = until(
        lambda: len({node.cluster()["applied_index"] for node in nodes}) == 1, "equal nodes", 10
    )
    print(f"    after healing, it is back in {healed:.2f} s; equal {caught:.2f} s after the load")
    after = [node.cluster()["term"] for node in nodes]
    print(f"    leaders during the cut: {leaders}; terms {terms} before, {after} after")
    lost = writes.missing(nodes)
    print(f"    registrations on node {rest[0].number}: {made}; lost: {lost}")
    for number, load in loads.items():
        print(f"    traffic on node {number}: {load.stop()}")
        expect_only(load.outcomes, "200")
    if lost or leaders != [leader(rest).number]:
        print("    FAILED: registrations are lost, or not exactly one node led")
        Outcome.failed = True
    # Checks go on meanwhile, so that two reads may differ for a moment.
    until(lambda: len({_states(node) for node in nodes}) == 1, "equal pools", 15)
    for each in rest[0].servers().values():
        if each["port"] != "9000":
            rest[0].ask(f"/servers/{each['id']}", method="DELETE")


def _states(node: Node) -> frozenset[tuple[str, str]]:
    return frozenset((id, each["state"]) for id, each in node.servers().items())


class Outcome:
    """
    Whether something went wrong so far.
    """

    failed = False


def expect_only(outcomes: dict[str, int], wanted: str) -> None:
    """
    Note it if there was anything else.
    """
    if set(outcomes) != {wanted}:
        print(f"    FAILED: other than {wanted}")
        Outcome.failed = True


SCENARIOS: dict[str, Callable[[list[Node]], None]] = {"virtual-ip": virtual_ip, "cuts": cuts}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(SCENARIOS), help="one of the scenarios")
    parser.add_argument("--keep", type=Path, help="a directory for configuration, state and logs")
    options = parser.parse_args()
    end_on_sigterm()
    with TemporaryDirectory() as temporary, network():
        for name, scenario in SCENARIOS.items():
            if options.only not in {None, name}:
                continue
            directory = (options.keep or Path(temporary)) / name
            directory.mkdir(parents=True)
            with three(directory) as nodes:
                scenario(nodes)
    return int(Outcome.failed)


if __name__ == "__main__":
    exit_with(main)
