"""
The dearest inputs: C{python -m benchmarks.worst_case}.

First, what the parsers cost a byte, for inputs that are known to be dear and for others
that a search makes of them. Then a real node under attack by some of these at full speed,
on one core, and how long another client's requests take meanwhile.
"""

from __future__ import annotations

import argparse
import http.client
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Thread

from acceptance.lab.attacks import CLIENTS, SERVERS, Attack
from acceptance.lab.calls import LOOPBACK
from acceptance.lab.nodes import Node
from acceptance.lab.processes import LOAD_CORE, PROXY_CORE, exit_with, forked
from acceptance.lab.waiting import Broken
from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.http1.parser import MessageLimits, RequestParser, ResponseParser
from benchmarks.builds import start_node
from benchmarks.origins import origin

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


CONFIGURATION = """
[proxy]
trusted_proxies = ["127.0.0.0/8"]
[timeouts]
client_idle = 600.0
server_idle = 600.0
[ejection]
failures = 0
[sticky]
cookie = "alacrity"
"""
"""Of the node under attack: the cookie keeps the others' requests away from hostile servers."""


@contextmanager
def attack(port: int, attack: Attack, attackers: int) -> Iterator[None]:
    """
    Send data at full speed from some processes.

    @param port: of the node.
    """
    with ExitStack() as stack:
        for _ in range(attackers):
            stack.enter_context(forked(attack_for_ever, port, attack, core=LOAD_CORE))
        yield


@contextmanager
def attack_as_server(node: Node, attack: Attack, attackers: int) -> Iterator[None]:
    """
    Register a server that answers with data at full speed, and have some processes ask it.
    """
    with socket.create_server((LOOPBACK, 0), backlog=64) as listener, ExitStack() as stack:
        stack.enter_context(forked(serve_for_ever, listener, attack, core=LOAD_CORE))
        server = node.register(listener.getsockname()[1])
        for _ in range(attackers):
            stack.enter_context(forked(attack_for_ever, node.proxy, ASK, core=LOAD_CORE))
        try:
            yield
        finally:
            node.call("DELETE", f"/servers/{server}?wait=0")


ASK = Attack(b"", b"GET /100 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 65536)
"""The requests that have a hostile server answer."""


def attack_for_ever(port: int, attack: Attack) -> None:
    """
    Send on a connection until it is closed, then on another; and read what comes, so that
    the proxy is not held up. The core is the one of whoever measures, who goes first.
    """
    os.nice(10)
    while True:
        try:
            with socket.create_connection((LOOPBACK, port), 5) as connection:
                send_for_ever(connection, attack)
        except OSError:
            continue


def send_for_ever(connection: socket.socket, attack: Attack) -> None:
    """
    Send on a connection until it is closed, and read what comes.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(attack.head)
    connection.setblocking(False)
    unit, at = memoryview(attack.unit), 0
    while True:
        readable, writable, _ = select.select([connection], [connection], [], 5)
        if readable and not connection.recv(65536):
            return
        if writable:
            at = (at + connection.send(unit[at : at + attack.piece])) % len(unit)


def serve_for_ever(listener: socket.socket, attack: Attack) -> None:
    """
    Answer each request with an attack, until the connection is closed: a thread for each.
    """
    os.nice(10)

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while connection.recv(65536):
                if attack.head:
                    send_for_ever(connection, attack)
                    return
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(attack.unit), attack.piece):
                    connection.sendall(attack.unit[at : at + attack.piece])

    while True:
        Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


class Other:
    """
    A client that asks 100 times a second, whatever becomes of its requests, and keeps to the
    server that answered first.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
        self._fields: dict[str, str] = {}
        self._get()

    def _get(self) -> None:
        self._connection.request("GET", "/100", headers=self._fields)
        response = self._connection.getresponse()
        response.read()
        if response.status != 200:
            raise Broken(f"another client got {response.status}")
        if (cookie := response.headers["Set-Cookie"]) is not None:
            self._fields = {"Cookie": cookie.partition(";")[0]}

    def latency(self, seconds: float) -> list[float]:
        """
        The milliseconds that requests take, sorted. One that could not be sent when it was due
        has waited since then.
        """
        took = []
        begun = time.monotonic()
        for number in range(int(seconds * 100)):
            due = begun + number * 0.01
            time.sleep(max(0.0, due - time.monotonic()))
            self._get()
            took.append((time.monotonic() - due) * 1e3)
        return sorted(took)


ON_MANAGEMENT = (
    "one-byte chunks",
    "chunks full of empty lines",
    "heads byte by byte",
    "pipelined 26-byte requests",
    "empty lines before requests",
    "a chunk's size with endless zeros",
    "Connection of thousands of members",
    "field lines that are all new",
)
"""The attacks that the management API is under, too."""


def under_attack(node: Node, attackers: int, seconds: float, only: str) -> list[str]:
    """
    Print the latency of others under each attack, and return the bars that are missed.

    @param only: a part of the names of the attacks.
    """
    missed = []
    print(f"\n| under attack by {attackers} | requests of others | p50 ms | p99 ms | longest ms |")
    print("| --- | --: | --: | --: | --: |")
    other = Other(node.proxy)

    def row(name: str) -> None:
        took = other.latency(seconds)
        p50, p99 = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
        print(f"| {name} | {len(took)} | {p50:.1f} | {p99:.1f} | {took[-1]:.1f} |", flush=True)
        if p99 > LATENCY_BAR:
            missed.append(f"{name}: p99 {p99:.1f} ms, at most {LATENCY_BAR:.0f}")

    row("nobody")
    for name, each in CLIENTS.items():
        if only in name:
            with attack(node.proxy, each, attackers):
                row(f"client: {name}")
            if name in ON_MANAGEMENT:
                with attack(node.management, each, attackers):
                    row(f"management: {name}")
    for name, each in SERVERS.items():
        if only in name:
            with attack_as_server(node, each, attackers):
                row(f"server: {name}")
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
    parser.add_argument("--only", default="", help="the attacks with this in their names")
    parser.add_argument("--no-parsers", action="store_true", help="attacks alone")
    options = parser.parse_args()
    os.sched_setaffinity(0, os.sched_getaffinity(0) & {PROXY_CORE} or os.sched_getaffinity(0))
    missed = [] if options.no_parsers else parsers(Random(options.seed), options.rounds)
    os.sched_setaffinity(0, {LOAD_CORE} & set(range(os.cpu_count() or 1)) or {PROXY_CORE})
    with TemporaryDirectory(prefix="alacrity-worst-") as name:
        directory = Path(name)
        with origin(directory) as port, start_node(directory, CONFIGURATION) as node:
            node.register(port)
            missed += under_attack(node, options.attackers, options.seconds, options.only)
    for each in missed:
        print(f"missed: {each}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    exit_with(main)
