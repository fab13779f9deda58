"""
L{alacrity.management.web.site}: bodies within bounds.
"""

from __future__ import annotations

import json

from alacrity.management.web.site import BODY_LIMIT, LINGER_BYTES, LINGER_SECONDS
from tests.management.example import ID, SERVER
from tests.support.management_caller import (
    ManagementCase,
    request,
    response,
)


class BodyLimitTests(ManagementCase):
    """
    Bodies that are too large.
    """

    HEAD = "POST /servers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    def test_largest(self) -> None:
        """
        A body may be as large as the limit.
        """
        body = json.dumps(SERVER).encode().ljust(BODY_LIMIT)
        self.assertEqual(self.management.post(body).status, 201)
        self.assertProblem(self.management.post(body + b" "), 413)

    def test_announced(self) -> None:
        """
        A large body is refused before it comes, and without asking for it.
        """
        connection = self.management.connect()
        head = f"{self.HEAD}Content-Length: 10485760\r\nExpect: 100-continue\r\n\r\n"
        connection.send(head.encode())
        answer = response(connection.received())
        self.assertProblem(answer, 413)
        self.assertEqual(answer.headers["connection"], "close")
        self.assertFalse(connection.transport.disconnecting)
        connection.send(b" " * 10485760)
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(connection.received(), b"")
        self.assertEqual(self.management.view.pool.index, 0)

    def test_chunked(self) -> None:
        """
        Without a length, it is refused as soon as it is too large.
        """
        connection = self.management.connect()
        connection.send(f"{self.HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
        connection.send(chunk * 2)
        self.assertEqual(connection.received(), b"")
        connection.send(chunk)
        self.assertProblem(response(connection.received()), 413)
        connection.send(chunk * 3 + b"0\r\n\r\n" + request("DELETE", f"/servers/{ID}"))
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(connection.received(), b"")

    def test_chunked_within(self) -> None:
        """
        A small one is fine.
        """
        connection = self.management.connect()
        body = json.dumps(SERVER).encode()
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        connection.send(f"{self.HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + chunked)
        self.assertEqual(response(connection.received()).status, 201)

    def test_lingering_is_bounded(self) -> None:
        """
        The part that is thrown away is bounded in bytes and in time.
        """
        head = f"{self.HEAD}Content-Length: {10**12}\r\n\r\n".encode()
        connection = self.management.connect()
        connection.send(head)
        for _ in range(LINGER_BYTES // 2**20):
            connection.send(b" " * 2**20)
        self.assertFalse(connection.transport.disconnecting)
        connection.send(b" ")
        self.assertTrue(connection.transport.disconnecting)

        connection = self.management.connect()
        connection.send(head)
        self.management.clock.advance(LINGER_SECONDS - 0.1)
        self.assertFalse(connection.transport.disconnecting)
        self.management.clock.advance(0.2)
        self.assertTrue(connection.transport.disconnecting)

    def test_client_goes_away(self) -> None:
        """
        A client that leaves upon the answer leaves nothing behind.
        """
        connection = self.management.connect()
        connection.send(f"{self.HEAD}Content-Length: {10**12}\r\n\r\n".encode())
        connection.lose()
        self.assertEqual(self.management.clock.getDelayedCalls(), [])
