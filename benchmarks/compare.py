"""
Alacrity beside its peers: C{python -m benchmarks.compare}.

Runs each proxy found on this machine before one nginx origin, one at a time and all
of them in each round, and prints the medians as one table. See C{README.md} for what
the columns mean.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from acceptance.lab.processes import LOAD_CORE, PROXY_CORE, end_on_sigterm
from acceptance.lab.waiting import Broken
from benchmarks.builds import outdated
from benchmarks.cases import CASES
from benchmarks.origins import SERVERS, origin
from benchmarks.programs import CONNECTIONS
from benchmarks.proxies import PROXIES, TITLES, start, version
from benchmarks.runs import Run, Runs, write
from benchmarks.setups import Setup
from benchmarks.table import Results, table
from benchmarks.wrk import Bench, Result, missing_tools


def measure(
    proxies: Sequence[str], cases: Sequence[str], repeat: int, load: Bench, results: Results
) -> None:
    """
    Measure all proxies in all cases, a round after another.

    @param results: gets them, also those there are when this is interrupted.
    @raise Broken: the origin does not start.
    """
    with origin(load.directory, SERVERS) as origin_port:
        for number in range(repeat):
            for proxy in proxies:
                for todo in groups(proxy, cases):
                    print(
                        f"round {number + 1} of {repeat}: {proxy}: {', '.join(todo)}",
                        file=sys.stderr,
                    )
                    setup = CASES[todo[0]].setup(origin_port)
                    _measure_group(proxy, todo, setup, load, results)


def groups(proxy: str, cases: Sequence[str]) -> list[list[str]]:
    """
    The cases that a proxy is started once for, one after another: those for which it is set
    up alike, and memory by itself, on a process that nothing has made grow. Those for which it
    cannot be set up are left out.
    """
    together: defaultdict[tuple[bool, str], list[str]] = defaultdict(list)
    for case in cases:
        needs = CASES[case].needs
        if needs not in PROXIES[proxy].lacks:
            together[case == "idle", needs].append(case)
    return list(together.values())


def left_out(proxies: Sequence[str], cases: Sequence[str]) -> list[str]:
    """
    Sentences on the cases that proxies cannot be set up for.
    """
    return [
        f"left out: {CASES[case].title} for {TITLES[proxy]}: {reason}"
        for case in cases
        for proxy in proxies
        if (reason := PROXIES[proxy].lacks.get(CASES[case].needs))
    ]


def _measure_group(
    proxy: str, cases: Sequence[str], setup: Setup, load: Bench, results: Results
) -> None:
    """
    Start one proxy, and measure some cases.
    """
    done = 0
    try:
        with start(proxy, setup, load.directory) as (child, port):
            for case in cases:
                try:
                    result = CASES[case].measure(load, child, port)
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


def _machine() -> dict[str, str]:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "processor": f"{len(os.sched_getaffinity(0))} cores of {model}",
        "kernel": f"{platform.system()} {platform.release()}",
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
            what = "is not compiled" if name == "alacrity" else "is not here"
            print(f"skipped: {name} {what}; {PROXIES[name].hint}", file=sys.stderr)
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
    for line in left_out(proxies, options.cases):
        print(line, file=sys.stderr)
    if "alacrity" in proxies and (old := outdated()):
        print(f"alacrity: compile again, {len(old)} sources are newer: {old[0]}", file=sys.stderr)
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
    cases = {name: (CASES[name].title, CASES[name].cost) for name in options.cases}
    titles = {name: TITLES[name] for name in proxies}
    if results:
        print(" · ".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
        print(table(results, cases, titles), flush=True)
    if options.json:
        runs = [
            Run(case, proxy, each.values, each.fault)
            for (case, proxy), rounds in results.items()
            for each in rounds
        ]
        write(Runs(machine, cases, titles, runs), options.json)
    faulty = any(each.fault for rounds in results.values() for each in rounds)
    return status or int(faulty)


if __name__ == "__main__":
    sys.exit(main())
