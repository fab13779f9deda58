"""
WebSocket (RFC 6455) through a real node, with a library at both ends.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, Final

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from acceptance.lab.calls import call
from acceptance.lab.waiting import PATIENCE
from tests.support.nodes import NodeTestCase
from tests.support.recorder import RawClient

LARGE: Final = 1 << 24
"""More bytes than all buffers on the way hold."""


def talk(connection: ServerConnection) -> None:
    """
    Send each message back, as the server, and close when told to.
    """
    assert connection.request is not None
    for message in connection:
        if message == "close":
            connection.close(4000, "as you like")
        elif message == "fields":
            fields = connection.request.headers.raw_items()
            connection.send("\n".join(f"{name}: {value}" for name, value in fields))
        else:
            connection.send(message)


def admit(connection: ServerConnection, request: Request) -> Response | None:
    """
    Refuse those that the server does not admit.
    """
    if request.path == "/forbidden":
        return connection.respond(HTTPStatus.FORBIDDEN, "no\n")
    return None


class WebSocketTests(NodeTestCase):
    """
    Two ends that take each other for real.

    @cvar twistd: options that the node is run with.
    """

    twistd: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.lost = threading.Event()
        self.peer: Server = serve(
            self.talk, "127.0.0.1", 0, process_request=admit, max_size=None, compression="deflate"
        )
        serving = threading.Thread(target=self.peer.serve_forever)
        serving.start()
        self.addCleanup(serving.join)
        self.addCleanup(self.peer.shutdown)
        self.proxy = self.node(
            configuration="[health]\ninterval = 86400.0\n[timeouts]\ndrain = 0.5\n",
            twistd=self.twistd,
        )
        self.proxy.register(self.peer.socket.getsockname()[1])

    def talk(self, connection: ServerConnection) -> None:
        """Talk, and say when the other side has broken off."""
        try:
            talk(connection)
        except ConnectionClosedError:
            self.lost.set()

    def connect(self, path: str = "/", **options: Any) -> AbstractContextManager[ClientConnection]:
        """A client that talks to the proxy."""
        connected: AbstractContextManager[ClientConnection] = connect(
            f"ws://127.0.0.1:{self.proxy.proxy}{path}",
            max_size=None,
            open_timeout=PATIENCE,
            close_timeout=PATIENCE,
            proxy=None,
            **options,
        )
        return connected

    def counted(self) -> Any:
        """The node's statistics."""
        return call(self.proxy.management, "GET", "/stats").json()

    def test_messages(self) -> None:
        """
        Text and data go both ways, whatever their size, pings are answered, and each
        side's close reaches the other with its reason.
        """
        with self.connect() as client:
            for message in ("", "hello", "\u00fc" * 1000, b"\x00\xff", b"\r\n\r\n" * 100):
                client.send(message)
                self.assertEqual(client.recv(PATIENCE), message)
            self.assertTrue(client.ping().wait(PATIENCE))
        self.assertEqual(client.close_code, 1000)
        with self.connect() as client:
            client.send("close")
            self.assertRaises(ConnectionClosed, client.recv, PATIENCE)
            self.assertEqual((client.close_code, client.close_reason), (4000, "as you like"))
        counted = self.counted()
        self.assertEqual(counted["client"], {"success": 2, "failed": 0})
        self.assertEqual(counted["server"], {"success": 2, "failed": 0})

    def test_fields(self) -> None:
        """
        The server learns of the client what it does of a request.
        """
        with self.connect(additional_headers={"X-Forwarded-For": "6.6.6.6"}) as client:
            client.send("fields")
            fields = str(client.recv(PATIENCE))
        self.assertIn("\nX-Forwarded-For: 127.0.0.1\n", fields)
        self.assertNotIn("6.6.6.6", fields)

    def test_large(self) -> None:
        """
        More than the buffers hold goes through, at the pace of the reader.
        """
        message = os.urandom(LARGE)
        with self.connect(compression=None) as client:
            client.send(message)
            self.assertEqual(client.recv(PATIENCE), message)

    def test_many(self) -> None:
        """
        Many at once, each with its own bytes.
        """
        with self.connect() as one, self.connect() as two:
            for number in range(500):
                one.send(f"one {number}")
                two.send(f"two {number}")
            for number in range(500):
                self.assertEqual(one.recv(PATIENCE), f"one {number}")
                self.assertEqual(two.recv(PATIENCE), f"two {number}")

    def test_refused(self) -> None:
        """
        A server that does not want to is heard, and what it says is a plain response.
        """
        with self.assertRaises(InvalidStatus) as caught, self.connect("/forbidden"):
            pass
        self.assertEqual(caught.exception.response.status_code, 403)
        self.assertEqual(caught.exception.response.body, b"no\n")

    def test_client_lost(self) -> None:
        """
        The server hears when its client is gone.
        """
        client = RawClient(self.proxy.proxy)
        client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.assertTrue(client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 "))
        client.close()
        self.assertTrue(self.lost.wait(PATIENCE))
        self.assertEqual(self.counted()["client"], {"success": 1, "failed": 0})

    def test_stop(self) -> None:
        """
        A node that stops gives its tunnels as long as requests, and no longer.
        """
        with self.connect() as client:
            client.send("hello")
            self.assertEqual(client.recv(PATIENCE), "hello")
            self.proxy.send(signal.SIGTERM)
            self.proxy.expect("stopping")
            client.send("still there")
            self.assertEqual(client.recv(PATIENCE), "still there")
            self.assertRaises(ConnectionClosedError, client.recv, PATIENCE)
        self.assertTrue(self.lost.wait(PATIENCE))
        self.assertEqual(self.proxy.ended(), -signal.SIGTERM)
        self.assertIn("cut off", self.proxy.log)


class TwistedWebSocketTests(WebSocketTests):
    """
    The same on Twisted's own transports.
    """

    twistd = ("--reactor=epoll",)
