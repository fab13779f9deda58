"""
The command line of scripts.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from acceptance.lab.processes import exit_with
from acceptance.lab.reports import Report
from acceptance.lab.waiting import Broken

Scenario: TypeAlias = Callable[[Path, Report], None]
"""Plays with nodes in a directory of its own, and reports."""


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
