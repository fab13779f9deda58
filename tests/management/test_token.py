"""
Tests for L{alacrity.management.token}.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.support.management_caller import TOKEN, Management, Response

ID = "10.0.0.7:8080"
BODY = b'{"ip": "10.0.0.7", "port": 8080}'
JSON = {"Content-Type": "application/json"}


class CallTests(SynchronousTestCase):
    """
    An API with a token.
    """

    def setUp(self) -> None:
        self.management = Management(token=TOKEN)

    def refused(self, answer: Response, challenge: str = 'Bearer realm="alacrity"') -> bytes:
        """
        It must be a 401.
        """
        self.assertEqual(answer.status, 401)
        self.assertEqual(answer.headers["www-authenticate"], challenge)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertNotIn("server", answer.headers)
        return answer.body

    def test_with_token(self) -> None:
        """
        A caller with the token may call.
        """
        answer = self.management.call("POST", "/servers", BODY, JSON, token=TOKEN)
        self.assertEqual(answer.status, 201)
        for value in (f"bearer {TOKEN.decode()}", f"BEARER   {TOKEN.decode()}  "):
            answer = self.management.call("GET", "/servers", headers={"Authorization": value})
            self.assertEqual([each["id"] for each in answer.document], [ID])
        self.assertEqual(self.management.call("GET", "/nothing", token=TOKEN).status, 404)
        self.assertEqual(self.management.call("PUT", "/stats", token=TOKEN).status, 405)

    def test_without_token(self) -> None:
        """
        Without it, nothing is changed, and nothing is told: not even whether there is
        something at a path.
        """
        self.management.call("POST", "/servers", BODY, JSON, token=TOKEN)
        pool = self.management.view.pool
        bodies = set()
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "HEAD"):
            for path in (
                "/",
                "/servers",
                f"/servers/{ID}",
                "/servers/10.0.0.8:80",
                "/stats",
                "/stats/detail",
                "/openapi.json",
                "/nothing",
                "/%ff",
                "/health/",
                "/healt%68",
                "//health",
                "/health/leader/x",
                *([] if method in {"GET", "HEAD"} else ["/health", "/health/leader"]),
            ):
                answer = self.management.call(method, path, BODY, JSON)
                bodies.add(self.refused(answer))
        self.assertEqual(len(bodies - {b""}), 1)
        self.assertNotIn(b"10.0.0.7", b"".join(bodies))
        self.assertIs(self.management.view.pool, pool)

    def test_wrong_tokens(self) -> None:
        """
        Other texts are no token; nor are two tokens.
        """
        wrong = 'Bearer realm="alacrity", error="invalid_token"'
        token = TOKEN.decode()
        for value, challenge in (
            (f"Bearer {token}x", wrong),
            (f"Bearer {token[:-1]}", wrong),
            (f"Bearer {token} {token}", wrong),
            ("Bearer \xff", wrong),
            (f"Bearer,{token}", 'Bearer realm="alacrity"'),
            ("Bearer", 'Bearer realm="alacrity"'),
            ("Bearer ", 'Bearer realm="alacrity"'),
            (token, 'Bearer realm="alacrity"'),
            (f"Basic {token}", 'Bearer realm="alacrity"'),
            ("", 'Bearer realm="alacrity"'),
            (f"Bearer {token}\r\nAuthorization: Bearer {token}", 'Bearer realm="alacrity"'),
        ):
            answer = self.management.call("GET", "/servers", headers={"Authorization": value})
            self.refused(answer, challenge)

    def test_health(self) -> None:
        """
        A load balancer may look after the node without it, and learns its state alone.
        """
        for path, status in (("/health", "serving"), ("/health/leader", "leader")):
            for query in ("", "?a=b"):
                answer = self.management.call("GET", path + query)
                self.assertEqual((answer.status, answer.document), (200, {"status": status}))
            self.assertEqual(self.management.call("HEAD", path).status, 200)
        self.management.serving = False
        self.assertEqual(self.management.call("GET", "/health").status, 503)

    def test_large_body(self) -> None:
        """
        Bodies are bounded before anything else.
        """
        answer = self.management.call("POST", "/servers", b" " * 100_000, JSON)
        self.assertEqual(answer.status, 413)

    def test_next_call(self) -> None:
        """
        A call that was refused is over; the next one on the connection counts for
        itself.
        """
        connection = self.management.connect(IPv4Address("TCP", "10.1.1.1", 1))
        head = b"GET /servers HTTP/1.1\r\nHost: a\r\n"
        connection.send(head + b"\r\n")
        self.assertTrue(connection.received().startswith(b"HTTP/1.1 401 "))
        connection.send(head + b"Authorization: Bearer " + TOKEN + b"\r\n\r\n")
        self.assertTrue(connection.received().startswith(b"HTTP/1.1 200 "))
        connection.send(head + b"\r\n")
        self.assertTrue(connection.received().startswith(b"HTTP/1.1 401 "))
