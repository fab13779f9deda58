"""
Large bodies past slow readers, in bounded memory: C{python -m acceptance.memory}.

Sends 1 GB down through a node to a slow reader, and 1 GB up to a server that reads slowly,
and prints how much the node's resident memory grew meanwhile. A slow reader first does not
read at all for 2 s, then at most 200 MB/s, with a pause now and then. The exit status is 1
if it grew by 20 MB or more, or if a body did not arrive whole.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.nodes import Node
from acceptance.lab.processes import (
    LOAD_CORE,
    PROXY_CORE,
    Process,
    exit_with,
    forked,
    pin,
    time_limit,
)
from acceptance.lab.reports import Report
from acceptance.lab.scenarios import parser_of
from acceptance.lab.waiting import Broken

BAR = 20_000_000
"""Bytes; memory grows by less."""

WARM_UP = 1_000_000
"""Bytes of the body that goes before, at full speed."""

BLOCK = bytes(range(256)) * 256
"""The block that bodies repeat."""

_TIMEOUT = 30.0
_SAMPLE = 0.05


class Slowness(msgspec.Struct, frozen=True):
    """
    The manner in which a reader reads.

    @ivar stall: seconds before its first read.
    @ivar rate: bytes a second at most; 0: as fast as it can.
    @ivar pause: seconds it rests after each quarter of a body of C{size} bytes.
    """

    stall: float = 0.0
    rate: float = 0.0
    pause: float = 0.0
    size: int = 0


class Stream:
    """
    An HTTP/1.1 connection, reduced to heads and bodies.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = BufferedReader(connection.makefile("rb", buffering=0), 65536)

    def read_head(self) -> tuple[str, dict[str, str]]:
        """
        Read a message's head.

        @return: the first line, empty at the end of the connection, and the fields.
        """
        first = self._file.readline().decode("latin-1").strip()
        fields: dict[str, str] = {}
        while line := self._file.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return first, fields

    def read_body(self, fields: dict[str, str], slowness: Slowness) -> tuple[int, int]:
        """
        Read a body to its end.

        @return: its length and checksum.
        """
        time.sleep(slowness.stall)
        begun = time.monotonic()
        size = checksum = 0
        quarter = slowness.size // 4
        for data in self._pieces(fields):
            if quarter and (size + len(data)) // quarter > size // quarter:
                time.sleep(slowness.pause)
                begun += slowness.pause
            size += len(data)
            checksum = zlib.crc32(data, checksum)
            if slowness.rate:
                time.sleep(max(0.0, begun + size / slowness.rate - time.monotonic()))
        return size, checksum

    def _pieces(self, fields: dict[str, str]) -> Iterator[bytes]:
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while left := int(self._file.readline().partition(b";")[0], 16):
                yield from self._exactly(left)
                self._file.readline()
            while self._file.readline().strip():
                pass
        else:
            yield from self._exactly(int(fields["content-length"]))

    def _exactly(self, left: int) -> Iterator[bytes]:
        while left:
            data = self._file.read1(min(left, 65536))
            if not data:
                raise Broken(f"a body broke off, {left} bytes before its end")
            left -= len(data)
            yield data

    def write(self, head: str, size: int, *, chunked: bool) -> None:
        """
        Write a message with a body of so many bytes.

        @param head: the first line and the fields, but for the framing.
        """
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        self._connection.sendall(f"{head}\r\n{framing}\r\n\r\n".encode())
        for offset in range(0, size, len(BLOCK)):
            data = BLOCK[: size - offset]
            if chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            self._connection.sendall(data)
        if chunked:
            self._connection.sendall(b"0\r\n\r\n")


def checksum_of(size: int) -> int:
    """
    The checksum of a body of so many bytes.
    """
    checksum = 0
    for offset in range(0, size, len(BLOCK)):
        checksum = zlib.crc32(BLOCK[: size - offset], checksum)
    return checksum


def serve(listener: socket.socket, slowness: Slowness) -> None:
    """
    Serve: C{GET /size/framing} is answered with such a body, and a C{PUT} to it
    with length and checksum of the body that came, in C{X-Received}. Only large bodies are
    read slowly.
    """
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve_one, args=(connection, slowness), daemon=True).start()


def _serve_one(connection: socket.socket, slowness: Slowness) -> None:
    with connection, contextlib.suppress(OSError, Broken):
        stream = Stream(connection)
        while True:
            first, fields = stream.read_head()
            if not first:
                return
            method, path, _ = first.split()
            _, size, framing = path.split("/")
            if method == "GET":
                stream.write("HTTP/1.1 200 OK", int(size), chunked=framing == "chunked")
            else:
                slow = slowness if int(size) > WARM_UP else Slowness()
                got, checksum = stream.read_body(fields, slow)
                stream.write(f"HTTP/1.1 200 OK\r\nX-Received: {got} {checksum}", 0, chunked=False)


def down(port: int, size: int, framing: str, slowness: Slowness) -> None:
    """
    Receive a body through the proxy.

    @raise Broken: it does not come, or not whole.
    """
    with socket.create_connection((LOOPBACK, port), _TIMEOUT) as connection:
        stream = Stream(connection)
        request = f"GET /{size}/{framing} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        first, fields = stream.read_head()
        if first.split()[1:2] != ["200"]:
            raise Broken(f"the proxy answered {first!r}")
        _expect(size, *stream.read_body(fields, slowness))


def up(port: int, size: int, framing: str, _: Slowness) -> None:
    """
    Send a body through the proxy; the server is slow.

    @raise Broken: it does not get there, or not whole.
    """
    with socket.create_connection((LOOPBACK, port), _TIMEOUT) as connection:
        stream = Stream(connection)
        head = f"PUT /{size}/{framing} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close"
        stream.write(head, size, chunked=framing == "chunked")
        first, fields = stream.read_head()
        if first.split()[1:2] != ["200"]:
            raise Broken(f"the proxy answered {first!r}")
        got, checksum = map(int, fields["x-received"].split())
        _expect(size, got, checksum)


def _expect(size: int, got: int, checksum: int) -> None:
    if (got, checksum) != (size, checksum_of(size)):
        raise Broken(f"of {size} bytes, {got} arrived, or others")


DIRECTIONS: dict[str, Callable[[int, int, str, Slowness], None]] = {"down": down, "up": up}
FRAMINGS = ("length", "chunked")


class Memory(threading.Thread):
    """
    The resident memory of a process, looked at again and again.

    @ivar peak: bytes.
    """

    def __init__(self, node: Process) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._done = threading.Event()
        self.peak = node.resident_bytes()

    def run(self) -> None:
        """
        Look until L{finish} is called or the process ends.
        """
        with contextlib.suppress(Broken, OSError):
            while not self._done.wait(_SAMPLE):
                self.peak = max(self.peak, self._node.resident_bytes())

    def finish(self) -> int:
        """
        Stop watching.

        @return: the peak.
        """
        self._done.set()
        self.join()
        return self.peak


def measure(
    node: Process, port: int, direction: str, framing: str, slowness: Slowness
) -> tuple[int, int, float]:
    """
    Send one body.

    @return: resident memory before and at its peak, and the seconds it took.
    @raise Broken: it did not arrive, or not in time.
    """
    send = DIRECTIONS[direction]
    send(port, WARM_UP, framing, Slowness())
    time.sleep(0.5)
    before = node.resident_bytes()
    memory = Memory(node)
    memory.start()
    begun = time.monotonic()
    try:
        with time_limit(60 + slowness.size / 10e6):
            send(port, slowness.size, framing, slowness)
    finally:
        peak = memory.finish()
    return before, peak, time.monotonic() - begun


def main() -> int:
    """
    Read the command line, do what it says, and return the exit status.
    """
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--size", type=float, default=1e9, help="bytes of a body (1 GB)")
    add("--stall", type=float, default=2.0, help="seconds before the first read (%(default)s)")
    add("--rate", type=float, default=200e6, help="bytes a second read at most (200 MB/s)")
    add("--pause", type=float, default=0.5, help="seconds between quarters (%(default)s)")
    options = parser.parse_args()
    slowness = Slowness(options.stall, options.rate, options.pause, int(options.size))
    report = Report()
    with (
        socket.create_server((LOOPBACK, 0), backlog=64) as listener,
        forked(serve, listener, slowness),
        TemporaryDirectory(prefix="alacrity-memory-") as directory,
        Node(Path(directory), core=PROXY_CORE) as node,
    ):
        pin(LOAD_CORE)
        node.started().register(listener.getsockname()[1])
        report.step(f"bodies of {slowness.size / 1e6:.0f} MB")
        for way in DIRECTIONS:
            for framing in FRAMINGS:
                before, peak, seconds = measure(node, node.proxy, way, framing, slowness)
                report.say(
                    f"{before / 1e6:.1f} MB before, {peak / 1e6:.1f} MB at the peak, "
                    f"{seconds:.1f} s"
                )
                report.bar(f"growth, {way}, {framing}", (peak - before) / 1e6, BAR / 1e6, "MB")
    return int(report.failed)


if __name__ == "__main__":
    exit_with(main)
