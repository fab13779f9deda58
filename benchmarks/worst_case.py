"""
The dearest inputs: C{python -m benchmarks.worst_case}.

First, what the parsers cost a byte, for inputs that are known to be dear and for others
that a search makes of them. Then a real node under attack by some of these at full speed,
on one core, and how long another client's requests take meanwhile.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.nodes import Node
from acceptance.lab.processes import LOAD_CORE, PROXY_CORE, exit_with
from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.http1.parser import MessageLimits, RequestParser, ResponseParser
from benchmarks.proxies import origin, start_node

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"

READ = 262144
"""Bytes in one read, as uvloop's."""

CHUNK_BAR = 60.0
"""Nanoseconds that a byte of a body in chunks may cost."""

CONTENT_BAR = 20.0
"""Nanoseconds that a byte within a chunk may cost."""

LATENCY_BAR = 50.0
"""Milliseconds within which 99 of 100 requests of others are answered."""


class Sink:
    """
    Receiver that keeps nothing.
    """

    def requestReceived(self, head: RequestHead) -> None: ...
    def requestBodyReceived(self, data: bytes) -> None: ...
    def requestFinished(self, trailers: list[bytes]) -> None: ...
    def informationReceived(self, head: ResponseHead) -> None: ...
    def switchReceived(self, head: ResponseHead) -> None: ...
    def responseReceived(self, head: ResponseHead) -> None: ...
    def responseBodyReceived(self, data: bytes) -> None: ...
    def responseFinished(self, trailers: list[bytes]) -> None: ...


def repeated(unit: bytes, size: int = 4 * READ) -> bytes:
    """
    A unit, as often as makes a good measurement.
    """
    return unit * (size // len(unit))


CHUNKS = {
    "one-byte chunks": b"1\r\na\r\n",
    "one-byte chunks, leading zeros": b"0001\r\na\r\n",
    "one-byte chunks, an extension": b"1;a\r\nb\r\n",
    "one-byte chunks, a quoted extension": b'1;a="\\""\r\nb\r\n',
    "two-byte chunks": b"2\r\n\r\n\r\n",
    "fifteen-byte chunks": b"F\r\n" + b"x" * 15 + b"\r\n",
    "sixteen-byte chunks": b"10\r\n" + b"x" * 16 + b"\r\n",
    "short and long chunks": b"1\r\na\r\n10\r\n" + b"x" * 16 + b"\r\n",
}
"""Units of bodies in chunks."""

CONTENT = {
    "64 KiB chunks of empty lines": b"10000\r\n" + b"\r\n" * 32768 + b"\r\n",
    "64 KiB chunks of last chunks": b"f000\r\n" + b"\r\n0\r\n\r\n\r\n" * 5461 + b"\r\n" * 3,
    "64 KiB chunks of one-byte chunks": b"f000\r\n" + b"1\r\na\r\n" * 10240 + b"\r\n",
}
"""Units whose bytes are within chunks."""


def feed(parser: RequestParser | ResponseParser, data: bytes, piece: int) -> None:
    """
    Feed data in pieces, and what a turn leaves in further turns.
    """
    for begin in range(0, len(data), piece):
        part, at = data[begin : begin + piece], 0
        while at < len(part):
            at = parser.feed(part, at)


def cost(make: Callable[[], RequestParser | ResponseParser], data: bytes, piece: int) -> float:
    """
    Nanoseconds of processor time a byte, the least of three.
    """
    best = float("inf")
    for _ in range(3):
        parser = make()
        begun = time.process_time()
        try:
            feed(parser, data, piece)
        except ProtocolError:
            return 0.0  # Refused: nobody can go on with it.
        best = min(best, time.process_time() - begun)
    return best / len(data) * 1e9


def requests() -> RequestParser:
    return RequestParser(Sink(), MessageLimits())


def responses() -> ResponseParser:
    parser = ResponseParser(MessageLimits())
    parser.answers(b"GET", Sink())
    return parser


def search(random: Random, rounds: int) -> tuple[float, bytes]:
    """
    Look for the dearest unit of a body in chunks, by changing the dearest so far.
    """
    best = (0.0, b"1\r\na\r\n")
    parts = (b"1", b"2", b"0", b"a", b";", b";a", b"=b", b'="x"', b"\r\n")
    for _ in range(rounds):
        size = random.choice((1, 1, 2, 3, 15, 16, 17, 255))
        line = b"%x" % size + b"".join(
            random.choice(parts[4:8]) for _ in range(random.choice((0, 0, 1, 2)))
        )
        unit = line.rjust(len(line) + random.choice((0, 0, 1, 3)), b"0") + b"\r\n"
        unit += bytes(random.choice(b"\r\n0a1;") for _ in range(size)) + b"\r\n"
        if random.random() < 0.5:
            unit = best[1] + unit if len(best[1]) < 200 else unit
        found = cost(requests, HEAD + repeated(unit, READ), READ)
        best = max(best, (found, unit))
    return best


def parsers(random: Random, rounds: int) -> list[str]:
    """
    Print the cost of the parsers, and return the bars that are missed.
    """
    missed = []

    def row(name: str, found: float, bar: float | None) -> None:
        print(f"| {name} | {found:.1f} | {'' if bar is None else f'{bar:.0f}'} |")
        if bar is not None and found > bar:
            missed.append(f"{name}: {found:.1f} ns a byte, at most {bar:.0f}")

    print("| input | ns a byte | bar |\n| --- | --: | --: |")
    for name, unit in CHUNKS.items():
        row(f"request, {name}", cost(requests, HEAD + repeated(unit), READ), CHUNK_BAR)
        row(f"response, {name}", cost(responses, ANSWER + repeated(unit), READ), CHUNK_BAR)
    for name, unit in CONTENT.items():
        row(f"request, {name}", cost(requests, HEAD + repeated(unit), READ), CONTENT_BAR)
    dearest, unit = search(random, rounds)
    row(f"request, the dearest found: {ascii(unit)[2:-1][:60]}", dearest, CHUNK_BAR)
    row(
        "request, one-byte chunks, byte by byte",
        cost(requests, HEAD + repeated(CHUNKS["one-byte chunks"], READ), 1),
        None,
    )
    row("26-byte requests", cost(requests, repeated(GET), READ), None)
    row("26-byte requests, byte by byte", cost(requests, repeated(GET, READ), 1), None)
    row("requests after empty lines", cost(requests, repeated(b"\r\n" * 16 + GET), READ), None)
    fields = b"".join(b"%c%c:\r\n" % (a, b) for a in b"abcdefgh" for b in b"ijklmnopqrst")
    row(
        "heads of 96 shortest fields",
        cost(requests, repeated(GET[:-2] + fields + b"\r\n"), READ),
        None,
    )
    return missed


ATTACKS = {
    "one-byte chunks": (HEAD, CHUNKS["one-byte chunks"] * 10000),
    "chunks of empty lines": (HEAD, CONTENT["64 KiB chunks of empty lines"]),
    "26-byte requests": (b"", GET * 2500),
    "heads byte by byte": (b"", GET),
    "empty lines": (b"", (b"\r\n" * 16 + GET) * 1000),
}
"""The bytes that attackers send: once at the beginning of a connection, and then for ever."""


@contextmanager
def attack(port: int, data: tuple[bytes, bytes], attackers: int, step: int) -> Iterator[None]:
    """
    Send data at full speed from some processes.

    @param step: bytes in one write.
    """
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=attack_for_ever, args=(port, *data, step), daemon=True)
        for _ in range(attackers)
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def attack_for_ever(port: int, head: bytes, unit: bytes, step: int) -> None:
    """
    Send on a connection until it is closed, then on another; and read what comes, so that
    the proxy is not held up. The core is the one of whoever measures, who goes first.
    """
    os.nice(10)
    while True:
        try:
            with socket.create_connection((LOOPBACK, port), 5) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(head)
                connection.setblocking(False)
                at = 0
                while True:
                    readable, writable, _ = select.select([connection], [connection], [], 5)
                    if readable and not connection.recv(65536):
                        break
                    if writable:
                        at = (at + connection.send(unit[at : at + step])) % len(unit)
        except OSError:
            continue


def latency(port: int, seconds: float) -> list[float]:
    """
    The milliseconds that requests take, one after the other, sorted.
    """
    took = []
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        connection.request("GET", "/100")
        connection.getresponse().read()
        took.append((time.monotonic() - begun) * 1e3)
        time.sleep(0.002)
    connection.close()
    return sorted(took)


def under_attack(node: Node, attackers: int, seconds: float) -> list[str]:
    """
    Print the latency of others under each attack, and return the bars that are missed.
    """
    missed = []
    print("\n| under attack by | requests of others | p50 ms | p99 ms | longest ms |")
    print("| --- | --: | --: | --: | --: |")

    def row(name: str, took: list[float]) -> None:
        p50, p99 = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
        print(f"| {name} | {len(took)} | {p50:.1f} | {p99:.1f} | {took[-1]:.1f} |")
        if p99 > LATENCY_BAR:
            missed.append(f"{name}: p99 {p99:.1f} ms, at most {LATENCY_BAR:.0f}")

    row("nobody", latency(node.proxy, seconds))
    for name, data in ATTACKS.items():
        for port, where in ((node.proxy, "proxy"), (node.management, "management")):
            with attack(port, data, attackers, 1 if "byte by byte" in name else 65536):
                row(f"{name}, {where}", latency(node.proxy, seconds))
    return missed


def main() -> int:
    """
    Measure, print, and return 1 if a bar is missed.
    """
    parser = argparse.ArgumentParser(description="The dearest inputs.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each attack (%(default)s)")
    parser.add_argument("--attackers", type=int, default=3, help="at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=300, help="of the search (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (%(default)s)")
    options = parser.parse_args()
    os.sched_setaffinity(0, os.sched_getaffinity(0) & {PROXY_CORE} or os.sched_getaffinity(0))
    missed = parsers(Random(options.seed), options.rounds)
    os.sched_setaffinity(0, {LOAD_CORE} & set(range(os.cpu_count() or 1)) or {PROXY_CORE})
    with TemporaryDirectory(prefix="alacrity-worst-") as name:
        directory = Path(name)
        with origin(directory) as port, start_node(directory) as node:
            node.register(port)
            missed += under_attack(node, options.attackers, options.seconds)
    for each in missed:
        print(f"missed: {each}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    exit_with(main)
