"""
L{alacrity.net.tokens}, and where a token is asked for.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.calls import call
from acceptance.lab.nodes import Node, TestServer
from alacrity.config import (
    ConfigurationError,
    Management,
    Settings,
    on_this_machine,
    override,
    parse,
    require_token,
)
from alacrity.net.tokens import LONGEST, SHORTEST, TokenError, read_token
from alacrity.testserver import arguments
from tests.support.management_caller import TOKEN, Response
from tests.support.management_caller import Management as Caller

ID = "10.0.0.7:8080"
BODY = b'{"ip": "10.0.0.7", "port": 8080}'
JSON = {"Content-Type": "application/json"}


def token_file(content: bytes, mode: int = 0o600, name: str = "token") -> Path:
    """
    A file with a token, or something else.
    """
    path = Path(name).absolute()
    path.touch(0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


class Here(SynchronousTestCase):
    """
    Runs in a directory of its own.
    """

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(directory)


class FileTests(Here):
    """
    The file.
    """

    def test_tokens(self) -> None:
        """
        One line, its end or none.
        """
        for content in (TOKEN, TOKEN + b"\n", TOKEN + b"\r\n"):
            for mode in (0o600, 0o400, 0o640, 0o440):
                path = token_file(content)
                path.chmod(mode)
                self.assertEqual(read_token(path), TOKEN)
                path.unlink()
        self.assertEqual(read_token(token_file(b"a" * SHORTEST)), b"a" * SHORTEST)
        self.assertEqual(read_token(token_file(b"a" * LONGEST + b"\n")), b"a" * LONGEST)

    def test_modes(self) -> None:
        """
        Others may not read it, nor may its group write it.
        """
        path = token_file(TOKEN)
        for mode in (0o644, 0o604, 0o660, 0o602, 0o601, 0o777):
            path.chmod(mode)
            with self.assertRaises(TokenError) as caught:
                read_token(path)
            self.assertEqual(
                str(caught.exception),
                f"found a file of mode {mode:04o}, which others may use; "
                "allowed: a mode such as 0600 or 0640 (chmod 600)",
            )

    def test_contents(self) -> None:
        """
        What is no token, is not shown.
        """
        for content in (
            b"",
            b"\n",
            b"a" * (SHORTEST - 1),
            b"a" * (LONGEST + 1),
            TOKEN + b"\n\n",
            b" " + TOKEN,
            TOKEN + b" x",
            TOKEN + b"=a",
            b"\xff" * 30,
            b"\0" * 30,
        ):
            with self.assertRaises(TokenError, msg=content) as caught:
                read_token(token_file(content))
            self.assertTrue(str(caught.exception).startswith("found something else in the file;"))
            self.assertNotIn("aaaa", str(caught.exception))

    def test_no_file(self) -> None:
        """
        There is none, or it is none.
        """
        os.mkfifo("pipe", 0o600)
        for path, fault in (
            (
                "none",
                "found a file that cannot be read (No such file or directory); allowed: a file",
            ),
            ("pipe", "found something other than a file; allowed: a file"),
            (".", "found something other than a file; allowed: a file"),
        ):
            with self.assertRaises(TokenError, msg=path) as caught:
                read_token(Path(path))
            self.assertEqual(str(caught.exception), fault)


class ConfigurationTests(Here):
    """
    C{[management] token_file} and C{insecure}.
    """

    def test_taken(self) -> None:
        """
        The path is as seen from the configuration file.
        """
        path = token_file(TOKEN)
        text = '[management]\ntoken_file = "token"\ninsecure = true'
        for name in ("a.toml", str(path.parent / "a.toml")):
            management = parse(text, name).management
            self.assertEqual((management.token_file, management.insecure), (path, True))

    def test_faults(self) -> None:
        """
        One line, with the file and what is wrong with it.
        """
        token_file(TOKEN, 0o644)
        for text, fault in (
            (
                'token_file = "token"',
                (
                    "token_file: found 'token', a file of mode 0644, which others may use; "
                    "allowed: a mode such as 0600 or 0640 (chmod 600)"
                ),
            ),
            (
                'token_file = "none"',
                (
                    "token_file: found 'none', a file that cannot be read (No such file or "
                    "directory); allowed: a file"
                ),
            ),
            ("token_file = 1", "token_file: found 1; allowed: the path of a file"),
            ('token_file = ""', "token_file: found ''; allowed: the path of a file"),
            ('token_file = "\\u0000"', "token_file: found '\\x00'; allowed: the path of a file"),
            ("insecure = 1", "insecure: found 1; allowed: true or false"),
        ):
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                parse(f"[management]\n{text}", "a.toml")
            self.assertEqual(str(caught.exception), f"a.toml: management.{fault}")

    def test_on_this_machine(self) -> None:
        """
        What an endpoint string tells about who reaches it.
        """
        for description, expected in (
            ("tcp:8687:interface=127.0.0.1", True),
            ("tcp:8687:interface=127.9.9.9", True),
            ("tcp:interface=127.0.0.1:port=8687", True),
            ("tcp:8687:backlog=9:interface=localhost", True),
            ("tcp6:8687:interface=\\:\\:1", True),
            ("tcp:8687:interface=\\:\\:1", True),
            ("ssl:8687:interface=127.0.0.1", True),
            ("unix:/run/alacrity.sock", True),
            ("unix:/run/a:mode=600", True),
            ("tcp:8687", False),
            ("tcp:8687:interface=", False),
            ("tcp:8687:interface=0.0.0.0", False),
            ("tcp:8687:interface=127.0.0.1:interface=10.0.0.1", False),
            ("tcp:8687:interface=10.0.0.1", False),
            ("tcp:8687:interface=web1", False),
            ("tcp6:8687:interface=\\:\\:", False),
            ("tcp6:8687:interface=\\:\\:ffff\\:127.0.0.1", False),
            ("ssl:8687", False),
            ("systemd:domain=INET:index=0", False),
            ("haproxy:tcp:8687:interface=127.0.0.1", False),
        ):
            self.assertIs(on_this_machine(description), expected, description)

    def test_required(self) -> None:
        """
        Beyond this machine, a token is required, or the waiver.
        """
        allowed = (
            "an address such as tcp:8687:interface=127.0.0.1 or unix:/run/alacrity, or "
            "management.token_file, or management.insecure = true"
        )
        here = "tcp:1:interface=127.0.0.1"
        settings = Settings(management=Management((here, "tcp:1")))
        with self.assertRaises(ConfigurationError) as caught:
            require_token(settings, name="a.toml")
        self.assertEqual(
            str(caught.exception),
            "a.toml: management.listen[1]: found 'tcp:1', which others may reach, and no token; "
            f"allowed: {allowed}",
        )
        with self.assertRaises(ConfigurationError) as caught:
            require_token(override(Settings(), management=["tcp:2"]), options=True)
        self.assertEqual(
            str(caught.exception),
            "options: --management: found 'tcp:2', which others may reach, and no token; "
            f"allowed: {allowed}",
        )
        for management in (
            Management(),
            Management((here, "unix:a")),
            Management(("tcp:1",), token_file=Path("token")),
            Management(("tcp:1",), insecure=True),
        ):
            require_token(Settings(management=management))
        require_token(override(settings, management=[here]), options=True)


class CallTests(SynchronousTestCase):
    """
    An API with a token.
    """

    def setUp(self) -> None:
        self.management = Caller(token=TOKEN)

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
        Who knows it, may call.
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
        Something else is no token; nor are two.
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


class ProcessTests(Here):
    """
    A node with a token, and the test server, which knows it.
    """

    def test_node(self) -> None:
        """
        The server registers, and leaves, with the token; without, nobody does.
        """
        path = token_file(TOKEN + b"\n")
        node = Node(Path("node"), configuration='[management]\ntoken_file = "../token"\n')
        self.addCleanup(node.stop)
        node.started()
        self.assertEqual(call(node.management, "GET", "/servers").status, 401)
        self.assertEqual(call(node.management, "POST", "/servers", {"port": 1}).status, 401)
        url = f"http://127.0.0.1:{node.management}"
        stranger = TestServer(f"--register={url}")
        self.addCleanup(stranger.stop)
        stranger.expect("registration refused: 401")
        server = TestServer(f"--register={url}", f"--token-file={path}")
        self.addCleanup(server.stop)
        server.expect("registered with")
        node.expect("is up")
        self.assertEqual(node.get().status, 200)
        server.stop()
        self.assertIn("deregistered: 204", server.log)
        node.stop()
        self.assertNotIn(TOKEN.decode(), node.log + server.log + stranger.log)

    def test_token_goes_bad(self) -> None:
        """
        A file that others may read by now, keeps the node from starting.
        """
        from twisted.internet.task import Clock

        from alacrity.node.service import Alacrity, Entry, Impossible

        path = token_file(TOKEN)
        settings = parse('[management]\ntoken_file = "token"', "a.toml")
        path.chmod(0o644)
        service = Alacrity(Clock(), settings, Path("state"), Entry())
        with self.assertRaises(Impossible) as caught:
            service._token()
        self.assertIn("management.token_file: ", str(caught.exception))
        self.assertIn("a file of mode 0644", str(caught.exception))

    def test_options_of_the_test_server(self) -> None:
        """
        A bad token's file is refused there, too.
        """
        self.assertEqual(arguments(["--token-file", str(token_file(TOKEN))]).token, TOKEN.decode())
        self.assertIsNone(arguments([]).token)
        path = token_file(TOKEN, 0o644, "bad")
        with self.assertRaises(SystemExit):
            arguments(["--token-file", str(path)])
