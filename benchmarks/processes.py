"""
Starting, measuring and stopping the processes of a benchmark.

Whatever is started here runs in a session of its own, so that Ctrl-C reaches the
benchmark alone, which then stops it by its id.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

PROXY_CORE = 0
LOAD_CORE = 1
HOST = "127.0.0.1"

_TICKS = os.sysconf("SC_CLK_TCK")
_LOG_TAIL = 15


class Broken(Exception):
    """
    A process did not do its part; the message says which, and shows the end of its log.
    """


class Child:
    """
    A running process.

    @ivar name: for messages.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        """
        @param log: where it writes what it has to say.
        """
        self.name = name
        self._process = process
        self._log = log

    def expect_alive(self) -> None:
        """
        @raise Broken: it has ended.
        """
        status = self._process.poll()
        if status is not None:
            raise self.broken(f"ended with status {status}")

    def broken(self, what: str) -> Broken:
        """
        Make an error of what happened to it.
        """
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        return Broken(
            f"{self.name} {what}; the end of its log:\n"
            + "\n".join(f"    {line}" for line in lines or ["(empty)"])
        )

    def cpu_seconds(self) -> float:
        """
        User and system time used so far, by it and the processes under it.
        """
        return sum(ticks for _, ticks in self._tree().values()) / _TICKS

    def rss_bytes(self) -> int:
        """
        Resident memory, of it and the processes under it.
        """
        total = 0
        for pid in self._tree():
            # Unlike statm, which lags behind by some pages a thread, this is exact.
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(
                int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Rss:")
            )
        return total * 1024

    def _tree(self) -> dict[int, tuple[int, int]]:
        """
        Parent and CPU ticks of each process of the tree, by process id.
        """
        self.expect_alive()
        known: dict[int, tuple[int, int]] = {}
        children: defaultdict[int, list[int]] = defaultdict(list)
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    stat = Path(f"/proc/{entry}/stat").read_text()
                    # The name, in parentheses, may hold spaces and parentheses.
                    fields = stat.rpartition(")")[2].split()
                    known[int(entry)] = int(fields[1]), int(fields[11]) + int(fields[12])
                    children[int(fields[1])].append(int(entry))
        found: dict[int, tuple[int, int]] = {}
        waiting = [self._process.pid]
        while waiting:
            pid = waiting.pop()
            if pid in known:
                found[pid] = known[pid]
                waiting += children[pid]
        return found

    def stop(self) -> None:
        """
        End it: politely, and after 5 s not.
        """
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        # What it has left behind is in its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    directory: Path,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """
    Run a command, and stop it in the end.

    @param directory: where it runs, and where its output goes.
    @param environment: variables that it gets besides ours.
    """
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*pinned(core), *map(str, command)],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop()


def run(command: Sequence[str | Path], timeout: float, core: int | None = None) -> str:
    """
    Run a command to its end.

    @param timeout: seconds.
    @return: its standard output.
    @raise Broken: it failed, or took too long.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [*pinned(core), *map(str, command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{name} did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        raise Broken(f"{name} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def pinned(core: int | None) -> list[str]:
    """
    What to put before a command to keep it on one core; nothing where that is not ours.
    """
    if core is None or core not in os.sched_getaffinity(0):
        return []
    return ["taskset", "-c", str(core)]


def pin(core: int) -> None:
    """
    Keep this process on one core, if that is ours.
    """
    if core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})


def allow_descriptors(count: int) -> None:
    """
    Let this process, and those it starts, have at least so many open files.

    @raise Broken: the system does not let it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise Broken(f"{count} open files are needed, and ulimit -Hn allows {hard}")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def free_port(host: str = HOST) -> int:
    """
    A port that nobody listens on, as the system chooses.
    """
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(child: Child, met: Callable[[], bool], what: str, timeout: float = 15) -> None:
    """
    Wait until something holds.

    @param met: says whether it does; an C{OSError} means not yet.
    @raise Broken: the process ended before, or it took too long.
    """
    deadline = time.monotonic() + timeout
    while True:
        child.expect_alive()
        with contextlib.suppress(OSError):
            if met():
                return
        if time.monotonic() > deadline:
            raise child.broken(f"was not {what} after {timeout:.0f} s")
        time.sleep(0.02)


def wait_until_listening(child: Child, port: int) -> None:
    """
    Wait until a process accepts connections.

    @raise Broken: it does not.
    """

    def accepts() -> bool:
        socket.create_connection((HOST, port), 1).close()
        return True

    wait_until(child, accepts, f"listening on port {port}")


def end_on_sigterm() -> None:
    """
    Have SIGTERM end this process as Ctrl-C does, so that it cleans up.
    """

    def end(*_: object) -> None:
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """
    Give up on what is done within, in the main thread, once it takes too long.

    @raise Broken: it did.
    """

    def give_up(*_: object) -> None:
        raise Broken(f"it was not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def forked(serve: Callable[[], object]) -> Iterator[None]:
    """
    Call a function in a process of its own, on the core of the load, until the end.
    """

    def main() -> None:
        # This process is its parent's to end, not the terminal's.
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        pin(LOAD_CORE)
        serve()

    process = multiprocessing.get_context("fork").Process(target=main, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()
