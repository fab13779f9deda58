"""
How soon a new server gets traffic: C{python benchmarks/registration.py}.

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
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from peers import Node, call, start_node
from processes import (
    HOST,
    LOAD_CORE,
    Broken,
    allow_descriptors,
    end_on_sigterm,
    forked,
    pin,
    time_limit,
    wait_until,
)

BAR = 0.020
"""Seconds."""

_GIVE_UP = 10.0
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


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
    A client's connection, which comes back when it is closed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def send(self, request: bytes) -> None:
        """
        Send a request, over a new connection if there is none.
        """
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), _GIVE_UP)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)

    def receive(self) -> tuple[int, bytes]:
        """
        @return: status and head of the answer; its body is read as well.
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
        Whether an answer is there, or a part of it.
        """
        return self._socket is not None and bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        """
        Close it, for now.
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


def serve(listeners: Sequence[socket.socket]) -> None:
    """
    Be the servers: each answers 200 to whatever it is asked.
    """
    poll = select.epoll()
    sockets = {listener.fileno(): listener for listener in listeners}
    listening = set(sockets)
    for fd in sockets:
        poll.register(fd, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in listening:
                connection, _ = sockets[fd].accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN)
            else:
                data = b""
                with contextlib.suppress(OSError):
                    # Requests have no bodies, and come one at a time.
                    data = sockets[fd].recv(65536)
                    if data:
                        sockets[fd].sendall(_ANSWER)
                if not data:
                    poll.unregister(fd)
                    sockets.pop(fd).close()


def measure(node: Node, ip: str, port: int) -> Times:
    """
    Register a server, see how long it takes, and remove it.

    @raise Broken: the API or the proxy answers what it should not.
    """
    document = json.dumps({"ip": ip, "port": port, "check": {"type": "tcp"}})
    register = (
        f"POST /servers HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(document)}\r\n\r\n{document}"
    ).encode()
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    management, client = Connection(node.management), Connection(node.port)
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
    status, _, answer = call(node.management, "DELETE", location)
    if status != 204:
        raise Broken(f"a removal was answered {status}: {answer!r}")

    def is_gone() -> bool:
        status, _, _ = call(node.management, "GET", location)
        return status == 404

    wait_until(node.child, is_gone, "rid of the server")


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="How soon a new server gets traffic.")
    parser.add_argument("-n", type=int, default=50, help="how many servers (%(default)s)")
    options = parser.parse_args()
    if not 0 < options.n < 255:
        parser.error("-n: 1 to 254")
    end_on_sigterm()
    allow_descriptors(options.n + 100)
    with contextlib.ExitStack() as stack:
        try:
            listeners = [
                stack.enter_context(socket.create_server((f"127.0.1.{number + 1}", 0)))
                for number in range(options.n)
            ]
            stack.enter_context(forked(lambda: serve(listeners)))
            pin(LOAD_CORE)
            directory = stack.enter_context(TemporaryDirectory(prefix="alacrity-registration-"))
            node = stack.enter_context(start_node(Path(directory)))
            times = [measure(node, *listener.getsockname()) for listener in listeners]
        except (Broken, OSError) as error:
            print(error, file=sys.stderr)
            return 1
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
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
