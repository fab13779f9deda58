"""
Real processes for tests: a node as C{twistd} runs it, and the test server. What a test
waits for, it reads in their logs.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Event
from typing import Any, Final

from tests.support.places import ROOT

PATIENCE: Final = 20.0
"""Seconds that a process may take for anything."""


TWISTD: Final = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


@contextmanager
def _usual_signals() -> Iterator[None]:
    """
    Have a process begin as from a terminal: a shell has what it starts in the background
    ignore some signals, and so would all that the tests start.
    """
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGQUIT)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


class Process:
    """
    A process that a test has started.

    @ivar log: what it has written so far.
    """

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with _usual_signals():
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        self._output = self._process.stdout
        self.log = ""

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def expect(self, pattern: str) -> re.Match[str]:
        """
        Wait until its log has a match.

        @raise AssertionError: it ends before, or takes too long.
        """
        until = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.log)) is None:
            if not self._read(until):
                raise AssertionError(f"{pattern!r} does not come in this log:\n{self.log}")
        return found

    def _read(self, until: float) -> bool:
        """
        Read some more of its log.

        @return: whether there was more, in time.
        """
        assert self._output is not None
        descriptor = self._output.fileno()
        # Unlike select, this takes descriptors above 1023.
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        ready = poll.poll(1000 * max(0.0, until - time.monotonic()))
        data = os.read(descriptor, 65536) if ready else b""
        self.log += data.decode(errors="replace")
        return data != b""

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def ended(self) -> int:
        """
        Wait until it has ended; its exit status.
        """
        until = time.monotonic() + PATIENCE
        while self._output is not None and self._read(until):
            pass
        return self._process.wait(max(1.0, until - time.monotonic()))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """
        End it, whatever state it is in; its exit status.
        """
        self.send(number)
        try:
            return self.ended()
        finally:
            self.send(signal.SIGKILL)
            self._process.wait()
            if self._output is not None:
                self._output.close()
                self._output = None


class Node(Process):
    """
    A node, on ports of its own choice.

    @ivar directory: where it runs.
    @ivar proxy: the port of its proxy.
    @ivar management: the port of its management API.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        twistd: Sequence[str] = (),
        configuration: str = "",
        descriptors: int | None = None,
    ) -> None:
        """
        @param descriptors: how many file descriptors it may have; L{None}: as many as
            this process.
        @param options: for C{alacrity}.
        @param twistd: for C{twistd} itself.
        @param configuration: what its file says.
        """
        directory.mkdir(exist_ok=True)
        self.directory = directory
        (directory / "alacrity.toml").write_text(configuration)
        here = "tcp:0:interface=127.0.0.1"
        limited = (
            ()
            if descriptors is None
            else ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh")
        )
        super().__init__(
            [
                *(*limited, *TWISTD, "-n", "--pidfile=", *twistd),
                *("alacrity", "--config=alacrity.toml", f"--proxy={here}", f"--management={here}"),
                *options,
            ],
            directory,
        )

    def started(self) -> Node:
        """
        Wait until it serves.
        """
        self.proxy = int(self.expect(r"proxy listens on 127\.0\.0\.1:(\d+)")[1])
        self.management = int(self.expect(r"management listens on 127\.0\.0\.1:(\d+)")[1])
        return self

    def get(self, path: str = "/") -> Answer:
        """
        What the proxy answers.
        """
        return call(self.proxy, "GET", path)

    def register(self, port: int, **members: object) -> str:
        """
        Register a server on this machine, and wait until it gets traffic; its id.
        """
        document = {"ip": "127.0.0.1", "port": port, **members}
        answer = call(self.management, "POST", "/servers", document)
        assert answer.status in {200, 201}, answer.body
        id: str = answer.json()["id"]
        self.expect(rf"server {re.escape(id)} is up")
        return id


class TestServer(Process):
    """
    The test server.

    @ivar port: where it listens.
    """

    __test__ = False

    def __init__(self, *options: str) -> None:
        super().__init__([sys.executable, "-m", "alacrity.testserver", *options], Path.cwd())
        self.port = int(self.expect(r"listens on \S+, port (\d+)")[1])


class Answer:
    """
    A response, read to its end.
    """

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> Any:
        """The body's document."""
        return json.loads(self.body)


def call(port: int, method: str, path: str, document: object = None) -> Answer:
    """
    Make one request, on a connection of its own.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def wait_until(met: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """
    Wait until something holds.

    @param met: says whether it does; an L{OSError} means not yet.
    @param what: it is, for the error.
    @raise AssertionError: it takes too long.
    """
    until = time.monotonic() + patience
    pause = Event()
    while True:
        try:
            if met():
                return
        except OSError:
            pass
        if time.monotonic() > until:
            raise AssertionError(f"not within {patience:.0f} s: {what}")
        pause.wait(0.02)
