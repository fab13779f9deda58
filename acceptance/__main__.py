"""
Run all acceptance scripts, one after the other: C{python -m acceptance}.

C{--short} runs those that repeat themselves for a shorter time. The output of each goes to a
file of its own in a directory. Prints a line for each, and ends with status 1 if one failed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from acceptance.lab.processes import ROOT, FileOutput, Process, exit_with
from acceptance.lab.scenarios import parser_of

SCRIPTS: Final[dict[str, tuple[str, ...]]] = {
    "crashes": ("--failovers=10", "--rounds=20"),
    "failures": ("--short",),
    "memory": (),
    "browser": (),
    "partitions": (),
    "sight": (),
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
    parser = parser_of(__doc__)
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help="some of them")
    parser.add_argument("--short", action="store_true", help="the shorter runs")
    parser.add_argument("--output", type=Path, help="the directory (else a new one)")
    options = parser.parse_args()
    if unknown := set(options.scripts) - SCRIPTS.keys():
        parser.error(f"there is no script {min(unknown)}; there are {', '.join(SCRIPTS)}")
    directory = options.output or Path(tempfile.mkdtemp(prefix="alacrity-acceptance-"))
    directory.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in options.scripts or SCRIPTS:
        path = directory / f"{name}.txt"
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", f"acceptance.{name}"]
        script = Process(
            [*command, *(SCRIPTS[name] if options.short else ())], ROOT, output=FileOutput(path)
        )
        begun = time.monotonic()
        try:
            status = script.start().ended(LONGEST)
        finally:
            # A script that is asked to end ends what it has started.
            script.stop(patience=60)
        verdict = "passed" if status == 0 else f"FAILED with status {status}"
        sys.stdout.write(f"{name:12} {verdict}, {time.monotonic() - begun:.0f} s: {path}\n")
        sys.stdout.flush()
        failed = failed or status != 0
    return int(failed)


if __name__ == "__main__":
    exit_with(main)
