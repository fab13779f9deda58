"""
Processes that are started, watched, measured and stopped.

Each runs in a session of its own, so that Ctrl-C reaches the script alone, which then stops
the process by its id.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, Self

from acceptance.lab.waiting import PATIENCE, Broken, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout."""

PROXY_CORE = 0
LOAD_CORE = 1

_TICKS = os.sysconf("SC_CLK_TCK")
_LAST_LINES = 15
_LOOK = 0.005


class Output(Protocol):
    """
    The place that a process writes to.
    """

    def open(self) -> int:
        """
        Open it, if it is closed.

        @return: the descriptor for the process.
        """

    def read(self) -> bytes:
        """
        All that was written so far.
        """

    def close(self) -> None:
        """
        Close it; what was read stays.
        """


class FileOutput:
    """
    A file that a process writes to.
    """

    def __init__(self, path: Path | None = None) -> None:
        """
        @param path: of the file, which is appended to; L{None}: one without a name.
        """
        self._path = path
        self._file: IO[bytes] | None = None
        self._begin = 0
        self._content = b""

    def open(self) -> int:
        if self._file is None:
            if self._path is None:
                self._file = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - see L{close}
                self._begin = len(self._content)
            else:
                self._file = self._path.open("a+b", buffering=0)
        return self._file.fileno()

    def read(self) -> bytes:
        if self._file is not None:
            descriptor = self._file.fileno()
            at = len(self._content) - self._begin
            self._content += os.pread(descriptor, os.fstat(descriptor).st_size - at, at)
        return self._content

    def close(self) -> None:
        if self._file is not None:
            self.read()
            self._file.close()
            self._file = None


class Process:
    """
    A command, which is run once or again and again.

    @ivar name: for messages.
    @ivar output: the place that it writes to.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        *,
        name: str = "",
        output: Output | None = None,
        environment: Mapping[str, str] | None = None,
        core: int | None = None,
    ) -> None:
        """
        @param directory: where it runs.
        @param output: L{None}: a file without a name.
        @param environment: variables that it gets besides this process's.
        @param core: the only one that it runs on; L{None}: it runs on any.
        """
        self.name = name or Path(command[0]).name
        self.output = output or FileOutput()
        self._command = [*pinned(core), *map(str, command)]
        self._directory = directory
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._has_session = False
        self._begin = 0

    def start(self, *more: str | Path, environment: Mapping[str, str] | None = None) -> Self:
        """
        Start it, without waiting for anything.

        @param more: arguments after the usual ones.
        @param environment: variables for this run, besides the usual ones.
        """
        descriptor = self.output.open()
        self._begin = len(self.output.read())
        with _usual_signals():
            self._process = subprocess.Popen(
                [*self._command, *map(str, more)],
                cwd=self._directory,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "PYTHONUNBUFFERED": "1",
                    **self._environment,
                    **(environment or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._has_session = True
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(patience=5)

    @property
    def pid(self) -> int:
        """
        The process id of the run.
        """
        return self._run.pid

    @property
    def running(self) -> bool:
        """
        True while it runs.
        """
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """
        The output of the run so far.
        """
        return self.output.read()[self._begin :].decode(errors="replace")

    @property
    def _run(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    def expect(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """
        Wait until the log of the run has a match.

        @raise Broken: the process ends before, or takes too long.
        """
        until = time.monotonic() + patience
        while True:
            # Asked first: the last words come before the end.
            going_on = self.running and time.monotonic() < until
            found = re.search(pattern, self.log)
            if found is not None:
                return found
            if not going_on:
                raise Broken(f"{pattern!r} does not come in this log:\n{self.log}")
            time.sleep(_LOOK)

    def wait_until(self, met: Callable[[], bool], what: str, patience: float = PATIENCE) -> float:
        """
        Wait until a condition holds, as long as the process runs.

        @param what: a description that follows on the name.
        @raise Broken: it ended before, or took too long.
        """

        def is_met() -> bool:
            if not self.running:
                raise self.broken(f"ended with status {self._run.returncode}")
            return met()

        try:
            return wait_until(is_met, f"{self.name} is {what}", patience)
        except Broken as error:
            if not self.running:
                raise
            raise self.broken(f"was not {what} after {patience:g} s") from error

    def broken(self, what: str) -> Broken:
        """
        Make an error of what happened to it, with the last lines of its log.
        """
        lines = self.log.splitlines()[-_LAST_LINES:]
        return Broken(
            f"{self.name} {what}; the end of its log:\n"
            + "\n".join(f"    {line}" for line in lines or ["(empty)"])
        )

    def send(self, number: int) -> None:
        """
        Send it a signal, if it runs.
        """
        if self.running:
            self._run.send_signal(number)

    def ended(self, patience: float = PATIENCE) -> int:
        """
        Wait until it has ended.

        @return: its exit status.
        @raise Broken: it takes too long.
        """
        try:
            return self._run.wait(patience)
        except subprocess.TimeoutExpired as error:
            raise self.broken(f"did not end within {patience:g} s") from error

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """
        End it with a signal and, if that does not do, with SIGKILL, also where it was never
        started or has ended.

        @return: its exit status.
        """
        if self._process is None:
            return 0
        self.send(number)
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._end_session()
            self.output.close()

    def kill(self) -> None:
        """
        End it with SIGKILL, if it runs.
        """
        self.stop(signal.SIGKILL)

    def _end_session(self) -> None:
        """
        End the processes that it has left behind. Once: its id may be another one's later.
        """
        if self._has_session:
            self._has_session = False
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """
        User and system time used so far, by it and the processes under it.
        """
        return sum(ticks for _, ticks in self._tree().values()) / _TICKS

    def resident_bytes(self) -> int:
        """
        Resident memory of it and the processes under it.
        """
        total = 0
        for pid in self._tree():
            # Unlike statm, which lags behind by some pages a thread, this is exact.
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(
                int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Rss:")
            )
        return total * 1024

    def descriptors(self) -> int:
        """
        The number of its open file descriptors.
        """
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _tree(self) -> dict[int, tuple[int, int]]:
        """
        Parent and CPU ticks of each process of the tree, by process id.
        """
        if not self.running:
            raise self.broken("does not run")
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
        waiting = [self.pid]
        while waiting:
            pid = waiting.pop()
            if pid in known:
                found[pid] = known[pid]
                waiting += children[pid]
        return found


@contextlib.contextmanager
def _usual_signals() -> Iterator[None]:
    """
    Give a process the signals of one that a terminal starts: shells let their background
    jobs ignore some, and all that is started here would inherit that.
    """
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGQUIT)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


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
    The words before a command that keep it on one core; none where the core is not ours.
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


def end_on_sigterm() -> None:
    """
    Have SIGTERM end this process as Ctrl-C does, so that it cleans up.
    """

    def end(*_: object) -> None:
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)


def exit_with(main: Callable[[], int]) -> None:
    """
    End the process with the status that C{main} returns; with 1 and a line on standard
    error if something is broken; with 130 after Ctrl-C.
    """
    end_on_sigterm()
    try:
        status = main()
    except (Broken, OSError) as error:
        sys.stderr.write(f"{error}\n")
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


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
def forked(
    serve: Callable[..., object], *arguments: Any, core: int | None = LOAD_CORE
) -> Iterator[None]:
    """
    Call a function in a process of its own until the end.

    @param core: the only one that it runs on; L{None}: it runs on any.
    """

    def main() -> None:
        # This process is its parent's to end, not the terminal's.
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if core is not None:
            pin(core)
        serve(*arguments)

    process = multiprocessing.get_context("fork").Process(target=main, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()
