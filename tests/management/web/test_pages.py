"""
L{alacrity.management.web.pages}: calls that web pages have browsers make.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from alacrity.management.documents.problems import TITLES
from alacrity.management.web.responses import respond
from tests.support.management_caller import TOKEN, Management, ManagementCase, Response, response

CHROME: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0"


class HostTests(ManagementCase):
    """
    The name that the caller calls the API by.
    """

    def setUp(self) -> None:
        self.management = Management(hosts=("node-a", "api.example.org", "a_b"))

    def raw(self, head: str) -> Response:
        """Send lines, separated by bars."""
        connection = self.management.connect()
        connection.send((head.replace("|", "\r\n") + "\r\n\r\n").encode("latin-1"))
        return response(connection.received())

    def test_allowed(self) -> None:
        """
        Addresses, C{localhost} and the names of the configuration, with any port.
        """
        for host in (
            "localhost",
            "LOCALHOST:1",
            "localhost.:8687",
            "127.0.0.1",
            "127.0.0.1:8687",
            "127.0.0.1.:8687",
            "127.0.0.1:",
            "10.0.0.7:80",
            "[::1]",
            "[::1]:8687",
            "[0:0::1]:8687",
            "[::ffff:127.0.0.1]",
            "[fe80::1%25eth0]:8687",
            "[fe80::1%eth0]",
            "Node-A:8687",
            "node-a.",
            "API.example.org",
            "a_b",
        ):
            for path in ("/servers", "/servers?consistent=1", "/health"):
                answer = self.management.call("GET", path, headers={"Host": host})
                self.assertEqual(answer.status, 200, (host, answer.body))

    def test_refused(self) -> None:
        """
        All other names, and what is none, whatever is called; the key is named.
        """
        for host in (
            "evil.example",
            "evil.example:8687",
            "localhost.evil.example",
            "x.localhost",
            "localhost..",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io:8687",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "300.0.0.1",
            "[::1",
            "::1",
            "[::1]x",
            "[evil.example]",
            "[::1%]",
            "[::1%a b]",
            "[v1.a]",
            "a@localhost",
            "localhost@evil.example",
            "localhost/evil",
            "localhost:80:80",
            "localhost:x",
            "localhost:123456",
            "localhost, evil.example",
            "locâlhost",
            ".",
            "",
        ):
            for method, path in (
                ("GET", "/servers"),
                ("GET", "/health"),
                ("GET", "/health/leader"),
                ("DELETE", "/servers/10.0.0.7:80"),
                ("OPTIONS", "/servers"),
                ("GET", "/nothing"),
            ):
                detail = self.assertProblem(
                    self.management.call(method, path, headers={"Host": host}), 421
                )
                self.assertIn("a name in management.hosts", detail)
        self.assertEqual(self.management.cluster.told, [])

    def test_none(self) -> None:
        """
        Browsers always send the field; a program of HTTP/1.0 may not, and one of
        HTTP/1.1 has to.
        """
        self.assertEqual(self.raw("GET /servers HTTP/1.0").status, 200)
        self.assertProblem(self.raw("GET /servers HTTP/1.1"), 400)

    def test_several(self) -> None:
        """
        Nothing is guessed about two fields.
        """
        for one, other in (("localhost", "localhost"), ("localhost", "evil.example")):
            answer = self.raw(f"GET /servers HTTP/1.1|Host: {one}|Host: {other}")
            self.assertProblem(answer, 400)

    def test_absolute_form(self) -> None:
        """
        The host in the target counts, and not the field (RFC 9112 3.2.2).
        """
        for target, host, status in (
            ("http://localhost:8687/servers", "evil.example", 200),
            ("HTTP://127.0.0.1/servers?consistent=1", "localhost", 200),
            ("http://localhost/health", "localhost", 200),
            ("http://localhost", "localhost", 404),
            ("http://evil.example/servers", "localhost", 421),
            ("http://localhost@evil.example/servers", "localhost", 421),
            ("http:///servers", "localhost", 421),
            ("http://evil.example?/servers", "localhost", 421),
        ):
            answer = self.raw(f"GET {target} HTTP/1.1|Host: {host}")
            self.assertEqual(answer.status, status, (target, answer.body))


class PageTests(ManagementCase):
    """
    The page that asks.
    """

    def get(self, path: str = "/servers", **fields: str) -> Response:
        """A call with fields; C{_} stands for a hyphen."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.management.call("GET", path, headers=headers)

    def test_origin(self) -> None:
        """
        Only this API's own; another port is another origin.
        """
        for host, origin, status in (
            ("localhost:8687", "http://localhost:8687", 200),
            ("LOCALHOST:8687", "http://localhost:8687", 200),
            ("127.0.0.1:8687", "http://127.0.0.1:8687", 200),
            ("[::1]:8687", "http://[0::1]:8687", 200),
            ("localhost", "http://localhost", 200),
            ("localhost:80", "http://localhost", 200),
            ("localhost", "https://localhost", 200),
            ("localhost:8687", "http://localhost", 403),
            ("localhost:8687", "http://localhost:3000", 403),
            ("localhost:8687", "http://127.0.0.1:8687", 403),
            ("localhost:8687", "http://evil.example", 403),
            ("localhost:8687", "http://localhost:8687.evil.example", 403),
            ("localhost:8687", "http://x@localhost:8687", 403),
            ("localhost:8687", "null", 403),
            ("localhost:8687", "", 403),
            ("localhost:8687", "localhost:8687", 403),
            ("localhost:8687", "file://", 403),
            ("localhost:8687", "chrome-extension://localhost:8687", 403),
        ):
            answer = self.get(Host=host, Origin=origin)
            self.assertEqual(answer.status, status, (host, origin, answer.body))
            if status == 403:
                self.assertIn("Origin is ", self.assertProblem(answer, 403))

    def test_fetch_site(self) -> None:
        """
        Another page on this machine is C{same-site}, and as foreign as others.
        """
        for site, status in (
            ("same-origin", 200),
            ("none", 200),
            ("same-site", 403),
            ("cross-site", 403),
            ("cross-site, none", 403),
            ("None", 403),
            ("", 403),
        ):
            answer = self.get("/servers?consistent=1", Sec_Fetch_Site=site, User_Agent=CHROME)
            self.assertEqual(answer.status, status, (site, answer.body))
        self.assertEqual(self.management.cluster.told, [("barrier", None)] * 2)

    def test_image(self) -> None:
        """
        A browser that does not say which page asks, as by the address of another machine,
        reads; but it does not have the cluster write.
        """
        self.assertEqual(self.get(User_Agent=CHROME).status, 200)
        for query in ("consistent=1", "a=b&consistent=1", "c%6fnsistent=1"):
            for method in ("GET", "HEAD"):
                answer = self.management.call(
                    method, f"/servers?{query}", headers={"User-Agent": CHROME}
                )
                self.assertEqual(answer.status, 403, (method, query))
        self.assertEqual(self.management.cluster.told, [])
        self.assertEqual(self.get("/servers?consistent=1", User_Agent="curl/8.0").status, 200)

    def test_changes(self) -> None:
        """
        Nothing is changed for a foreign page, nor is a browser told that it might be.
        """
        self.management.post({"ip": "10.0.0.7", "port": 80})
        pool = self.management.view.pool
        for method, path in (
            ("POST", "/servers"),
            ("DELETE", "/servers/10.0.0.7:80"),
            ("POST", "/cluster/nodes"),
            ("DELETE", "/cluster/nodes/a"),
            ("POST", "/cluster/leader"),
            ("OPTIONS", "/servers"),
        ):
            answer = self.management.call(
                method,
                path,
                b'{"port": 81, "ip": "10.0.0.7"}',
                {"Content-Type": "application/json", "Origin": "http://localhost:3000"},
            )
            self.assertProblem(answer, 403)
            self.assertNotIn("access-control-allow-origin", answer.headers)
        self.assertIs(self.management.view.pool, pool)
        self.assertEqual(self.management.cluster.told, [])


class ExemptTests(ManagementCase):
    """
    Callers that no page can be.
    """

    FIELDS: Final = {
        "Host": "evil.example",
        "Origin": "http://evil.example",
        "Sec-Fetch-Site": "cross-site",
    }

    def test_token(self) -> None:
        """
        A caller with the token is no foreign page; the node's health is told to all then.
        """
        management = Management(token=TOKEN)
        answer = management.call("GET", "/servers", headers=self.FIELDS, token=TOKEN)
        self.assertEqual(answer.status, 200)
        self.assertEqual(management.call("GET", "/servers", headers=self.FIELDS).status, 401)
        self.assertEqual(management.call("GET", "/health", headers=self.FIELDS).status, 200)

    def test_unix(self) -> None:
        """
        Browsers do not connect to Unix sockets.
        """
        answer = self.management.call(
            "GET", "/servers?consistent=1", headers=self.FIELDS, peer=UNIXAddress(None)
        )
        self.assertEqual(answer.status, 200)


class PhraseTests(SynchronousTestCase):
    """
    The words beside a status.
    """

    def test_each(self) -> None:
        """
        They are those of the problem document, also where Twisted has none.
        """
        for status, title in TITLES.items():
            request = DummyRequest([b""])
            respond(request, status, b"")  # type: ignore[arg-type]
            self.assertEqual(request.responseMessage, title.encode())
