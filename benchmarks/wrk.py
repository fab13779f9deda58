"""
The load of the comparison: wrk for requests, curl for a large body, and idle
connections of our own.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import msgspec

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.processes import LOAD_CORE, Process, allow_descriptors, run
from acceptance.lab.waiting import Broken
from benchmarks.proxies import SIZES, find_program

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Connection": "keep-alive",
    "Referer": "https://www.example.com/articles/2024/how-to-measure-a-proxy.html",
    "Cookie": "session=5f2b9c1e7a3d4e60b8f1c2d3e4a5b6c7; theme=dark; consent=essential",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}

_TOGETHER = 32
_SETTLE = 1.0

_REPORT = """\
done = function(summary, latency, requests)
    io.write(string.format(
        '\\nREPORT {"requests": %d, "duration": %d, "bytes": %d, "p50": %f, "p99": %f, ' ..
        '"errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\\n',
        summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99),
        summary.errors.connect, summary.errors.read, summary.errors.write,
        summary.errors.timeout, summary.errors.status))
end
"""


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

    def requests(self, proxy: Process, port: int, path: str, fields: dict[str, str]) -> Result:
        """
        Keep the proxy busy with requests, and measure.
        """
        _expect_answer(port, path, fields)
        self._wrk(port, path, fields, self._warm_up())
        cpu, begun = proxy.cpu_seconds(), time.monotonic()
        done = self._wrk(port, path, fields, self.seconds)
        cpu, wall = proxy.cpu_seconds() - cpu, time.monotonic() - begun
        if not done.requests:
            raise Broken(f"no request was answered; errors: {done.errors}")
        faults = [f"{count} {name} errors" for name, count in done.errors.items() if count]
        if done.bytes < done.requests * SIZES[path]:
            faults.append(f"bodies too short: {done.bytes} bytes in all")
        values = {
            "cpu_us": 1e6 * cpu / done.requests,
            "rps": 1e6 * done.requests / done.duration,
            "p50_ms": done.p50 / 1e3,
            "p99_ms": done.p99 / 1e3,
            "core": 100 * cpu / wall,
        }
        return Result(values, ", ".join(faults).replace("status errors", "non-2xx"))

    def body(self, proxy: Process, port: int, path: str) -> Result:
        """
        Fetch a large body, one after another for as long as a run takes.
        """
        self._curl(port, path)
        speeds: list[float] = []
        cpu, begun = proxy.cpu_seconds(), time.monotonic()
        while len(speeds) < 3 or time.monotonic() - begun < self.seconds:
            speeds.append(SIZES[path] / self._curl(port, path) / 1e6)
        cpu, wall = proxy.cpu_seconds() - cpu, time.monotonic() - begun
        values = {
            "mb_s": sorted(speeds)[len(speeds) // 2],
            "cpu_s_gb": 1e9 * cpu / (SIZES[path] * len(speeds)),
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

    def _wrk(self, port: int, path: str, fields: dict[str, str], seconds: float) -> WrkSummary:
        """
        Run wrk.

        @param seconds: wrk takes whole ones.
        """
        program = _find("wrk")
        script = self.directory / "report.lua"
        script.write_text(_REPORT)
        whole = max(1, round(seconds))
        options = ["-t", "1", "-c", str(self.connections), "-d", f"{whole}s", "--timeout", "5s"]
        for name, value in fields.items():
            options += ["-H", f"{name}: {value}"]
        url = f"http://{LOOPBACK}:{port}{path}"
        said = run([program, *options, "-s", script, url], whole + 30, LOAD_CORE)
        return msgspec.json.decode(said.partition("REPORT ")[2].strip(), type=WrkSummary)

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
        if status != "200" or int(size) != SIZES[path]:
            raise Broken(f"curl got status {status} and {size} of {SIZES[path]} bytes")
        return float(seconds)


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


def _expect_answer(port: int, path: str, fields: dict[str, str]) -> None:
    """
    Wrk counts only statuses from 400 as errors; see that it is 200, and the body whole.
    """
    connection = HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", path, headers=fields)
        response = connection.getresponse()
        size = len(response.read())
    except OSError as error:
        raise Broken(f"GET {path} failed: {error}") from error
    finally:
        connection.close()
    if response.status != 200 or size != SIZES[path]:
        raise Broken(f"GET {path} got status {response.status} and {size} bytes")


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
            _one_request_each(clients[first : first + _TOGETHER], "/100")
        yield clients


def _one_request_each(clients: Sequence[socket.socket], path: str) -> None:
    """
    Send a browser's request on each connection, then read all answers to their ends.
    """
    lines = [f"GET {path} HTTP/1.1", f"Host: {LOOPBACK}"]
    lines += [f"{name}: {value}" for name, value in BROWSER.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    for client in clients:
        client.sendall(request)
    for client in clients:
        answer = b""
        # Found by its length alone, whichever way it is framed: the body is zeros.
        while answer.count(b"\0") < SIZES[path]:
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
