"""
A node whose API asks for a token, and the test server, which has it.
"""

from __future__ import annotations

from pathlib import Path

from acceptance.lab.calls import call
from acceptance.lab.nodes import Node, TestServer
from alacrity.config import parse
from alacrity.testserver.command import arguments
from tests.support.management_caller import TOKEN
from tests.support.token_files import DirectoryTestCase, token_file


class TokenTests(DirectoryTestCase):
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
        self.assertIn("deregistered", server.log)
        node.stop()
        self.assertNotIn(TOKEN.decode(), node.log + server.log + stranger.log)

    def test_token_goes_bad(self) -> None:
        """
        A file that others may read since keeps the node from starting.
        """
        from twisted.internet.task import Clock

        from alacrity.node.control import Entry
        from alacrity.node.failures import CannotStart
        from alacrity.node.service import Alacrity

        path = token_file(TOKEN)
        settings = parse('[management]\ntoken_file = "token"', "a.toml")
        path.chmod(0o644)
        service = Alacrity(Clock(), settings, Path("state"), Entry())
        with self.assertRaises(CannotStart) as caught:
            service._read_token()
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
