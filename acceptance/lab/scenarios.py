"""
The command line of scripts.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, TypeVar

from acceptance.lab.processes import allow_descriptors, exit_with
from acceptance.lab.reports import Report
from acceptance.lab.servers import serving_everywhere
from acceptance.lab.waiting import Broken

Scenario: TypeAlias = Callable[[Path, Report], None]
"""Plays with nodes in a directory of its own, and reports."""

_Counts = TypeVar("_Counts", bound=tuple[float, ...])


def parser_of(docstring: str | None) -> argparse.ArgumentParser:
    """
    A parser of a script's command line.

    @param docstring: the script's, whose text is shown by C{--help}.
    """
    text = re.sub(r"[CL]\{([^}]*)\}", r"\1", docstring or "")
    return argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def play(description: str | None, scenarios: Mapping[str, Scenario]) -> None:
    """
    Read the command line, play the scenarios that it names, and end the process; with
    status 1 if a promise was broken.

    @param description: of the script, for C{--help}.
    """
    exit_with(lambda: _play(description, scenarios))


def _play(description: str | None, scenarios: Mapping[str, Scenario]) -> int:
    parser = parser_of(description)
    parser.add_argument("--only", choices=sorted(scenarios), help="one of the scenarios")
    parser.add_argument("--keep", type=Path, help="a directory for configuration, state and logs")
    options = parser.parse_args()
    report = Report()
    with TemporaryDirectory(prefix="alacrity-") as temporary:
        for name, scenario in scenarios.items():
            if options.only in {None, name}:
                directory = (options.keep or Path(temporary)).absolute() / name
                directory.mkdir(parents=True)
                try:
                    scenario(directory, report)
                except (Broken, OSError) as error:
                    # The other scenarios begin anew.
                    report.fail(f"{name}: {error}")
    return int(report.failed)


def play_parts(
    parser: argparse.ArgumentParser,
    parts: Mapping[str, Callable[[Path, int, _Counts, Report], None]],
    numbers: Sequence[tuple[str, int, str]],
    counts_of: Callable[[argparse.Namespace], _Counts],
    *,
    least: int,
) -> int:
    """
    Read the command line, and play the parts that it names on the loopback interface, each in
    a directory of its own, with a server on all of its addresses.

    @param parts: called with that directory and the server's port.
    @param numbers: whole numbers among the options: name, default, meaning.
    @param counts_of: makes the counts for the parts of the options.
    @param least: the least that each count may be.
    @return: the exit status.
    """
    parser.add_argument("--only", default=",".join(parts), help="of %(default)s")
    for name, default, what in numbers:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} (%(default)s)")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - parts.keys():
        parser.error(f"--only: {', '.join(sorted(unknown))}")
    counts = counts_of(options)
    if min(counts) < least:
        parser.error(f"each count is {least} or more")
    report = Report()
    allow_descriptors(8192)
    for name in names:
        report.step(f"{name}:")
        with (
            TemporaryDirectory(prefix="alacrity-") as directory,
            serving_everywhere() as port,
        ):
            parts[name](Path(directory), port, counts, report)
    return int(report.failed)
