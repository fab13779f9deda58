"""
A node whose clock jumps, with two whose clocks do not: C{python benchmarks/clocks.py}.

As root, as for L{lab}, and with Debian's C{faketime}, whose library the node is started
with. Jumps the clock of the day alone, and then the monotonic clocks too, while the node
leads and while it follows. Prints what happened; the exit status is 1 if traffic failed, an
acknowledged registration was lost, two nodes led or none, or the node spun or grew.

No machine's monotonic clock goes back. What the node does all the same is printed, and
not judged.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from faults import Watch, fail
from lab import Load, Node, Registrations, address, exit_with, network, three, traffic, until
from namespaces import Outcome
from processes import Broken, end_on_sigterm

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"

DAY = 86400
HOUR = 3600

CLOCKS = ("CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME")

KEEP = "[health]\nderegister_after = 0"
"""The servers are down: a leader by whose clock they are so for an hour would remove them."""

SPIN = 0.2
"""
Of a core, beyond what it takes otherwise. The load does as much as it can, so that varies;
a node that spins takes all that is left.
"""

LOOK = 6.0
"""Seconds for which a node is watched after a jump."""

_WALL_ONLY = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}
"""
Without the second, the library takes Python's waits for the interpreter's lock, which go by
the monotonic clock, for waits by the faked one: threads take it in turns to spin.
"""


class Clock:
    """
    The clocks of a process, as far as it asks the C library.

    @ivar environment: what the process is started with.
    """

    def __init__(self, directory: Path, library: Path, *, monotonic: bool) -> None:
        """
        @param monotonic: whether the clocks jump that cannot be set, too.
        """
        self._file = directory / "offset"
        self.jump_to(0)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            **({} if monotonic else _WALL_ONLY),
        }

    def jump_to(self, offset: int) -> None:
        """
        Have them differ from the machine's by so many seconds from now on.
        """
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.replace(self._file)

    def faked(self) -> dict[str, float]:
        """
        By how much which clock of a process differs from the machine's.
        """
        script = (
            "import time, sys\n"
            "for each in sys.argv[1:]: print(time.clock_gettime(getattr(time, each)))"
        )
        answer = subprocess.run(
            [sys.executable, "-c", script, *CLOCKS],
            env=self.environment,
            check=True,
            capture_output=True,
            timeout=10,
        )
        return {
            name: float(line) - time.clock_gettime(getattr(time, name))
            for name, line in zip(CLOCKS, answer.stdout.split(), strict=True)
        }


def judge(nodes: list[Node], who: str, clock: Clock, offset: int, usual: float) -> None:
    """
    Have the clock of the last node jump, and see that nothing comes of it.

    @param who: the node is.
    @param usual: how much of a core it uses otherwise.
    """
    victim = nodes[-1]
    loads = _loads(nodes)
    writes = [Registrations(node, HOUR) for node in nodes]
    time.sleep(1)
    term = victim.cluster()["term"]
    watch = Watch(victim)
    clock.jump_to(offset)
    time.sleep(LOOK)
    core = watch.core()
    watch.tell()
    if core > usual + SPIN:
        fail(f"it is not calm: {usual:.1%} of a core before")
    took = until(lambda: len(_leading(nodes)) == 1, "one leader", 10)
    (first,) = _leading(nodes)
    print(
        f"    one leader, node {first} (found in {took:.2f} s); term {term} before, "
        f"{victim.cluster()['term']} now; the node was the {who}"
    )
    lost = 0
    made = [each.load.stop() for each in writes]
    _equal(nodes)
    for node, each, what in zip(nodes, writes, made, strict=True):
        lost += each.missing(nodes)
        print(f"    registrations on node {node.number}: {what}")
    print(f"    lost of {sum(len(each.acknowledged) for each in writes)}: {lost}")
    if lost:
        fail("acknowledged registrations are lost")
    for number, load in loads.items():
        print(f"    traffic on node {number}: {load.stop()}")
        faults = load.outcomes.total() - load.outcomes["200"]
        # A request under way is as old as the clock says.
        if faults > (number == victim.number and offset >= 0):
            fail("requests failed")


def _loads(nodes: list[Node]) -> dict[int, Load]:
    return {node.number: traffic(address(node.number)) for node in nodes}


def _leading(nodes: list[Node]) -> list[int]:
    return [node.number for node in nodes if node.ask("/health/leader", timeout=2)[0] == 200]


def _equal(nodes: list[Node]) -> None:
    """
    Wait until all nodes have applied the same, and see that they hold the same.
    """
    until(lambda: len({node.cluster()["applied_index"] for node in nodes}) == 1, "equal nodes", 10)
    if any(node.servers().keys() != nodes[0].servers().keys() for node in nodes):
        fail("the nodes' servers differ")


def lead(nodes: list[Node], *, last: bool) -> None:
    """
    Have the last node lead, or the first.
    """
    wanted = nodes[-1 if last else 0]

    def does() -> bool:
        if _leading(nodes) == [wanted.number]:
            return True
        name = wanted.cluster()["name"]
        nodes[0].ask("/cluster/leader", {"name": name})
        return False

    until(does, "the leader that was asked for", 20)
    until(lambda: all(node.cluster()["has_quorum"] for node in nodes), "all of them", 10)


def usual_core(nodes: list[Node]) -> float:
    """
    How much of a core the last node uses while nothing jumps, with the same to do.
    """
    loads = _loads(nodes)
    writes = [Registrations(node, HOUR) for node in nodes]
    time.sleep(1)
    watch = Watch(nodes[-1])
    time.sleep(LOOK)
    core = watch.core()
    for each in writes:
        each.load.stop()
    for load in loads.values():
        load.stop()
    return core


def backward(nodes: list[Node], who: str, clock: Clock, offset: int) -> None:
    """
    Have the monotonic clocks of the last node go back, and forth again.
    """
    victim = nodes[-1]
    loads = _loads(nodes)
    writes = Registrations(nodes[0], HOUR)
    watch = Watch(victim)
    clock.jump_to(offset - HOUR)
    time.sleep(LOOK)
    watch.tell()
    print(f"    it was the {who}; leading now: {_leading(nodes[:-1])} of the others")
    print(f"    its own view: {victim.cluster()['role']}, stale {victim.cluster()['stale']}")
    clock.jump_to(offset)
    back = until(lambda: all(each.cluster()["has_quorum"] for each in nodes), "its return", 20)
    until(lambda: len(_leading(nodes)) == 1, "one leader", 10)
    print(f"    its clock is right again: all follow one leader after {back:.2f} s")
    print(f"    registrations on node 1: {writes.load.stop()}")
    _equal(nodes)
    if writes.missing(nodes):
        fail("acknowledged registrations are lost")
    for number, load in loads.items():
        print(f"    traffic on node {number}: {load.stop()}")


def play(nodes: list[Node], library: Path, *, monotonic: bool) -> None:
    """
    Jump about with the clocks of the last node.
    """
    victim = nodes[-1]
    clock = Clock(victim.directory, library, monotonic=monotonic)
    victim.kill()
    victim.start(environment=clock.environment)
    until(lambda: victim.cluster()["has_quorum"], "its start", 20)
    offset = 0
    for who in ("leader", "follower"):
        lead(nodes, last=who == "leader")
        usual = usual_core(nodes)
        print(f"node {victim.number}, the {who}, uses {usual:.1%} of a core with this to do")
        for jump in (HOUR,) if monotonic else (DAY, -2 * DAY, DAY):
            lead(nodes, last=who == "leader")
            offset += jump
            print(f"the {who}'s clock jumps by {jump:+d} s")
            judge(nodes, who, clock, offset, usual)
            faked = ", ".join(f"{name} {by:+.0f} s" for name, by in clock.faked().items())
            print(f"    its clocks against the machine's: {faked}")
        if monotonic:
            lead(nodes, last=who == "leader")
            print(f"the {who}'s clocks go back by {HOUR} s, which no machine's do")
            backward(nodes, who, clock, offset)


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["wall", "monotonic"], help="one kind of clock")
    parser.add_argument("--keep", type=Path, help="a directory for configuration, state and logs")
    options = parser.parse_args()
    end_on_sigterm()
    library = next(iter(Path("/").glob(LIBRARIES.removeprefix("/"))), None)
    if library is None:
        raise Broken(f"there is no {LIBRARIES}: apt-get install faketime")
    with TemporaryDirectory() as temporary, network():
        for name in ("wall", "monotonic"):
            if options.only in {None, name}:
                directory = (options.keep or Path(temporary)) / name
                directory.mkdir(parents=True)
                with three(directory, KEEP) as nodes:
                    play(nodes, library, monotonic=name == "monotonic")
    return int(Outcome.failed)


if __name__ == "__main__":
    exit_with(main)
