"""
Tests for awkward moments and hostile connections, over real sockets against a real node.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Final

from acceptance.lab.calls import call
from acceptance.lab.nodes import Node
from acceptance.lab.waiting import PATIENCE
from tests.support.nodes import NodeTestCase
from tests.support.recorder import RawClient, RecordingServer

GET: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
RESET: Final = struct.pack("ii", 1, 0)
MIB: Final = 1 << 20


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """
    A server that does something with each connection, one after the other; its port.
    """
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)

    def run() -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            with connection:
                try:
                    serve(connection)
                except OSError:
                    pass  # The proxy wants no more of it.

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def read_head(connection: socket.socket) -> bytes:
    """
    Read a request's head, and what came with it.
    """
    head = b""
    while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
        head += data
    return head


class MomentsTests(NodeTestCase):
    """
    A node, and servers that do what they should not.
    """

    def client(self, node: Node) -> RawClient:
        """
        A client of its proxy.
        """
        client = RawClient(node.proxy)
        self.addCleanup(client.close)
        return client

    def test_ends_as_it_accepts(self) -> None:
        """
        A server that closes, half-closes, resets or answers as it accepts costs its client
        no waiting.
        """

        def half(connection: socket.socket) -> None:
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)

        def reset(connection: socket.socket) -> None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        def answer(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

        checked = RecordingServer()
        self.addCleanup(checked.stop)
        node = self.node()
        for serve in (half, reset, answer, lambda connection: None):
            with serving(serve) as port:
                id = node.register(port, check={"type": "tcp", "port": checked.port})
                for _ in range(20):
                    begun = time.monotonic()
                    status = node.get().status
                    self.assertIn(status, (502, 503))
                    self.assertLess(time.monotonic() - begun, 5)
                self.assertEqual(call(node.management, "DELETE", f"/servers/{id}").status, 204)

    def test_answer_before_the_body(self) -> None:
        """
        The answer of a server that closes with the body unread reaches the client, however
        large the body is.
        """

        closed = threading.Semaphore(0)

        def refuse(connection: socket.socket) -> None:
            if read_head(connection):
                connection.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nlong")
                connection.close()
                closed.release()

        node = self.node(configuration="[health]\ninterval = 86400.0\nfast_interval = 86400.0")
        with serving(refuse) as port:
            node.register(port)
            for length in (MIB, MIB, 4 * MIB, 100000):
                client = self.client(node)
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
                client.send(b"x" * length)
                self.assertIn(b"HTTP/1.1 413 ", client.response())
                # Before that, the next request may rightly go over the same connection.
                self.assertTrue(closed.acquire(timeout=PATIENCE))

    def test_own_answer_before_the_body(self) -> None:
        """
        Our own reaches a client that writes all of a body before it reads, also slowly.
        """
        node = self.node(configuration="[limits]\nbody_bytes = 1000")
        server = RecordingServer()
        self.addCleanup(server.stop)
        node.register(server.port)
        for head in (b"Content-Length: %d" % (4 * MIB), b"Transfer-Encoding: chunked"):
            client = self.client(node)
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % head)
            pause = Event()
            for _ in range(4):
                client.send(b"100000\r\n" + b"x" * MIB + b"\r\n")
                pause.wait(0.7)
            self.assertIn(b"HTTP/1.1 413 ", client.response())

    def test_slow_reader(self) -> None:
        """
        A client that reads slowly, and steadily, is not cut off.
        """
        node = self.node(configuration="[timeouts]\nclient_idle = 0.5")
        body = 16 * MIB

        def big(connection: socket.socket) -> None:
            if read_head(connection):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % body)
                connection.sendall(b"x" * body)

        with serving(big) as port:
            node.register(port)
            reader = socket.socket()
            self.addCleanup(reader.close)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(PATIENCE)
            reader.connect(("127.0.0.1", node.proxy))
            reader.sendall(GET)
            pause = Event()
            until = time.monotonic() + 4
            while time.monotonic() < until:
                self.assertTrue(reader.recv(400))
                pause.wait(0.02)
            reader.close()

    def test_client_that_is_gone(self) -> None:
        """
        A client that goes away within a stream is noticed, though the server is silent.
        """
        closed = Event()

        def stream(connection: socket.socket) -> None:
            if read_head(connection):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
                )
                try:
                    ended = not connection.recv(1)
                except OSError:
                    ended = True
                if ended:
                    closed.set()

        node = self.node(configuration="[health]\ninterval = 86400.0\nfast_interval = 86400.0")
        with serving(stream) as port:
            node.register(port)
            client = self.client(node)
            client.send(GET)
            client.until(b"hi\r\n")
            client.close()
            self.assertTrue(closed.wait(PATIENCE))
        self.assertEqual(
            call(node.management, "GET", "/stats").json()["server"], {"success": 0, "failed": 0}
        )

    def test_reasons(self) -> None:
        """
        The access log and, at level C{debug}, the log say what was wrong.
        """
        node = self.node(configuration='[log]\nlevel = "debug"\naccess = "json"')
        client = self.client(node)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.response()
        node.expect(r'"status":400,.*"reason":"there is no Host"')
        node.expect(r"127\.0\.0\.1: 400: there is no Host")
        self.assertEqual(node.get().status, 503)
        node.expect(r'"status":503,.*"reason":"no server is up"')

    def test_others_while_one_attacks(self) -> None:
        """
        Floods of the dearest inputs on one connection hold up no other for long.
        """
        node = self.node()
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        server = RecordingServer()
        self.addCleanup(server.stop)
        node.register(server.port)
        for flood in (
            chunked + b"1\r\na\r\n" * (MIB // 3),
            chunked + (b"10000\r\n" + b"\r\n" * 32768 + b"\r\n") * 32,
            b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 40000,
            chunked + b"1;a=b\r\na\r\n" * (MIB // 5),
        ):
            attacker = self.client(node)
            sender = threading.Thread(target=attacker.send, args=(flood,), daemon=True)
            sender.start()
            slowest = 0.0
            for _ in range(30):
                begun = time.monotonic()
                self.assertIn(call(node.management, "GET", "/health").status, (200, 503))
                slowest = max(slowest, time.monotonic() - begun)
            attacker.reset()
            sender.join()
            self.assertLess(slowest, 1.0, flood[:80])

    def test_others_while_one_attacks_management(self) -> None:
        """
        Floods at the management API hold up no request of the proxy either.
        """
        node = self.node()
        server = RecordingServer()
        self.addCleanup(server.stop)
        node.register(server.port)
        chunked = (
            b"POST /servers HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for flood in (
            chunked + b"1\r\na\r\n" * (MIB // 2),
            b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 20000,
            b"\r\n" * MIB,
        ):
            attacker = RawClient(node.management)
            self.addCleanup(attacker.close)
            sender = threading.Thread(target=attacker.send, args=(flood,), daemon=True)
            sender.start()
            slowest = 0.0
            for _ in range(30):
                begun = time.monotonic()
                self.assertEqual(node.get().status, 200)
                slowest = max(slowest, time.monotonic() - begun)
            attacker.reset()
            sender.join()
            self.assertLess(slowest, 1.0, flood[:80])
