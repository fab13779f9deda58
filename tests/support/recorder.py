"""
Raw bytes over real sockets: a server that keeps the bytes that come and answers as it is
told, and a client that sends anything.
"""

from __future__ import annotations

import re
import select
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec

from acceptance.lab.waiting import PATIENCE

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Answer(msgspec.Struct, frozen=True):
    """
    The answer of a server to a request.

    @ivar data: the bytes that it sends.
    @ivar then: C{keep}, C{close}, C{half} (it sends no more) or C{reset}, the connection after
        that.
    @ivar early: whether it is sent before the request's body has come.
    """

    data: bytes = OK
    then: str = "keep"
    early: bool = False


PLAIN: Final = Answer()


class Connection:
    """
    One connection to the server.

    @ivar received: all bytes that came on it.
    @ivar ended: whether the other side has closed it, or half of it.
    @ivar reset: whether it has dropped it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.received = b""
        self.ended = False
        self.reset = False
        self.answered = 0

    def received_to(self, end: bytes) -> bool:
        """True if the bytes that came end so."""
        return self.received.endswith(end)

    def close(self, *, reset: bool = False) -> None:
        """Close it, or drop it."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class RecordingServer:
    """
    A server in a thread of its own.

    @ivar port: where it listens.
    @ivar connections: in the order made; those that have brought no byte are among them.
    @ivar received: all bytes, in the order that they came.
    @ivar answers: by target; other targets get L{PLAIN}.
    @ivar welcome: what it does to connections as it accepts them; L{None}: nothing.
    """

    def __init__(self) -> None:
        self.answers: dict[bytes, Answer] = {}
        self.connections: list[Connection] = []
        self.received = b""
        self.welcome: Answer | None = None
        self._tasks: list[Callable[[], None]] = []
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._listening, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._do(self._selector.close)
        self._thread.join()
        for each in self.connections:
            each.socket.close()
        for sock in (self._listening, self._wake, self._woken):
            sock.close()

    def settle(self) -> None:
        """
        Wait until it has read all that has come.
        """
        done = threading.Event()

        def look() -> None:
            while any(
                key.data is not None or key.fileobj is self._listening for key in self._ready(0)
            ):
                self._turn(0)
            done.set()

        self._do(look)
        assert done.wait(PATIENCE)

    def until(self, condition: Callable[[], Any]) -> Any:
        """
        Wait until a condition holds.

        @return: its value then.
        """
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), self.received
            return condition()

    def send(self, connection: Connection, data: bytes) -> None:
        """Send on a connection, whatever was asked."""
        self._do(lambda: connection.socket.sendall(data))

    def end(self, connection: Connection, *, reset: bool = False) -> None:
        """Close a connection."""
        self._do(lambda: self._close(connection, reset=reset))

    def _do(self, task: Callable[[], None]) -> None:
        """Have the thread do a task."""
        self._tasks.append(task)
        self._wake.send(b"x")

    def _run(self) -> None:
        while self._selector.get_map() is not None:
            self._turn(None)
            while self._tasks:
                self._tasks.pop(0)()
            with self._changed:
                self._changed.notify_all()

    def _ready(self, timeout: float | None) -> list[selectors.SelectorKey]:
        return [key for key, _ in self._selector.select(timeout)]

    def _turn(self, timeout: float | None) -> None:
        for key in self._ready(timeout):
            if key.fileobj is self._listening:
                connection = Connection(self._listening.accept()[0])
                self.connections.append(connection)
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
                if self.welcome is not None:
                    self._give(connection, self.welcome)
            elif key.data is None:
                self._woken.recv(4096)
            else:
                self._read(key.data)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(1 << 18)
        except OSError:
            connection.reset = True
            data = b""
        if not data:
            connection.ended = True
            self._close(connection)
            return
        connection.received += data
        self.received += data
        self._answer(connection)

    def _close(self, connection: Connection, *, reset: bool = False) -> None:
        if connection.socket.fileno() >= 0:
            self._selector.unregister(connection.socket)
            connection.close(reset=reset)

    def _answer(self, connection: Connection) -> None:
        """
        Answer all requests that have come. What the proxy sends is framed plainly.
        """
        while True:
            rest = connection.received[connection.answered :]
            head, end, body = rest.partition(b"\r\n\r\n")
            if not end:
                return
            answer = self.answers.get(head.split(b" ")[1], PLAIN)
            length = _body_length(head, body)
            if length is None and not answer.early:
                return
            connection.answered += len(head) + len(end) + (length or 0)
            if not self._give(connection, answer) or length is None:
                return

    def _give(self, connection: Connection, answer: Answer) -> bool:
        """
        Send an answer, and do with the connection what is to be done then.

        @return: whether it goes on.
        """
        try:
            connection.socket.sendall(answer.data)
            if answer.then == "half":
                connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            # The proxy wants no more; what comes next on the connection says so.
            return False
        if answer.then in {"close", "reset"}:
            self._close(connection, reset=answer.then == "reset")
            return False
        return True


def _body_length(head: bytes, body: bytes) -> int | None:
    """
    The bytes after a head that are its body; L{None}: there are more to come.
    """
    if b"\r\nTransfer-Encoding: chunked" in head:
        at = 0
        while (size := re.match(rb"([0-9a-f]+)\r\n", body[at:])) is not None:
            at += len(size[0])
            if size[1] == b"0":
                trailers = re.match(rb"(?:[^\r\n]+\r\n)*\r\n", body[at:])
                return None if trailers is None else at + len(trailers[0])
            at += int(size[1], 16) + 2
        return None
    found = re.search(rb"\r\nContent-Length: ([0-9]+)", head)
    length = int(found[1]) if found is not None else 0
    return length if len(body) >= length else None


class RawClient:
    """
    A client that sends bytes.

    @ivar received: the bytes that have come and were not taken.
    @ivar closed: the way in which the proxy ended the connection: C{"closed"},
        C{"reset"}; empty: it has not.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.received = b""
        self.closed = ""

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def reset(self) -> None:
        """End it at once, also for a thread that sends."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The proxy was faster.

    def send(self, data: bytes) -> None:
        """Send; bytes that the proxy does not want are lost."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def end(self) -> None:
        """Send no more."""
        self.socket.shutdown(socket.SHUT_WR)

    def read(self) -> bool:
        """
        Read the next bytes.

        @return: whether anything came; else the connection is closed.
        """
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            self.closed = "reset"
            return False
        if not data:
            self.closed = "closed"
        self.received += data
        return bool(data)

    def until(self, end: bytes) -> bytes:
        """
        Read up to some bytes, and take all that has come.
        """
        while end not in self.received:
            assert self.read(), self.received
        taken, found, self.received = self.received.partition(end)
        return taken + found

    def rest(self) -> bytes:
        """
        Read until the proxy closes the connection, and take all that has come.
        """
        while self.read():
            pass
        taken, self.received = self.received, b""
        return taken

    def response(self, *, bodiless: bool = False) -> bytes:
        """
        Take one response, with a body that is counted or in chunks.
        """
        head = self.until(b"\r\n\r\n")
        if bodiless or re.match(rb"HTTP/1.1 (1..|204|304) ", head):
            return head
        if b"\r\nTransfer-Encoding: chunked" in head:
            return head + self.until(b"0\r\n\r\n")
        found = re.search(rb"\r\nContent-Length: ([0-9]+)", head)
        assert found is not None, head
        length = int(found[1])
        while len(self.received) < length:
            assert self.read(), head + self.received
        body, self.received = self.received[:length], self.received[length:]
        return head + body

    def quiet(self, seconds: float) -> bool:
        """True if nothing comes for so long."""
        return not select.select([self.socket], [], [], seconds)[0]
