"""
Nodes with bad disks and bad visitors: C{python benchmarks/faults.py}.

As root, on a machine with C{ip}, C{iptables}, C{nsenter}, C{mkfs.ext4} and loop devices.
The nodes run in network namespaces of their own, see L{lab}, and the disks that fail are
made for it. Prints what happened; the exit status is 1 if traffic failed, an
acknowledged registration was lost, a node did not come back, or it spun or grew.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import (
    CLUSTER,
    NODES,
    Load,
    Node,
    Registrations,
    address,
    exit_with,
    leader,
    network,
    running,
    served,
    three,
    traffic,
    until,
)
from namespaces import Outcome, expect_only
from processes import end_on_sigterm, run

CALM = 0.05
"""Of a core, beyond what traffic and checks take: so much may a faulty node use."""

GROWTH = 4096
"""KiB of resident memory that a node may grow by within a scenario."""


class Watch:
    """
    What a node uses from now on.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._began = time.monotonic()
        self._cpu = node.cpu_seconds()
        self._rss = node.rss_kib()
        self._lines = len(node.lines())

    def core(self) -> float:
        """
        How much of a core it has used.
        """
        return (self._node.cpu_seconds() - self._cpu) / (time.monotonic() - self._began)

    def grown(self) -> int:
        """
        By how many KiB it has grown.
        """
        return self._node.rss_kib() - self._rss

    def said(self) -> list[str]:
        """
        What it has logged, but for the states of servers.
        """
        return [
            line
            for line in self._node.lines(self._lines)
            if "alacrity.health" not in line and line.strip()
        ]

    def tell(self, growth: int = GROWTH) -> None:
        """
        @param growth: the KiB that it may have grown by.
        """
        print(f"        {self.core():.1%} of a core, {self.grown():+} KiB of memory, and its log:")
        said = self.said()
        for line in said[:12]:
            print(f"        | {line[:200]}")
        if len(said) > 12:
            print(f"        | and {len(said) - 12} lines more")
        if self.grown() > growth:
            fail("it has grown")


def fail(what: str) -> None:
    print(f"    FAILED: {what}")
    Outcome.failed = True


@contextlib.contextmanager
def tmpfs(path: Path) -> Iterator[None]:
    """
    A disk of 1 MiB.
    """
    path.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], 10)
    try:
        yield
    finally:
        run(["umount", "--lazy", path], 10)


class Disk:
    """
    An ext4 file system that becomes read-only after an error, until it is repaired.
    """

    def __init__(self, path: Path, device: Path) -> None:
        """
        @param path: where it is to be.
        """
        self._path = path
        self._device = device
        self._mount()

    def _mount(self) -> None:
        run(["mount", "-o", "errors=remount-ro", self._device, self._path], 10)

    def fail(self) -> None:
        """
        Have an error.
        """
        Path("/sys/fs/ext4", self._device.name, "trigger_fs_error").write_text("by hand")

    def repair(self) -> None:
        """
        Do what an operator does, once nobody uses it.
        """
        run(["umount", self._path], 10)
        # 1: there was something to repair.
        run(["sh", "-c", 'e2fsck -p "$0" || [ $? = 1 ]', self._device], 20)
        self._mount()

    def allow(self, *, writes: bool) -> None:
        """
        Let nobody change what is on it, not even files that are open; or let them again.
        """
        everything = [self._path, *self._path.glob("raft.log*")]
        run(["chattr", "-i" if writes else "+i", *everything], 10)

    def unmount(self) -> None:
        run(["umount", "--lazy", self._path], 10)


@contextlib.contextmanager
def ext4(path: Path) -> Iterator[Disk]:
    """
    A disk of 16 MiB.
    """
    path.mkdir(parents=True, exist_ok=True)
    image = path.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(16 << 20)
    run(["mkfs.ext4", "-q", image], 20)
    device = Path(run(["losetup", "--find", "--show", image], 10).strip())
    try:
        disk = Disk(path, device)
        try:
            yield disk
        finally:
            disk.unmount()
    finally:
        run(["losetup", "--detach", device], 10)


def fill(directory: Path) -> Path:
    """
    Leave no space.

    @return: the file to remove, for space.
    """
    filler = directory / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    return filler


def full(nodes: list[Node]) -> None:
    """
    Fill up the disk of a follower, then that of the leader.
    """
    for who in ("follower", "leader"):
        victim, rest = _pick(nodes, who)
        print(f"the disk of the {who}, node {victim.number}, is full")
        loads = {node.number: traffic(address(node.number)) for node in nodes}
        writes = Registrations(rest[0])
        watch = Watch(victim)
        filler = fill(victim.state)
        _without_disk(victim, rest)
        watch.tell()
        _calm(victim)
        filler.unlink()
        back = until(lambda victim=victim: victim.cluster()["has_quorum"], "its return", 15)  # type: ignore[misc]
        print(f"    space again: it takes part after {back:.2f} s")
        time.sleep(1)
        _account(nodes, writes, loads)


def unwritable(nodes: list[Node], disks: dict[int, Disk]) -> None:
    """
    Have a follower's files, then the leader's, refuse all changes for a while.
    """
    for who in ("follower", "leader"):
        victim, rest = _pick(nodes, who)
        print(f"the files of the {who}, node {victim.number}, can be read only")
        loads = {node.number: traffic(address(node.number)) for node in nodes}
        writes = Registrations(rest[0], 3600)
        watch = Watch(victim)
        disks[victim.number].allow(writes=False)
        _without_disk(victim, rest)
        watch.tell()
        _calm(victim)
        disks[victim.number].allow(writes=True)
        back = until(lambda victim=victim: victim.cluster()["has_quorum"], "its return", 15)  # type: ignore[misc]
        print(f"    they can be written again: it takes part after {back:.2f} s, as it runs")
        time.sleep(1)
        _account(nodes, writes, loads)


def read_only(nodes: list[Node], disks: dict[int, Disk]) -> None:
    """
    Have a follower's disk become read-only by an error; then repair it.
    """
    victim, rest = _pick(nodes, "follower")
    print(f"the disk of the follower, node {victim.number}, becomes read-only")
    loads = {node.number: traffic(address(node.number)) for node in nodes}
    writes = Registrations(rest[0], 3600)
    watch = Watch(victim)
    disks[victim.number].fail()
    _without_disk(victim, rest)
    watch.tell()
    _calm(victim)
    loads.pop(victim.number).stop()
    victim.kill()
    victim.start()
    status = victim.wait(15)
    print(f"    started again, it ends with status {status}:")
    print(f"        | {victim.lines()[-1][:200]}")
    victim.kill()
    disks[victim.number].repair()
    victim.start()
    back = until(lambda: victim.cluster()["has_quorum"], "its return", 15)
    print(f"    the disk is repaired and mounted: started, it takes part after {back:.2f} s")
    time.sleep(1)
    _account(nodes, writes, loads)


def _calm(victim: Node) -> None:
    """
    See that a node has nothing more to say of its disk, while it cannot write.
    """
    watch = Watch(victim)
    time.sleep(8)
    watch.tell()
    if watch.said():
        fail("it says more than once that it cannot write")


def _pick(nodes: list[Node], who: str) -> tuple[Node, list[Node]]:
    first = leader(nodes)
    victim = first if who == "leader" else next(node for node in nodes if node is not first)
    return victim, [node for node in nodes if node is not victim]


def _without_disk(victim: Node, rest: list[Node]) -> None:
    """
    See a node stop taking part, and the others go on.
    """
    took = until(lambda: victim.cluster()["suspended"] is not None, "its suspension", 20)
    elected = until(lambda: leader(rest) in rest, "a leader that can write", 10)
    print(f"    it stops taking part after {took:.2f} s; another leads {elected:.2f} s later")
    _refused(victim)


def _refused(node: Node) -> None:
    began = time.monotonic()
    new = {"ip": "10.99.0.9", "port": 1, "check": {"type": "tcp"}}
    status, document, fields = node.ask("/servers", new)
    print(
        f"    POST /servers there: {status} after {time.monotonic() - began:.2f} s, "
        f"Retry-After {fields.get('retry-after')}: {document.get('detail')}"
    )


def _account(nodes: list[Node], writes: Registrations, loads: dict[int, Load]) -> None:
    made = writes.load.stop()
    until(lambda: len({node.cluster()["applied_index"] for node in nodes}) == 1, "equal nodes", 10)
    lost = writes.missing(nodes)
    print(f"    registrations on another node: {made}; lost: {lost}")
    if lost:
        fail("acknowledged registrations are lost")
    if any(node.servers().keys() != nodes[0].servers().keys() for node in nodes):
        fail("the nodes' servers differ")
    for number, load in loads.items():
        print(f"    traffic on node {number}: {load.stop()}")
        expect_only(load.outcomes, "200")


def alone(directory: Path) -> None:
    """
    Fill up the disk of a node that is no cluster's.
    """
    print("the disk of a node that is alone is full")
    node = Node(directory, 1, alone=True)
    with tmpfs(node.state), running([node]):
        until(lambda: node.ask("/health")[0] == 200, "a node", 15)
        with served([node]):
            load = traffic(address(1))
            watch = Watch(node)
            filler = fill(node.state)
            while node.ask("/servers", _new())[0] == 201:
                pass
            _refused(node)
            watch.tell()
            watch = Watch(node)
            time.sleep(8)
            watch.tell()
            if watch.said():
                fail("it says more than once that its disk is full")
            before = node.servers()
            filler.unlink()
            back = until(lambda: node.ask("/servers", _new())[0] == 201, "a write", 15)
            print(f"    space again: it can be written after {back:.2f} s")
            if not set(before) <= set(node.servers()):
                fail("servers are lost")
            print(f"    traffic: {load.stop()}")
            expect_only(load.outcomes, "200")


def _new() -> dict[str, object]:
    Registrations.last += 1
    return {"ip": "10.99.0.9", "port": Registrations.last, "check": {"type": "tcp"}}


def visitors(nodes: list[Node]) -> None:
    """
    Have strangers at the cluster's port of the leader.
    """
    victim = leader(nodes)
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
    loads = {node.number: traffic(address(node.number)) for node in nodes}
    before = Watch(victim)
    term = victim.cluster()["term"]
    time.sleep(5)
    usual = before.core()
    print(f"before: {usual:.1%} of a core for traffic")
    for name, act in kinds.items():
        watch = Watch(victim)
        made, error = _visit(victim, act, 8)
        print(f"{made} connections with {name} to node {victim.number}, the leader; {error}")
        watch.tell()
    _hold(victim)
    time.sleep(5)
    watch = Watch(victim)
    time.sleep(5)
    print("calm again:")
    watch.tell()
    if watch.core() > usual + CALM:
        fail("it is not calm")
    print(f"in all: {before.grown():+} KiB of memory, {len(before.said())} lines")
    if leader(nodes) is not victim or victim.cluster()["term"] != term:
        fail("the cluster was disturbed")
    writes = Registrations(victim)
    time.sleep(1)
    _account(nodes, writes, loads)


def _visit(node: Node, act: Callable[[socket.socket], None], seconds: float) -> tuple[int, str]:
    """
    @return: how many connections were made, and the last error.
    """
    over = time.monotonic() + seconds
    made, error = 0, "no error"
    while time.monotonic() < over:
        try:
            with socket.create_connection((address(node.number), CLUSTER), 2) as visitor:
                act(visitor)
                made += 1
        except OSError as fault:
            error = f"an error was {fault}"
    return made, error


def _hold(node: Node) -> None:
    """
    Make many connections, and keep them without a word.
    """
    watch = Watch(node)
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection((address(node.number), CLUSTER), 5))
        held = len(os.listdir(f"/proc/{node.pid}/fd"))
        time.sleep(5)
        print(
            f"1000 connections without a word: {held} descriptors at first, "
            f"{len(os.listdir(f'/proc/{node.pid}/fd'))} after 5 s"
        )
        watch.tell()


def impostors(nodes: list[Node]) -> None:
    """
    Start node 3 anew with a wrong secret; then with an empty disk, and its old secret.
    """
    victim = nodes[2]
    rest = nodes[:2]
    config = victim.directory / "alacrity.toml"
    right = config.read_text()
    wrong = victim.directory / "wrong"
    run([sys.executable, "-m", "alacrity.cluster.secret", wrong], 10)
    victim.kill()
    until(lambda: leader(rest) in rest, "a leader", 10)
    for what, text, state in (
        ("a wrong secret", right.replace(str(victim.directory.parent / "secret"), str(wrong)), ""),
        ("its name and an empty disk", right, "empty"),
    ):
        print(f"node 3 with {what}")
        config.write_text(text)
        if state:
            victim.state = victim.directory / state
        watches = [Watch(node) for node in rest]
        victim.start()
        began = len(victim.lines())
        time.sleep(8)
        for node, watch in zip(rest, watches, strict=True):
            print(f"    node {node.number}")
            watch.tell()
        print("    node 3 says")
        for line in victim.lines(began)[-8:]:
            print(f"        | {line[:200]}")
        print(f"    the cluster there: {victim.cluster()['has_quorum']=}")
        victim.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["full", "read-only", "alone", "visitors", "impostors"]
    parser.add_argument("--only", choices=names, help="one of the scenarios")
    parser.add_argument("--keep", type=Path, help="a directory for configuration, state and logs")
    options = parser.parse_args()
    end_on_sigterm()
    with TemporaryDirectory() as temporary, network(), contextlib.ExitStack() as disks:
        for name in names:
            if options.only not in {None, name}:
                continue
            directory = (options.keep or Path(temporary)) / name
            directory.mkdir(parents=True)
            states = {number: directory / f"n{number}" / "state" for number in NODES}
            if name == "alone":
                alone(directory)
                continue
            found: dict[int, Disk] = {}
            for number, state in states.items():
                if name == "full":
                    disks.enter_context(tmpfs(state))
                elif name == "read-only":
                    found[number] = disks.enter_context(ext4(state))
            with three(directory) as nodes:
                match name:
                    case "full":
                        full(nodes)
                    case "read-only":
                        unwritable(nodes, found)
                        read_only(nodes, found)
                    case "visitors":
                        visitors(nodes)
                    case "impostors":
                        impostors(nodes)
    return int(Outcome.failed)


if __name__ == "__main__":
    exit_with(main)
