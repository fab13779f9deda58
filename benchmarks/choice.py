"""
The cost of choosing a server: C{python -m benchmarks.choice}.

Prints the processor time of a choice for each method and number of servers, and of changes
between choices. The exit status is 1 if a choice takes longer than its bar.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final, get_args

from acceptance.lab.processes import exit_with
from alacrity.config import BalanceSettings
from alacrity.config.balance import Method
from alacrity.pool import Change, Server, State, TcpCheck
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.standing import Standing

SIZES: Final = (3, 64, 1000)
"""Numbers of servers."""

BARS: Final = {"round_robin": 1.0, "least_requests": 1.0, "hash": 3.0}
"""Microseconds that a choice may take; by hash, of up to 64 servers."""

LARGEST_HASHED: Final = 64
"""The largest number of servers for which the choice by hash has a bar."""

KEYS: Final = [b"198.51.%d.%d" % divmod(number, 256) for number in range(4096)]


def server(number: int, *, state: State = State.UP, weight: int = 1) -> Server:
    """
    A server of the pool.
    """
    return Server(
        ip=f"10.0.{number // 250}.{number % 250}",
        port=8080,
        check=TcpCheck(),
        weight=weight,
        state=state,
        reason="",
        since=0.0,
        registered=0.0,
        revision=number + 1,
    )


def balancer(method: Method, size: int, *, weighted: bool) -> Balancer:
    """
    A balancer with servers, of different weights or of one.
    """
    made = Balancer(BalanceSettings(method=method), rng=Random(0))
    for number in range(size):
        made.changed(Change(None, server(number, weight=1 + number % 7 if weighted else 1)))
    return made


def cost(call: Callable[[], object], calls: int, repeat: int = 5) -> float:
    """
    Microseconds of processor time for each of the calls that a function makes, the least of a
    few measurements.
    """
    best = float("inf")
    for _ in range(repeat):
        begun = time.process_time()
        call()
        best = min(best, time.process_time() - begun)
    return best / calls * 1e6


def choices(made: Balancer, keys: list[bytes]) -> None:
    """
    A choice for each key.
    """
    choose = made.choose
    for key in keys:
        choose((), key)


def changes(made: Balancer, size: int, times: int) -> None:
    """
    Servers that go down, come up, go aside and return, a choice after each change.
    """
    for number in range(times):
        up, down = server(number % size), server(number % size, state=State.DOWN)
        made.changed(Change(up, down))
        made.choose((), KEYS[number % 64])
        made.changed(Change(down, up))
        made.choose((), KEYS[number % 64])
        upstream = made.upstream(up.id)
        assert upstream is not None
        made.set_standing(upstream, Standing.ASIDE)
        made.choose((), KEYS[number % 64])
        made.set_standing(upstream, Standing.GOOD)
        made.choose((), KEYS[number % 64])


def main() -> int:
    """
    Measure, print, and return 1 if a bar is missed.
    """
    parser = argparse.ArgumentParser(description="The cost of choosing a server.")
    parser.add_argument("--repeat", type=int, default=5, help="measurements each (%(default)s)")
    options = parser.parse_args()
    missed = []
    print("| method | servers | us a choice | with weights | first for a key | a change |")
    print("| --- | --: | --: | --: | --: | --: |")
    for method in get_args(Method):
        for size in SIZES:
            new = balancer(method, size, weighted=False)
            first = cost(lambda new=new: choices(new, KEYS), len(KEYS), 1)  # type: ignore[misc]
            plain = cost(lambda new=new: choices(new, KEYS), len(KEYS), options.repeat)  # type: ignore[misc]
            other = balancer(method, size, weighted=True)
            choices(other, KEYS)
            weighted = cost(lambda other=other: choices(other, KEYS), len(KEYS), options.repeat)  # type: ignore[misc]
            change = cost(lambda new=new, size=size: changes(new, size, 500), 2000, options.repeat)  # type: ignore[misc]
            print(
                f"| {method} | {size} | {plain:.2f} | {weighted:.2f} | {first:.2f} | {change:.2f} |"
            )
            worst = max(plain, weighted)
            if worst > BARS[method] and (method != "hash" or size <= LARGEST_HASHED):
                missed.append(f"{method}, {size} servers: {worst:.2f} us, at most {BARS[method]}")
    for each in missed:
        print(f"missed: {each}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    exit_with(main)
