"""
Run all acceptance scripts, one after the other: C{python -m acceptance}.

C{--short} runs those that repeat themselves for a shorter time. What each prints goes to a
file of its own in a directory. Prints a line for each, and ends with status 1 if one failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from acceptance.lab.processes import ROOT, exit_with

SCRIPTS: Final[dict[str, tuple[str, ...]]] = {
    "crashes": ("--failovers=10", "--rounds=20"),
    "memory": (),
    "browser": (),
    "partitions": (),
    "twins": (),
    "upkeep": (),
    "clocks": (),
    "faults": (),
}
"""The options for a short run, by script."""

LONGEST: Final = 1800
"""Seconds that one may take."""


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help="some of them")
    parser.add_argument("--short", action="store_true", help="the shorter runs")
    parser.add_argument("--output", type=Path, default=Path("acceptance-output"))
    options = parser.parse_args()
    if unknown := set(options.scripts) - SCRIPTS.keys():
        parser.error(f"there is no script {min(unknown)}; there are {', '.join(SCRIPTS)}")
    options.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.scripts or SCRIPTS:
        output = options.output / f"{name}.txt"
        begun = time.monotonic()
        with output.open("wb") as file:
            # A scenario ends what it has started, so it is asked to end, not killed.
            script = subprocess.Popen(  # noqa: S603 - a script of ours
                [
                    *(sys.executable, "-m", f"acceptance.{name}"),
                    *(SCRIPTS[name] if options.short else ()),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            try:
                status = script.wait(LONGEST)
            except subprocess.TimeoutExpired:
                script.terminate()
                script.wait(60)
                status = 1
                file.write(f"not done after {LONGEST} s\n".encode())
            except BaseException:
                script.terminate()
                script.wait(60)
                raise
        verdict = "passed" if status == 0 else f"FAILED with status {status}"
        sys.stdout.write(f"{name:12} {verdict}, {time.monotonic() - begun:.0f} s: {output}\n")
        sys.stdout.flush()
        if status:
            failed.append(name)
    return int(bool(failed))


if __name__ == "__main__":
    exit_with(main)
