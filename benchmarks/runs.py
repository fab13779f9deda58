"""
The document that a comparison writes with C{--json}.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import msgspec

from acceptance.lab.waiting import Broken
from benchmarks.table import Results
from benchmarks.wrk import Result


class Run(msgspec.Struct, frozen=True):
    """
    One measurement.

    @ivar case: the case's name for C{--cases}.
    @ivar proxy: the proxy's name for C{--only}.
    @ivar values: by name of the column.
    @ivar fault: what went wrong, if anything did.
    """

    case: str
    proxy: str
    values: dict[str, float]
    fault: str = ""


class Runs(msgspec.Struct, frozen=True):
    """
    All measurements of one comparison.

    @ivar machine: date, processor and kernel, and the version of each proxy by its name.
    @ivar cases: title and cost of each case, in the order of the table; the cost is the
        name of the value that is compared.
    @ivar proxies: title of each proxy, likewise.
    """

    machine: dict[str, str]
    cases: dict[str, tuple[str, str]]
    proxies: dict[str, str]
    runs: list[Run]

    def results(self) -> Results:
        """
        The measurements by case and proxy.
        """
        results: Results = defaultdict(list)
        for run in self.runs:
            results[run.case, run.proxy].append(Result(run.values, run.fault))
        return results


def write(runs: Runs, path: Path) -> None:
    """
    Write the document.
    """
    path.write_bytes(msgspec.json.format(msgspec.json.encode(runs), indent=1) + b"\n")


def read(path: Path) -> Runs:
    """
    Read the document.

    @raise Broken: it is another.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Runs)
    except msgspec.DecodeError as error:
        raise Broken(
            f"{path} is not a document that python -m benchmarks.compare --json writes: {error}"
        ) from error
