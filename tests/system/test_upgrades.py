"""
Upgrades of other protocols than WebSocket, over real sockets, as Docker's clients ask for them.
"""

from __future__ import annotations

import socket

from tests.support.nodes import NodeTestCase
from tests.support.recorder import RawClient
from tests.system.test_moments import read_head, serving

ATTACH = (
    b"POST /v1.41/containers/x/attach?stream=1 HTTP/1.1\r\nHost: docker\r\n"
    b"Connection: Upgrade\r\nContent-Type: text/plain\r\nUpgrade: tcp\r\n%b\r\n"
)


def docker(connection: socket.socket) -> None:
    """
    Attach as Docker does: with 101 if an upgrade is asked for, and with 200 if not.
    """
    head = read_head(connection)
    if not head:
        return
    head, _, rest = head.partition(b"\r\n\r\n")
    kind = b"Content-Type: application/vnd.docker.raw-stream\r\n"
    if b"\r\nUpgrade: tcp" in head and b"/old" not in head:
        connection.sendall(
            b"HTTP/1.1 101 UPGRADED\r\n" + kind + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n$ "
        )
        while rest or (rest := connection.recv(4096)):
            connection.sendall(rest.upper())
            rest = b""
        connection.sendall(b"bye")
    else:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\noutput")


class DockerTests(NodeTestCase):
    """
    A node, with a server that is like Docker's.
    """

    def attached(self, upgrades: str, data: bytes) -> RawClient:
        """
        A client that has asked to be attached.
        """
        node = self.node(
            configuration=f"[health]\ninterval = 86400.0\n[proxy]\nupgrades = {upgrades}"
        )
        serves = serving(docker)
        node.register(serves.__enter__())
        self.addCleanup(serves.__exit__, None, None, None)
        client = RawClient(node.proxy)
        self.addCleanup(client.close)
        client.send(data)
        return client

    def test_attach(self) -> None:
        """
        Both talk to each other, until the client ends.
        """
        for fields in (b"", b"Content-Length: 0\r\n"):
            client = self.attached('["websocket", "tcp"]', ATTACH % fields)
            head = client.until(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 101 UPGRADED\r\n"))
            self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", head)
            self.assertIn(b"\r\nContent-Type: application/vnd.docker.raw-stream\r\n", head)
            client.until(b"$ ")
            for line in (b"ls\n", b"GET / HTTP/1.1\r\n\r\n"):
                client.send(line)
                self.assertEqual(client.until(line.upper()), line.upper())
            client.end()
            self.assertEqual(client.rest(), b"bye")
            self.assertEqual(client.closed, "closed")

    def test_not_allowed(self) -> None:
        """
        By default, and with an old Docker, it is an ordinary request.
        """
        for upgrades, data in (
            ('["websocket"]', ATTACH % b""),
            ('["tcp"]', ATTACH.replace(b"/attach", b"/old") % b""),
        ):
            client = self.attached(upgrades, data)
            response = client.response()
            self.assertTrue(response.startswith(b"HTTP/1.1 200 OK\r\n"))
            self.assertNotIn(b"pgrade", response)
            self.assertTrue(response.endswith(b"\r\n\r\n6\r\noutput\r\n0\r\n\r\n"))
            # The connection goes on in HTTP.
            client.send(b"nonsense\r\n\r\n")
            self.assertTrue(client.response().startswith(b"HTTP/1.1 400 "))
