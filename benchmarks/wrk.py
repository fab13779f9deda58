"""
The load of the comparison: wrk for requests, the pacer for those at a constant rate, curl
for a large body, and idle connections of our own.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import msgspec

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.processes import LOAD_CORE, Process, allow_descriptors, run
from acceptance.lab.waiting import Broken
from benchmarks.origins import FILES
from benchmarks.pacer import Pacing
from benchmarks.programs import find_program
from benchmarks.requests import FROM_BROWSER, Request

_TOGETHER = 32
_SETTLE = 1.0

_SHARE = 0.5
"""Of the requests a second that a proxy can do at most, those of the open loop."""

_KEPT_UP = 0.98
"""The least share of the rate that is asked for: with less, proxy or load did not keep up."""

_LATE = 0.5
"""The share of p99 that the load may be late: with more, p99 is that of the load."""


class WrkSummary(msgspec.Struct, frozen=True):
    """
    The summary that wrk's C{done} is given: times in microseconds, bytes with heads.
    """

    requests: int
    duration: int
    bytes: int
    p50: float
    p99: float
    errors: dict[str, int]


class Result(msgspec.Struct, frozen=True):
    """
    One measurement.

    @ivar values: by name of the column.
    @ivar fault: what went wrong, if anything did.
    """

    values: dict[str, float]
    fault: str = ""


class Bench(msgspec.Struct, frozen=True):
    """
    The measurements, and how much load each takes.

    @ivar seconds: of each run of wrk, after a warm-up.
    @ivar connections: at once.
    @ivar idle: connections to hold.
    @ivar directory: for wrk's script.
    """

    seconds: float
    connections: int
    idle: int
    directory: Path

    def requests(self, proxy: Process, port: int, request: Request, *, tls: bool = False) -> Result:
        """
        Keep the proxy busy with requests, and measure.
        """
        _expect_answer(port, request, tls=tls)
        self._wrk(port, request, self._warm_up(), tls=tls)
        cpu, begun = proxy.cpu_seconds(), time.monotonic()
        done = self._wrk(port, request, self.seconds, tls=tls)
        cpu, wall = proxy.cpu_seconds() - cpu, time.monotonic() - begun
        return outcome(done, request, cpu, wall)

    def paced(self, proxy: Process, port: int, request: Request) -> Result:
        """
        Find the requests a second that the proxy can do at most, then send half as many at a
        constant rate, and measure.
        """
        most = self.requests(proxy, port, request)
        if most.fault:
            return Result({}, f"at saturation: {most.fault}")
        rate = _SHARE * most.values["rps"]
        words = [port, f"{rate:.1f}", self.seconds, self.connections]
        command = [sys.executable, "-m", "benchmarks.pacer", *map(str, words)]
        cpu = proxy.cpu_seconds()
        with Process(command, self.directory, name="pacer", core=LOAD_CORE) as pacer:
            if pacer.ended(self.seconds + 30):
                raise pacer.broken("failed")
            done = msgspec.json.decode(pacer.log, type=Pacing)
        return paced_outcome(done, rate, proxy.cpu_seconds() - cpu)

    def body(self, proxy: Process, port: int, path: str) -> Result:
        """
        Fetch a large body, one after another for as long as a run takes.
        """
        self._curl(port, path)
        speeds: list[float] = []
        cpu, begun = proxy.cpu_seconds(), time.monotonic()
        while len(speeds) < 3 or time.monotonic() - begun < self.seconds:
            speeds.append(FILES[path] / self._curl(port, path) / 1e6)
        cpu, wall = proxy.cpu_seconds() - cpu, time.monotonic() - begun
        values = {
            "mb_s": sorted(speeds)[len(speeds) // 2],
            "cpu_s_gb": 1e9 * cpu / (FILES[path] * len(speeds)),
            "core": 100 * cpu / wall,
        }
        return Result(values)

    def idle_connections(self, proxy: Process, port: int) -> Result:
        """
        Open connections, have one request answered on each, and measure the memory that
        keeping them takes.
        """
        allow_descriptors(self.idle + 100)
        # More of a warm-up would leave free memory behind, and the connections would hide in it.
        with _used_connections(port, _TOGETHER):
            pass
        time.sleep(_SETTLE)
        before = proxy.resident_bytes()
        with _used_connections(port, self.idle) as clients:
            time.sleep(_SETTLE)
            grown = proxy.resident_bytes() - before
            closed = _count_closed(clients)
        fault = f"{closed} of {self.idle} connections closed" if closed else ""
        return Result({"kib": grown / 1024 / max(1, self.idle - closed)}, fault)

    def _warm_up(self) -> float:
        return max(1.0, self.seconds / 4)

    def _wrk(self, port: int, request: Request, seconds: float, *, tls: bool) -> WrkSummary:
        """
        Run wrk.

        @param seconds: wrk takes whole ones.
        """
        program = _find("wrk")
        script = self.directory / "requests.lua"
        script.write_text(request.script())
        whole = max(1, round(seconds))
        options = ["-t", "1", "-c", str(self.connections), "-d", f"{whole}s", "--timeout", "5s"]
        for name, value in request.fields.items():
            options += ["-H", f"{name}: {value}"]
        url = f"{'https' if tls else 'http'}://{LOOPBACK}:{port}{request.path}"
        said = run([program, *options, "-s", script, url], whole + 30, LOAD_CORE)
        return summary(said)

    def _curl(self, port: int, path: str) -> float:
        """
        Fetch a body.

        @return: the seconds that it took.
        """
        written = run(
            [
                _find("curl"),
                *("--silent", "--show-error", "--output", "/dev/null", "--noproxy", "*"),
                *("--write-out", "%{http_code} %{size_download} %{time_total}"),
                f"http://{LOOPBACK}:{port}{path}",
            ],
            60,
            LOAD_CORE,
        )
        status, size, seconds = written.split()
        if status != "200" or int(size) != FILES[path]:
            raise Broken(f"curl got status {status} and {size} of {FILES[path]} bytes")
        return float(seconds)


def summary(said: str) -> WrkSummary:
    """
    Read what wrk printed.

    @raise Broken: it did not come to its end.
    """
    _, marked, report = said.partition("REPORT ")
    if not marked:
        raise Broken(f"wrk printed no report: {said.strip()[-200:]}")
    return msgspec.json.decode(report.strip(), type=WrkSummary)


def outcome(done: WrkSummary, request: Request, cpu: float, wall: float) -> Result:
    """
    The values of a run of wrk.

    @param cpu: seconds of CPU that the proxy used.
    @param wall: seconds that the run took.
    @raise Broken: no request was answered.
    """
    if not done.requests:
        raise Broken(f"no request was answered; errors: {done.errors}")
    faults = [f"{count} {name} errors" for name, count in done.errors.items() if count]
    if done.bytes < done.requests * request.least_body:
        faults.append(f"bodies too short: {done.bytes} bytes in all")
    values = {
        "cpu_us": 1e6 * cpu / done.requests,
        "rps": 1e6 * done.requests / done.duration,
        "p50_ms": done.p50 / 1e3,
        "p99_ms": done.p99 / 1e3,
        "core": 100 * cpu / wall,
    }
    return Result(values, ", ".join(faults).replace("status errors", "non-2xx"))


def paced_outcome(done: Pacing, rate: float, cpu: float) -> Result:
    """
    The values of a run of the pacer.

    @param rate: the requests a second that it was to send.
    @param cpu: seconds of CPU that the proxy used.
    @raise Broken: no request was answered.
    """
    if not done.answered:
        raise Broken(f"no request was answered; faults: {done.faults}")
    faults = [f"{count} {name}" for name, count in done.faults.items()]
    if done.rate < _KEPT_UP * rate:
        faults.append(f"{done.rate:.0f} of {rate:.0f} requests/s")
    if done.late > _LATE * done.p99:
        faults.append(f"the load was late: {1e3 * done.late:.2f} ms")
    values = {
        "cpu_us": 1e6 * cpu / done.answered,
        "rps": done.rate,
        "p50_ms": 1e3 * done.p50,
        "p99_ms": 1e3 * done.p99,
        "p999_ms": 1e3 * done.p999,
        "late_ms": 1e3 * done.late,
        "core": 100 * cpu * done.rate / done.answered,
    }
    return Result(values, ", ".join(faults))


def missing_tools() -> list[str]:
    """
    The packages to install before anything can be measured.
    """
    packages = {"wrk": "wrk", "curl": "curl", "taskset": "util-linux"}
    return [package for name, package in packages.items() if find_program(name) is None]


def _find(name: str) -> str:
    program = find_program(name)
    if program is None:
        raise Broken(f"{name} is not on this machine")
    return program


def _expect_answer(port: int, request: Request, *, tls: bool) -> None:
    """
    Wrk counts only statuses from 400 as errors; see that it is 200, and the body whole.
    """
    connection = (
        HTTPSConnection(LOOPBACK, port, timeout=10, context=_any_certificate())
        if tls
        else HTTPConnection(LOOPBACK, port, timeout=10)
    )
    name = f"{request.method} {request.path}"
    try:
        body = b"0" * request.body or None
        connection.request(request.method, request.path, body, dict(request.fields))
        response = connection.getresponse()
        size = len(response.read())
    except OSError as error:
        raise Broken(f"{name} failed: {error}") from error
    finally:
        connection.close()
    if response.status != 200 or not request.accepts(size):
        raise Broken(f"{name} got status {response.status} and {size} bytes")
    if request.is_chunked and response.getheader("Transfer-Encoding") != "chunked":
        raise Broken(f"{name} is not answered in chunks")


def _any_certificate() -> ssl.SSLContext:
    """
    Settings of a client that takes the certificate made for this run.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _used_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """
    Connections of clients, with one request answered on each.
    """
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((LOOPBACK, port), 10))
            for _ in range(count)
        ]
        for first in range(0, count, _TOGETHER):
            _one_request_each(clients[first : first + _TOGETHER])
        yield clients


def _one_request_each(clients: Sequence[socket.socket]) -> None:
    """
    Send a browser's request on each connection, then read all answers to their ends.
    """
    request = FROM_BROWSER.head()
    for client in clients:
        client.sendall(request)
    for client in clients:
        answer = b""
        # Found by its length alone, whichever way it is framed: the body is zeros.
        while answer.count(b"\0") < FROM_BROWSER.least_body:
            data = client.recv(65536)
            if not data:
                raise Broken(f"a connection closed within an answer: {answer[:100]!r}")
            answer += data
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise Broken(f"a connection got {answer[:100]!r}")


def _count_closed(clients: Sequence[socket.socket]) -> int:
    poll = select.poll()
    for client in clients:
        poll.register(client, select.POLLIN)
    # Readable means closed, or the last chunk of an answer.
    sockets = {client.fileno(): client for client in clients}
    closed = 0
    for fd, _ in poll.poll(0):
        try:
            while sockets[fd].recv(65536, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            continue
        except OSError:
            pass
        closed += 1
    return closed
