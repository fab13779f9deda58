"""
The cost of checks to requests: C{python -m benchmarks.checked_load}.

Has 10,000 servers in the pool, and measures the latency of requests while they are
checked hardly ever, and while each is checked every 5 s, in turns. Prints the medians
of the rounds and their ratio. The exit status is 1 if p99 is doubled.

The servers are one nginx, on as many loopback addresses.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from acceptance.lab.calls import ask
from acceptance.lab.nodes import Node
from acceptance.lab.processes import LOAD_CORE, exit_with, pin
from acceptance.lab.waiting import Broken
from benchmarks.builds import start_node
from benchmarks.origins import origin
from benchmarks.requests import FROM_BROWSER
from benchmarks.wrk import Bench, Result, missing_tools

BAR = 2.0

CALLERS = 32
"""Clients that register servers at once."""

_SELDOM = 3600.0
_COLUMNS = {
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "rps": "requests/s",
    "cpu_us": "CPU us/request, checks included",
}


def register(node: Node, port: int, count: int, interval: float) -> None:
    """
    Register servers, again or for the first time, and wait until they are up.

    @raise Broken: one is refused, or does not come up.
    """
    with ThreadPoolExecutor(CALLERS) as callers:
        for done in [
            callers.submit(_register_some, node, port, range(first, count, CALLERS), interval)
            for first in range(CALLERS)
        ]:
            done.result()

    def are_up() -> bool:
        time.sleep(0.5)
        return all(each["state"] == "up" for each in node.servers().values())

    node.wait_until(are_up, "sending traffic to all servers", 60)


def _register_some(node: Node, port: int, numbers: Sequence[int], interval: float) -> None:
    connection = HTTPConnection(node.host, node.management, timeout=10)
    with contextlib.closing(connection):
        for number in numbers:
            document = {
                "ip": f"127.1.{number // 250}.{1 + number % 250}",
                "port": port,
                "check": {"type": "tcp", "interval": interval},
            }
            answer = ask(connection, "POST", "/servers", document)
            if answer.status not in (200, 201):
                raise Broken(f"a registration was answered {answer.status}: {answer.body!r}")


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="The cost of checks to requests.")
    parser.add_argument("--servers", type=int, default=10000)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (%(default)s)")
    options = parser.parse_args()
    if missing := missing_tools():
        print(f"missing: {', '.join(missing)}", file=sys.stderr)
        return 1
    pin(LOAD_CORE)
    results: defaultdict[float, list[Result]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="alacrity-checked-")))
        port = stack.enter_context(origin(directory, "0.0.0.0"))
        node = stack.enter_context(start_node(directory))
        bench = Bench(options.seconds, 32, 0, directory)
        for number in range(options.repeat):
            for interval in (_SELDOM, options.interval):
                print(f"round {number + 1}: checks every {interval:g} s", file=sys.stderr)
                register(node, port, options.servers, interval)
                results[interval].append(bench.requests(node, node.proxy, FROM_BROWSER))
    print(f"{options.servers} servers, ten browser headers, 32 connections")
    ratio = 0.0
    for name, title in _COLUMNS.items():
        seldom, often = (
            median(each.values[name] for each in results[interval])
            for interval in (_SELDOM, options.interval)
        )
        ratio = often / seldom if name == "p99_ms" else ratio
        print(
            f"  {title:32} checked every {_SELDOM:g} s {seldom:9.2f}"
            f"   every {options.interval:g} s {often:9.2f}   x {often / seldom:.2f}"
        )
    for interval, each in results.items():
        for result in each:
            if result.fault:
                print(f"  every {interval:g} s: {result.fault}")
    print(f"  bar: p99 less than doubled: {'met' if ratio < BAR else 'MISSED'}")
    return int(ratio >= BAR)


if __name__ == "__main__":
    exit_with(main)
