"""
Alacrity beside its peers: C{python -m benchmarks.compare}.

Runs each proxy found on this machine before one nginx origin, one at a time and all
of them in each round, and prints the medians as one table. See C{README.md} for what
the columns mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from acceptance.lab.processes import LOAD_CORE, PROXY_CORE, Process, end_on_sigterm
from acceptance.lab.waiting import Broken
from benchmarks.proxies import CONNECTIONS, PROXIES, origin, start, version
from benchmarks.wrk import BROWSER, Bench, Result, missing_tools

REFERENCES = ("haproxy", "caddy")

CASES: dict[str, tuple[str, Callable[[Bench, Process, int], Result]]] = {
    "idle": ("idle connections", Bench.idle_connections),
    "bare": ("bare headers", lambda load, proxy, port: load.requests(proxy, port, "/100", {})),
    "browser": (
        "ten browser headers",
        lambda load, proxy, port: load.requests(proxy, port, "/100", BROWSER),
    ),
    "16k": ("16 KiB body", lambda load, proxy, port: load.requests(proxy, port, "/16k", {})),
    "close": (
        "a connection a request",
        lambda load, proxy, port: load.requests(proxy, port, "/100", {"Connection": "close"}),
    ),
    "100m": ("100 MB body", lambda load, proxy, port: load.body(proxy, port, "/100m")),
}
"""The cases, by their name for C{--cases}: the name for the table, and the measurement."""

COSTS = ("cpu_us", "cpu_s_gb", "kib")
"""The values that are compared as ratios: each case has one."""

COLUMNS = {
    "cpu_us": ("CPU us/request", ".1f"),
    "rps": ("requests/s", ".0f"),
    "p50_ms": ("p50 ms", ".2f"),
    "p99_ms": ("p99 ms", ".2f"),
    "mb_s": ("MB/s", ".0f"),
    "cpu_s_gb": ("CPU s/GB", ".2f"),
    "kib": ("KiB/connection", ".1f"),
    "core": ("core %", ".0f"),
}
"""The columns, by the name of the value: head and format."""

Results = dict[tuple[str, str], list[Result]]
"""The results by case and proxy, one a round."""


def measure(
    proxies: Sequence[str], cases: Sequence[str], repeat: int, load: Bench, results: Results
) -> None:
    """
    Measure all proxies in all cases, a round after another.

    @param results: gets them, also those there are when this is interrupted.
    @raise Broken: the origin does not start.
    """
    with origin(load.directory) as origin_port:
        for number in range(repeat):
            for proxy in proxies:
                # Memory is measured on a process that nothing has made grow.
                for group in (("idle",), [case for case in cases if case != "idle"]):
                    todo = [case for case in group if case in cases]
                    if todo:
                        print(
                            f"round {number + 1} of {repeat}: {proxy}: {', '.join(todo)}",
                            file=sys.stderr,
                        )
                        _measure_one(proxy, todo, origin_port, load, results)


def _measure_one(
    proxy: str, cases: Sequence[str], origin_port: int, load: Bench, results: Results
) -> None:
    """
    Start one proxy, and measure some cases.
    """
    done = 0
    try:
        with start(proxy, origin_port, load.directory) as (child, port):
            for case in cases:
                try:
                    result = CASES[case][1](load, child, port)
                except (Broken, OSError) as error:
                    if not child.running:
                        raise child.broken("has ended") from error
                    print(f"{proxy}: {case}: {error}", file=sys.stderr)
                    result = Result({}, str(error))
                results[case, proxy].append(result)
                done += 1
    except Broken as error:
        print(error, file=sys.stderr)
        for case in cases[done:]:
            results[case, proxy].append(Result({}, str(error).partition(";")[0]))


def table(results: Results, proxies: Sequence[str]) -> str:
    """
    The medians, in Markdown.
    """
    heads = [head for head, _ in COLUMNS.values()]
    rows = [["case", "proxy", *heads, "spread %", *(f"x {name}" for name in REFERENCES), "faults"]]
    for case, (title, _) in CASES.items():
        for proxy in proxies:
            rounds = results.get((case, proxy))
            if rounds:
                rows.append(
                    [
                        title,
                        proxy,
                        *(_cell(rounds, name, form) for name, (_, form) in COLUMNS.items()),
                        _spread(rounds),
                        *(_ratio(rounds, results.get((case, name), [])) for name in REFERENCES),
                        "; ".join(dict.fromkeys(each.fault for each in rounds if each.fault)),
                    ]
                )
    # Of columns without a value, only the last is of interest: there were no faults.
    used = [index for index in range(len(rows[0])) if any(row[index] for row in rows[1:])]
    if len(rows[0]) - 1 not in used:
        used.append(len(rows[0]) - 1)
    rows = [[row[index] for index in used] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    for index in range(len(widths)):
        if rows[0][index] not in ("case", "proxy", "faults"):
            rows[1][index] = "-" * (widths[index] - 1) + ":"
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if mark.endswith("-") else cell.rjust(width)
            for cell, width, mark in zip(row, widths, rows[1], strict=True)
        )
        + " |"
        for row in rows
    )


def _values(rounds: Sequence[Result], name: str) -> list[float]:
    return [each.values[name] for each in rounds if name in each.values]


def _cost(rounds: Sequence[Result]) -> list[float]:
    for name in COSTS:
        values = _values(rounds, name)
        if values:
            return values
    return []


def _cell(rounds: Sequence[Result], name: str, form: str) -> str:
    values = _values(rounds, name)
    return format(median(values), form) if values else ""


def _spread(rounds: Sequence[Result]) -> str:
    """
    The distance between the rounds, in percent of the median.
    """
    cost = _cost(rounds)
    if len(cost) < 2 or median(cost) <= 0:
        return ""
    return format(100 * (max(cost) - min(cost)) / median(cost), ".0f")


def _ratio(rounds: Sequence[Result], reference: Sequence[Result]) -> str:
    ours, theirs = _cost(rounds), _cost(reference)
    if not ours or not theirs or median(theirs) <= 0:
        return ""
    return format(median(ours) / median(theirs), ".2f")


def _machine() -> dict[str, str]:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "processor": f"{len(os.sched_getaffinity(0))} cores of {model}",
        "kernel": platform.release(),
    }


def _options() -> argparse.Namespace:
    """
    Read the command line.
    """
    parser = argparse.ArgumentParser(description="Alacrity beside its peers.")
    add = parser.add_argument
    add("--only", metavar="PROXY,…", default=",".join(PROXIES), help="default: %(default)s")
    add("--cases", metavar="CASE,…", default=",".join(CASES), help="default: %(default)s")
    add("--seconds", type=float, default=5.0, help="of each measurement (%(default)s)")
    add("--repeat", type=int, default=3, help="rounds (%(default)s)")
    add("--connections", type=int, default=32, help="busy at once (%(default)s)")
    add("--idle", type=int, default=3000, help="connections kept idle (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write each round's values there, too")
    options = parser.parse_args()
    for key, known in (("only", list(PROXIES)), ("cases", list(CASES))):
        wanted = getattr(options, key).split(",")
        if unknown := set(wanted) - set(known):
            parser.error(f"--{key}: no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        # In the order of the table, and each once.
        setattr(options, key, [name for name in known if name in wanted])
    if not 0 < options.idle < CONNECTIONS:
        parser.error(f"--idle: the proxies are set up for fewer than {CONNECTIONS} connections")
    return options


def _found(wanted: Sequence[str]) -> list[str]:
    """
    The proxies that are on this machine; of the others, print how to install them.
    """
    here = [name for name in wanted if PROXIES[name].find() is not None]
    for name in wanted:
        if name not in here:
            print(f"skipped: {name} is not here; {PROXIES[name].hint}", file=sys.stderr)
    return here


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    options = _options()
    end_on_sigterm()
    if missing_tools():
        print(f"to measure: apt-get install {' '.join(missing_tools())}", file=sys.stderr)
        return 1
    proxies = _found(options.only)
    if len(os.sched_getaffinity(0) & {PROXY_CORE, LOAD_CORE}) < 2:
        print("cores 0 and 1 are not both ours: proxy and load may share", file=sys.stderr)
    machine = {**_machine(), **{name: version(name) for name in proxies}}
    results: Results = defaultdict(list)
    status = 0
    try:
        with TemporaryDirectory(prefix="alacrity-compare-") as directory:
            load = Bench(options.seconds, options.connections, options.idle, Path(directory))
            measure(proxies, options.cases, options.repeat, load, results)
    except Broken as error:
        print(error, file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("interrupted; this is what there is", file=sys.stderr)
        status = 130
    if results:
        print(" · ".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
        print(table(results, proxies), flush=True)
    if options.json:
        runs = [
            {"case": case, "proxy": proxy, "values": each.values, "fault": each.fault}
            for (case, proxy), rounds in results.items()
            for each in rounds
        ]
        options.json.write_text(json.dumps({"machine": machine, "runs": runs}, indent=1) + "\n")
    faulty = any(each.fault for rounds in results.values() for each in rounds)
    return status or int(faulty)


if __name__ == "__main__":
    sys.exit(main())
