"""
A server that fails as it is told to, in a process of its own: C{python -m
acceptance.lab.origins}.

Answers C{GET /health} to checks, and all else to clients. C{PUT /-/behaviour} changes what it
does; every request is a line of its journal, which outlives it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from acceptance.lab.calls import call
from acceptance.lab.clusters import ADDRESS, free_ports
from acceptance.lab.processes import FileOutput, Process
from acceptance.lab.waiting import Broken

HEALTH: Final = "/health"
CONTROL: Final = "/-/behaviour"

SERVICE_TIME: Final = 0.02
"""Seconds that an answer takes, so that there are requests in hand whenever a server fails."""


class Behaviour(msgspec.Struct, frozen=True):
    """
    The answers of a server.

    @ivar status: to clients.
    @ivar health: the status for checks.
    @ivar delay: seconds that an answer to clients takes.
    """

    status: int = 200
    health: int = 200
    delay: float = SERVICE_TIME


class Line(NamedTuple):
    """
    A request in a journal.

    @ivar time: at which it came, of the clock that all processes share.
    """

    time: float
    port: int
    method: str
    path: str


def journal_of(text: str) -> list[Line]:
    """
    The requests of clients in a journal, without a last line that is incomplete.
    """
    lines = []
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            moment, port, method, path = line.split()
            lines.append(Line(float(moment), int(port), method, path))
    return lines


class Origin(Process):
    """
    A server for tests of failures.

    @ivar ports: the ports it listens on.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        host: str = ADDRESS,
        ports: Sequence[int] = (),
        within: Sequence[str] = (),
        before: Sequence[str] = (),
        abrupt: bool = False,
    ) -> None:
        """
        @param ports: to listen on; none: one that is free.
        @param within: a command that runs others, such as C{nsenter}.
        @param before: likewise; gets a word C{--} before the command.
        @param abrupt: whether SIGTERM ends it at once, with requests in hand, as it does most
            programs that were not taught better.
        """
        self.host = host
        self.ports = list(ports) or free_ports(1)
        self._journal = directory / f"{name}.journal"
        self._journal.touch()
        own = [sys.executable, "-m", "acceptance.lab.origins", f"--host={host}"]
        own += [f"--journal={self._journal}", *(["--abrupt"] if abrupt else [])]
        own += map(str, self.ports)
        wrapped = [*before, "--", *own] if before else own
        output = FileOutput(directory / f"{name}.log")
        super().__init__([*within, *wrapped], directory, name=name, output=output)

    @property
    def port(self) -> int:
        """
        The first port it listens on.
        """
        return self.ports[0]

    def started(self) -> Origin:
        """
        Start it, and wait until it listens.
        """
        self.start()
        self.expect("origin listens")
        return self

    def behave(self, behaviour: Behaviour) -> None:
        """
        Have it do something else from now on.
        """
        document = msgspec.to_builtins(behaviour)
        answer = call(self.port, "PUT", CONTROL, document, host=self.host)
        if answer.status != 204:
            raise Broken(f"{self.name} was told how to behave, and answered {answer.status}")

    def journal(self) -> list[Line]:
        """
        The requests of clients that it got, in all its runs.
        """
        return journal_of(self._journal.read_text())


class _Service:
    """
    The state that a server's connections share.
    """

    def __init__(self, journal: int) -> None:
        self.behaviour = Behaviour()
        self.ending = False
        self.connections: set[_Connection] = set()
        self.gone = asyncio.Event()
        self._journal = journal

    def note(self, port: int, method: str, path: str) -> None:
        os.write(self._journal, f"{time.monotonic():.6f} {port} {method} {path}\n".encode())


class _Connection(asyncio.Protocol):
    """
    A connection with one request at a time, whose body has a length.
    """

    _transport: asyncio.Transport

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._data = b""
        self._busy = False
        self._port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._port = transport.get_extra_info("sockname")[1]
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.connections.discard(self)
        if not self._service.connections:
            self._service.gone.set()

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._next()

    def _next(self) -> None:
        head, separator, rest = self._data.partition(b"\r\n\r\n")
        if self._busy or not separator:
            return
        length = content_length(head)
        if len(rest) < length:
            return
        self._data = rest[length:]
        self._busy = True
        method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        self._take(method, path, rest[:length])

    def _take(self, method: str, path: str, body: bytes) -> None:
        service = self._service
        if path == CONTROL:
            service.behaviour = msgspec.json.decode(body, type=Behaviour)
            self._answer(204)
        elif path == HEALTH:
            self._answer(service.behaviour.health)
        else:
            service.note(self._port, method, path)
            # Requests in hand are answered as all others, once it is told otherwise.
            asyncio.get_running_loop().call_later(
                service.behaviour.delay, lambda: self._answer(service.behaviour.status)
            )

    def _answer(self, status: int) -> None:
        body = b"" if status == 204 else b"%d\n" % status
        last = self._service.ending
        self._transport.write(
            b"HTTP/1.1 %d Told\r\nX-Port: %d\r\n" % (status, self._port)
            + (b"" if status == 204 else b"Content-Length: %d\r\n" % len(body))
            + (b"Connection: close\r\n\r\n" if last else b"\r\n")
            + body
        )
        self._busy = False
        if last:
            self._transport.close()
        else:
            self._next()

    def close_if_idle(self) -> None:
        if not self._busy:
            self._transport.close()


def content_length(head: bytes) -> int:
    """
    The length of a message's body, by its head; 0 if it has none.
    """
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve(host: str, ports: Sequence[int], journal: Path, *, abrupt: bool) -> None:
    """
    Serve until SIGTERM, after which the requests in hand are answered.

    @param abrupt: whether they are not.
    """
    service = _Service(os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    if not abrupt:
        loop.add_signal_handler(signal.SIGTERM, over.set)
    listeners = [
        await loop.create_server(lambda: _Connection(service), host, port, backlog=1024)
        for port in ports
    ]
    sys.stdout.write("origin listens\n")
    sys.stdout.flush()
    await over.wait()
    service.ending = True
    for listener in listeners:
        listener.close()
    for connection in list(service.connections):
        connection.close_if_idle()
    if service.connections:
        service.gone.clear()
        await service.gone.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default=ADDRESS)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--abrupt", action="store_true")
    options = parser.parse_args()
    asyncio.run(_serve(options.host, options.ports, options.journal, abrupt=options.abrupt))


if __name__ == "__main__":
    main()
