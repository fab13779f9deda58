"""
The time until a new server gets traffic: C{python -m benchmarks.registration}.

Registers a server with an Alacrity that has none, and asks the proxy again and again
until it answers from that server; then removes it, and does the same with the next.
Prints the median and the worst of the times from the start of the registration to
the end of the first answer. The exit status is 1 if the worst is not under 20 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.nodes import Node
from acceptance.lab.processes import (
    LOAD_CORE,
    allow_descriptors,
    exit_with,
    forked,
    pin,
    time_limit,
)
from acceptance.lab.servers import serve
from acceptance.lab.waiting import Broken, wait_until
from benchmarks.builds import start_node

BAR = 0.020
"""Seconds."""

_GIVE_UP = 10.0


class Times(NamedTuple):
    """
    Seconds since the registration was sent.

    @ivar committed: its answer was there.
    @ivar served: the proxy had answered from the server.
    """

    committed: float
    served: float


class Connection:
    """
    A client's connection, which is made anew when it was closed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def send(self, request: bytes) -> None:
        """
        Send a request, over a new connection if there is none.
        """
        if self._socket is None:
            self._socket = socket.create_connection((LOOPBACK, self._port), _GIVE_UP)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)

    def receive(self) -> tuple[int, bytes]:
        """
        Read an answer to its end.

        @return: its status and head.
        @raise Broken: there was none, or it broke off.
        """
        assert self._socket is not None
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end and len(body) >= _length(head):
                break
            more = self._socket.recv(65536)
            if not more:
                raise Broken(f"a connection closed within an answer: {data[:100]!r}")
            data += more
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return int(head.split()[1]), head

    def is_readable(self) -> bool:
        """
        True if an answer is there, or a part of it.
        """
        return self._socket is not None and bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        """
        Close it, until the next request.
        """
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def measure(node: Node, ip: str, port: int) -> Times:
    """
    Register a server, measure the times, and remove it.

    @raise Broken: the API or the proxy answers what it should not.
    """
    document = json.dumps({"ip": ip, "port": port, "check": {"type": "tcp"}})
    register = (
        f"POST /servers HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(document)}\r\n\r\n{document}"
    ).encode()
    request = f"GET / HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode()
    management, client = Connection(node.management), Connection(node.proxy)
    with contextlib.closing(management), contextlib.closing(client), time_limit(_GIVE_UP):
        client.send(request)
        status, _ = client.receive()
        if status != 503:
            raise Broken(f"without servers, the proxy answered {status}")
        answer: tuple[int, bytes] | None = None
        committed = 0.0
        begun = time.perf_counter()
        management.send(register)
        while status != 200:
            client.send(request)
            status, _ = client.receive()
            served = time.perf_counter() - begun
            if status not in (200, 503):
                raise Broken(f"the proxy answered {status}")
            if answer is None and management.is_readable():
                answer = management.receive()
                committed = time.perf_counter() - begun
        if answer is None:
            answer = management.receive()
            committed = time.perf_counter() - begun
    status, head = answer
    location = [line[9:].strip() for line in head.decode().split("\r\n") if line[:9] == "Location:"]
    if status != 201 or not location:
        raise Broken(f"a registration was answered {head!r}")
    _remove(node, location[0])
    return Times(committed, served)


def _remove(node: Node, location: str) -> None:
    """
    Remove a server, and wait until it is gone.
    """
    answer = node.call("DELETE", location)
    if answer.status != 204:
        raise Broken(f"a removal was answered {answer.status}: {answer.body!r}")
    wait_until(lambda: node.call("GET", location).status == 404, "the server is gone")


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="The time until a new server gets traffic.")
    parser.add_argument("-n", type=int, default=50, help="how many servers (%(default)s)")
    options = parser.parse_args()
    if not 0 < options.n < 255:
        parser.error("-n: 1 to 254")
    allow_descriptors(options.n + 100)
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server((f"127.0.1.{number + 1}", 0)))
            for number in range(options.n)
        ]
        stack.enter_context(forked(serve, listeners))
        pin(LOAD_CORE)
        directory = stack.enter_context(TemporaryDirectory(prefix="alacrity-registration-"))
        node = stack.enter_context(start_node(Path(directory)))
        times = [measure(node, *listener.getsockname()) for listener in listeners]
    worst = max(each.served for each in times)
    print(f"{options.n} registrations, each the only server: ms from sending POST /servers to")
    for what, values in (
        ("its answer", [each.committed for each in times]),
        ("the first proxied 200", [each.served for each in times]),
    ):
        print(
            f"  {what:22} first {1e3 * values[0]:6.2f}   median {1e3 * median(values):6.2f}   "
            f"worst {1e3 * max(values):6.2f}"
        )
    print(f"  bar: under {1e3 * BAR:.0f} at worst: {'met' if worst < BAR else 'MISSED'}")
    return int(worst >= BAR)


if __name__ == "__main__":
    exit_with(main)
