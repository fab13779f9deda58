"""
Machines for the tests of the documents: each has its own network, processes, C{/etc} and state, so that
commands run as the documents have them, on the default ports and with the usual paths.

A machine is a set of Linux namespaces. It ends with the process that made it, whatever happens to that.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

from acceptance.lab.processes import Process, run
from acceptance.lab.waiting import PATIENCE, Broken
from tests.support.places import ROOT

PROGRAMS: Final = ROOT / "tests" / "support" / "programs"
"""Stand-ins for programs that a machine of the tests cannot have; each says why."""

_NEEDED: Final = ("unshare", "nsenter", "ip", "mount", "bash", "curl", "setpriv", "ss")

_OWN: Final = ("/opt", "/run", "/var/lib", "/var/log")
"""Directories in which a machine can make files that nobody else sees."""

_HOME: Final = Path("/opt")
"""The directory in which commands run: one that any user can enter."""

_SET_UP: Final = """
set -e
place=$1; shift
shadow() {  # a directory of this machine's own, with what is in the machine's
    mkdir -p "$place/own$1"; chmod 755 "$place/own$1"
    for each in "$1"/* "$1"/.[!.]*; do
        if [ -L "$each" ]; then cp -P "$each" "$place/own$1/"
        elif [ -d "$each" ]; then mkdir -p "$place/own$each"; mount --rbind "$each" "$place/own$each"
        elif [ -e "$each" ]; then touch "$place/own$each"; mount --bind "$each" "$place/own$each"
        fi
    done
    mount --rbind "$place/own$1" "$1"
}
mkdir -p "$place/own/etc"
cp -a /etc/. "$place/own/etc/"
rm -rf "$place/own/etc/alacrity" "$place/own/etc/alacrity.toml"
mount --bind "$place/own/etc" /etc
for each in "$@"; do shadow "$each"; done
ip link set lo up
echo ready
while read -r _; do :; done
"""
"""Ends when its standard input does. It is the first process, and reaps the others."""


def missing() -> str | None:
    """
    The reason why there can be no machines here; L{None}: there can be.
    """
    lacking = [name for name in _NEEDED if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    if os.geteuid() != 0:
        return "only root can make the network of the documents"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else None


class Machine:
    """
    A machine of the documents.
    """

    def __init__(self, place: Path, name: str) -> None:
        """
        Make it, without a network beside loopback.

        @param place: a new directory for its files.
        """
        self.name = name
        self._place = place
        self._processes: list[Process] = []
        self._first = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child"),
                *("--mount-proc", "bash", "-c", _SET_UP, "machine", str(place)),
                *_OWN,
                *_closed_directories(),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        said = self._first.stdout
        assert said is not None
        try:
            if not select.select([said], [], [], PATIENCE)[0]:
                raise Broken(f"the machine {name} is not ready within {PATIENCE:g} s")
            if said.readline() != "ready\n":
                raise Broken(f"the machine {name} cannot be made")
        except BaseException:
            self.stop()
            raise
        (self.pid,) = map(
            int,
            Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text().split(),
        )

    def file(self, path: str) -> Path:
        """
        A file of the machine, as this process reaches it.
        """
        return self._place / f"own{Path(_HOME, path)}"

    def write(self, path: str, content: str) -> None:
        """
        Write a file of the machine.
        """
        file = self.file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")

    def run(self, script: str, *, where: Path | None = None, **variables: str) -> str:
        """
        Run lines in a shell, to their end. Each has to succeed.

        @param where: the directory; L{None}: the machine's.
        @param variables: of the environment.
        @return: standard output and standard error.
        @raise Broken: one has failed, or all took too long.
        """
        try:
            done = subprocess.run(
                self._command(f"set -e\n{script}", where or _HOME),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(variables),
                timeout=3 * PATIENCE,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            raise Broken(f"{self.name} is not done with {script!r}:\n{said}") from None
        said = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise Broken(f"{self.name}, {script!r} ended with {done.returncode}:\n{said}")
        return said

    def start(self, script: str, **variables: str) -> Process:
        """
        Run lines in a shell that do not end by themselves.
        """
        process = Process(
            self._command(script, _HOME),
            Path("/"),
            name=f"{self.name}: {script}",
            environment=self._environment(variables),
        )
        self._processes.append(process)
        return process.start()

    def _command(self, script: str, where: Path) -> list[str]:
        return [
            *("nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--uts"),
            *("bash", "-c", f"cd {shlex.quote(str(where))}\n{script}"),
        ]

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        programs = f"{Path(sys.executable).parent}:{PROGRAMS}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return {
            **os.environ,
            "PATH": programs,
            # twistd finds the plugin of an editable installation by this alone.
            "PYTHONPATH": str(ROOT),
            "MACHINES": str(self._place.parent),
            **variables,
        }

    def stop(self) -> None:
        """
        End all of its processes.
        """
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        self._first.kill()
        self._first.wait(PATIENCE)
        self._first.stdin.close()
        self._first.stdout.close()
        for process in self._processes:
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def network(place: Path, *addresses: str) -> Iterator[list[Machine]]:
    """
    Machines that are connected with each other.

    @param place: a directory for their files, with one for each, named like its address.
    @param addresses: one for each; where it is several, separated by commas, the machine has them all.
    """
    with ExitStack() as stack:
        hub = stack.enter_context(Machine(place / "hub", "the network"))
        hub.run("ip link add br0 type bridge && ip link set br0 up")
        machines = []
        for number, own in enumerate(addresses):
            first, *_ = own.split(",")
            machine = stack.enter_context(Machine(place / first, first))
            run(
                [
                    *("nsenter", f"--target={hub.pid}", "--net", "ip", "link", "add", f"n{number}"),
                    *("type", "veth", "peer", "name", "eth0", "netns", str(machine.pid)),
                ],
                PATIENCE,
            )
            hub.run(f"ip link set n{number} master br0 up")
            for each in own.split(","):
                machine.run(f"ip address add {shlex.quote(each)}/24 dev eth0")
            machine.run("ip link set eth0 up")
            machines.append(machine)
        yield machines


def _closed_directories() -> list[str]:
    """
    The directories above the program and Python that only root can enter, the outermost first. The documents
    run nodes as another user.
    """
    found: dict[str, None] = {}
    for place in (ROOT, Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve()):
        for above in reversed((place / "x").parents):
            if above.is_dir() and not above.stat().st_mode & stat.S_IXOTH:
                found[str(above)] = None
    return list(found)
