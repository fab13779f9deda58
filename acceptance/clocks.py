"""
A node whose clock jumps, with two whose clocks do not: C{python -m acceptance.clocks}.

Jumps the clock of the day alone, and then the monotonic clocks too, while the node leads and
while it follows. The exit status is 1 if requests failed, an acknowledged registration was
lost, two nodes led or none, or the node spun or grew. No machine's monotonic clock goes back:
what the node does all the same is printed, and traffic is not judged.

As root, with Debian's C{iproute2} and C{faketime}, whose library the node is started with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from acceptance.lab.clusters import leading
from acceptance.lab.namespaces import (
    answers_again,
    loads_of,
    network,
    reckon,
    registering,
    three,
)
from acceptance.lab.nodes import Node
from acceptance.lab.processes import Process
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import play
from acceptance.lab.waiting import Broken, wait_until
from acceptance.lab.watches import Watch

LIBRARIES = "usr/lib/*/faketime/libfaketimeMT.so.1"

DAY = 86400
HOUR = 3600

CLOCKS = ("CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME")

KEEP = "[health]\nderegister_after = 0"
"""The servers are down: a leader by whose clock they are so for an hour would remove them."""

SPIN = 0.2
"""
The share of a core, beyond what it takes otherwise, that a node may use after a jump. The
load does as much as it can, so that varies; a node that spins takes all that is left.
"""

LOOK = 6.0
"""Seconds for which a node is watched after a jump."""

_WALL_ONLY = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}
"""
Without the second, the library takes Python's waits for the interpreter's lock, which go by
the monotonic clock, for waits by the faked one: threads take it in turns to spin.
"""

_TELL_CLOCKS = (
    "import time, sys\nfor each in sys.argv[1:]: print(time.clock_gettime(getattr(time, each)))"
)


class FakeClock:
    """
    The clocks of a process, as far as it asks the C library.

    @ivar environment: the variables that the process is started with.
    """

    def __init__(self, directory: Path, library: Path, *, monotonic: bool) -> None:
        """
        @param monotonic: whether the clocks that cannot be set jump too.
        """
        self._directory = directory
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
        Set them to differ from the machine's by so many seconds from now on.
        """
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.replace(self._file)

    def differences(self) -> str:
        """
        The seconds by which each clock differs from the machine's.
        """
        command = [sys.executable, "-c", _TELL_CLOCKS, *CLOCKS]
        asked = Process(command, self._directory, environment=self.environment).start()
        asked.ended()
        own = [time.clock_gettime(getattr(time, name)) for name in CLOCKS]
        theirs = map(float, asked.log.split())
        asked.stop()
        return ", ".join(
            f"{name} {there - here:+.0f} s"
            for name, here, there in zip(CLOCKS, own, theirs, strict=True)
        )


def jump(nodes: list[Node], clock: FakeClock, offset: int, usual: float, report: Report) -> None:
    """
    Have the clock of the last node jump, and see that nothing comes of it.

    @param usual: the share of a core that the node uses otherwise.
    """
    victim = nodes[-1]
    loads = loads_of(nodes)
    writers = [registering(node, interval=HOUR) for node in nodes]
    time.sleep(1)
    term = victim.cluster()["term"]
    watch = Watch(victim)
    clock.jump_to(offset)
    time.sleep(LOOK)
    core = watch.core()
    watch.tell(report)
    if core > usual + SPIN:
        report.fail(f"it is not calm: {usual:.1%} of a core before")
    took = wait_until(lambda: len(leading(nodes)) == 1, "one leader", 10)
    report.say(
        f"one leader, {leading(nodes)[0].name} (found in {took:.2f} s); term {term} before, "
        f"{victim.cluster()['term']} now"
    )
    load = loads.pop(victim)
    reckon(report, nodes, writers, loads)
    # A request under way is as old as the clock says.
    report.traffic(f"on {victim.name}", load, spared=int(offset >= 0))


def lead(nodes: list[Node], role: str) -> None:
    """
    Have the last node lead, or the first.

    @param role: the last node's: C{leader} or C{follower}.
    """
    wanted = nodes[-1 if role == "leader" else 0]

    def does() -> bool:
        if leading(nodes) == [wanted]:
            return True
        nodes[0].call("POST", "/cluster/leader", {"name": wanted.cluster()["name"]})
        return False

    wait_until(does, "the leader that was asked for")
    for node in nodes:
        answers_again(node)


def usual_core(nodes: list[Node]) -> float:
    """
    The share of a core that the last node uses while nothing jumps, with the same to do.
    """
    loads = loads_of(nodes)
    writers = [registering(node, interval=HOUR) for node in nodes]
    time.sleep(1)
    watch = Watch(nodes[-1])
    time.sleep(LOOK)
    core = watch.core()
    for each in (*writers, *loads.values()):
        each.stop()
    return core


def jump_back(nodes: list[Node], clock: FakeClock, offset: int, report: Report) -> None:
    """
    Have the monotonic clocks of the last node go back, and forth again.
    """
    victim = nodes[-1]
    loads = loads_of(nodes)
    writer = registering(nodes[0], interval=HOUR)
    watch = Watch(victim)
    clock.jump_to(offset - HOUR)
    time.sleep(LOOK)
    watch.tell(report)
    others = [node.name for node in leading(nodes[:-1])]
    own = victim.cluster()
    report.say(f"leading now: {others} of the others; by its own account it is {own['role']}")
    report.say(f"stale by its own account: {own['stale']}")
    clock.jump_to(offset)
    back = sum(answers_again(node) for node in nodes)
    wait_until(lambda: len(leading(nodes)) == 1, "one leader", 10)
    report.say(f"its clock is right again: all follow one leader after {back:.2f} s")
    reckon(report, nodes, [writer], {})
    for node, load in loads.items():
        load.stop()
        report.say(f"traffic on {node.name}: {load}")


def clocks(directory: Path, report: Report, *, monotonic: bool) -> None:
    """
    Jump about with the clocks of the last node.

    @param monotonic: whether the clocks that cannot be set jump too.
    """
    library = next(iter(Path("/").glob(LIBRARIES)), None)
    if library is None:
        raise Broken(f"there is no /{LIBRARIES}: apt-get install faketime")
    with network(), three(directory, KEEP) as nodes:
        victim = nodes[-1]
        clock = FakeClock(victim.directory, library, monotonic=monotonic)
        victim.kill()
        victim.start(environment=clock.environment)
        answers_again(victim)
        offset = 0
        for role in ("leader", "follower"):
            lead(nodes, role)
            usual = usual_core(nodes)
            report.step(f"{victim.name}, the {role}, uses {usual:.1%} of a core with this to do")
            for by in (HOUR,) if monotonic else (DAY, -2 * DAY, DAY):
                lead(nodes, role)
                offset += by
                report.step(f"the {role}'s clock jumps by {by:+d} s")
                jump(nodes, clock, offset, usual, report)
                report.say(f"its clocks against the machine's: {clock.differences()}")
            if monotonic:
                lead(nodes, role)
                report.step(f"the {role}'s clocks go back by {HOUR} s, which no machine's do")
                jump_back(nodes, clock, offset, report)


SCENARIOS = {
    "wall": partial(clocks, monotonic=False),
    "monotonic": partial(clocks, monotonic=True),
}

if __name__ == "__main__":
    play(__doc__, SCENARIOS)
