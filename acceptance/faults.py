"""
Nodes with bad disks and bad visitors: C{python -m acceptance.faults}.

Full and read-only disks that become writable again, garbage on the cluster's port, a wrong
secret, a name twice. The exit status is 1 if a request failed, an acknowledged registration
was lost, a node did not come back, or it spun, grew or filled its log.

As root, with Debian's C{iproute2}, C{iptables} and C{e2fsprogs}, and loop devices.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from acceptance.lab.disks import Disk, ext4, fill, tmpfs
from acceptance.lab.loads import Writer, traffic
from acceptance.lab.namespaces import (
    CLUSTER,
    HUB_ADDRESS,
    NODES,
    PROXY,
    answers_again,
    leads_among,
    loads_of,
    make_node,
    network,
    one_that,
    reckon,
    registering,
    running,
    served,
    the_leader,
    three,
    unregistered,
)
from acceptance.lab.nodes import Node
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import play
from acceptance.lab.waiting import wait_until
from acceptance.lab.watches import Watch, show
from alacrity.cluster import secret

CALM = 0.05
"""The share of a core, beyond what traffic and checks take, that a faulty node may use."""

ROLES = ("follower", "leader")
HOUR = 3600


def full(directory: Path, report: Report) -> None:
    """
    Fill up the disk of a follower, then that of the leader.
    """
    with network(), contextlib.ExitStack() as disks:
        for place in _states(directory).values():
            disks.enter_context(tmpfs(place))
        with three(directory) as nodes:
            for role in ROLES:
                victim, rest = one_that(nodes, role)
                report.step(f"the disk of the {role}, {victim.name}, is full")
                loads = loads_of(nodes)
                writer = registering(rest[0])
                watch = Watch(victim)
                filler = fill(victim.state)
                _without_disk(victim, rest, report)
                watch.tell(report)
                _calm(victim, report)
                filler.unlink()
                report.say(f"space again: it takes part after {answers_again(victim):.2f} s")
                time.sleep(1)
                reckon(report, nodes, [writer], loads)


def read_only(directory: Path, report: Report) -> None:
    """
    Have files refuse all changes for a while; then a disk become read-only by an error.
    """
    with network(), contextlib.ExitStack() as stack:
        disks = {name: stack.enter_context(ext4(at)) for name, at in _states(directory).items()}
        with three(directory) as nodes:
            for role in ROLES:
                _unwritable(nodes, role, disks, report)
            _broken_disk(nodes, disks, report)


def _states(directory: Path) -> dict[str, Path]:
    """
    The directories in which the nodes will keep their state, by name.
    """
    return {f"n{number}": directory / f"n{number}" / "alacrity-state" for number in NODES}


def _unwritable(nodes: list[Node], role: str, disks: dict[str, Disk], report: Report) -> None:
    victim, rest = one_that(nodes, role)
    report.step(f"the files of the {role}, {victim.name}, can be read only")
    loads = loads_of(nodes)
    writer = registering(rest[0], interval=HOUR)
    watch = Watch(victim)
    disks[victim.name].allow(writes=False)
    _without_disk(victim, rest, report)
    watch.tell(report)
    _calm(victim, report)
    disks[victim.name].allow(writes=True)
    back = answers_again(victim)
    report.say(f"they can be written again: it takes part after {back:.2f} s, as it runs")
    time.sleep(1)
    reckon(report, nodes, [writer], loads)


def _broken_disk(nodes: list[Node], disks: dict[str, Disk], report: Report) -> None:
    victim, rest = one_that(nodes, "follower")
    report.step(f"the disk of the follower, {victim.name}, becomes read-only")
    loads = loads_of(nodes)
    writer = registering(rest[0], interval=HOUR)
    watch = Watch(victim)
    disks[victim.name].fail()
    _without_disk(victim, rest, report)
    watch.tell(report)
    _calm(victim, report)
    loads.pop(victim).stop()
    victim.kill()
    status = victim.start().ended()
    report.say(f"started again, it ends with status {status}:")
    show(report, victim.log.splitlines()[-1:])
    disks[victim.name].repair()
    victim.start()
    back = answers_again(victim)
    report.say(f"the disk is repaired and mounted: started, it takes part after {back:.2f} s")
    time.sleep(1)
    reckon(report, nodes, [writer], loads)


def _without_disk(victim: Node, rest: list[Node], report: Report) -> None:
    """
    See a node stop taking part, and the others go on.
    """
    took = wait_until(lambda: victim.cluster()["suspended"] is not None, "its suspension")
    elected = wait_until(leads_among(rest), "a leader that can write", 10)
    report.say(f"it stops taking part after {took:.2f} s; another leads {elected:.2f} s later")
    _refused(victim, report)


def _refused(node: Node, report: Report) -> None:
    began = time.monotonic()
    answer = node.call("POST", "/servers", unregistered())
    report.say(
        f"POST /servers there: {answer.status} after {time.monotonic() - began:.2f} s, "
        f"Retry-After {answer.headers['Retry-After']}: {answer.json().get('detail')}"
    )


def _calm(victim: Node, report: Report) -> None:
    """
    See that a node has nothing more to say of its disk, while it cannot write.
    """
    watch = Watch(victim)
    time.sleep(8)
    watch.tell(report)
    if watch.said():
        report.fail("it says more than once that it cannot write")


def alone(directory: Path, report: Report) -> None:
    """
    Fill up the disk of a node that is in no cluster.
    """
    report.step("the disk of a node that is alone is full")
    with network():
        node = make_node(directory, 1, alone=True)
        with tmpfs(node.state), running([node]), served([node.started()]):
            load = traffic(node.host, PROXY)
            watch = Watch(node)
            filler = fill(node.state)
            writer = Writer(node, ip=HUB_ADDRESS, pause=0.0).start()
            wait_until(lambda: writer.count > writer.acknowledged, "a refusal")
            writer.stop()
            _refused(node, report)
            watch.tell(report)
            _calm(node, report)
            filler.unlink()
            before = writer.acknowledged
            writer.start()
            back = wait_until(lambda: writer.acknowledged > before, "a write")
            writer.stop()
            report.say(f"space again: it can be written after {back:.2f} s")
            lost = writer.lost([node])
            report.say(f"lost of {writer.acknowledged} servers: {lost}")
            if lost:
                report.fail("servers are lost")
            report.traffic("there", load)


def visitors(directory: Path, report: Report) -> None:
    """
    Have strangers at the cluster's port of the leader.
    """
    kinds: dict[str, Callable[[socket.socket], None]] = {
        "connect and close": lambda s: None,
        "random bytes": lambda s: s.sendall(random.randbytes(4096)),
        "a huge length": lambda s: s.sendall(b"\xff\xff\xff\xff" + bytes(1000)),
        "half a frame": lambda s: s.sendall(b"\x00\x00\x01\x00abc"),
        "an HTTP request": lambda s: s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        "a reset": lambda s: s.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        ),
    }
    with network(), three(directory) as nodes:
        victim = the_leader(nodes)
        loads = loads_of(nodes)
        in_all = Watch(victim)
        term = victim.cluster()["term"]
        time.sleep(5)
        usual = in_all.core()
        report.step(f"before: {usual:.1%} of a core for traffic")
        for name, act in kinds.items():
            watch = Watch(victim)
            made, error = _visit(victim, act, 8)
            report.step(f"{made} connections with {name} to {victim.name}, the leader; {error}")
            watch.tell(report)
        _hold(victim, report)
        time.sleep(5)
        watch = Watch(victim)
        time.sleep(5)
        report.step("calm again:")
        watch.tell(report)
        if watch.core() > usual + CALM:
            report.fail("it is not calm")
        report.step(f"in all: {in_all.grown():+} KiB of memory, {len(in_all.said())} lines")
        if the_leader(nodes) is not victim or victim.cluster()["term"] != term:
            report.fail("the cluster was disturbed")
        writer = registering(victim)
        time.sleep(1)
        reckon(report, nodes, [writer], loads)


def _visit(node: Node, act: Callable[[socket.socket], None], seconds: float) -> tuple[int, str]:
    """
    Make one connection after another.

    @return: how many were made, and the last error.
    """
    over = time.monotonic() + seconds
    made, error = 0, "no error"
    while time.monotonic() < over:
        try:
            with socket.create_connection((node.host, CLUSTER), 2) as visitor:
                act(visitor)
                made += 1
        except OSError as fault:
            error = f"an error was {fault}"
    return made, error


def _hold(node: Node, report: Report) -> None:
    """
    Make many connections, and keep them without a word.
    """
    watch = Watch(node)
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection((node.host, CLUSTER), 5))
        held = node.descriptors()
        time.sleep(5)
        report.step(
            f"1000 connections without a word: {held} descriptors at first, "
            f"{node.descriptors()} after 5 s"
        )
        watch.tell(report)


def impostors(directory: Path, report: Report) -> None:
    """
    Start node 3 anew with a wrong secret; then with an empty disk, and its old secret.
    """
    with network(), three(directory) as nodes:
        victim, rest = nodes[2], nodes[:2]
        right = victim.configuration
        wrong = victim.directory / "wrong"
        secret.create(wrong)
        victim.kill()
        wait_until(leads_among(rest), "a leader", 10)
        for what, configuration, options in (
            ("a wrong secret", right.replace(str(directory / "secret"), str(wrong)), ()),
            ("its name and an empty disk", right, ("--state-dir=empty",)),
        ):
            report.step(f"{victim.name} with {what}")
            victim.configure(configuration)
            watches = {node: Watch(node) for node in rest}
            victim.started(*options)
            time.sleep(8)
            for node, watch in watches.items():
                report.say(node.name)
                watch.tell(report)
            report.say(f"{victim.name} says")
            show(report, [line.partition(" ")[2] for line in victim.log.splitlines()[-8:]])
            quorum = victim.cluster()["has_quorum"]
            report.say(f"the cluster there: has_quorum is {quorum}")
            if quorum:
                report.fail("it is let in")
            victim.kill()


SCENARIOS = {
    "full": full,
    "read-only": read_only,
    "alone": alone,
    "visitors": visitors,
    "impostors": impostors,
}

if __name__ == "__main__":
    play(__doc__, SCENARIOS)
