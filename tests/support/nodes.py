"""
The test case for real processes.
"""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.nodes import Node, TestServer


class NodeTestCase(SynchronousTestCase):
    """
    A test case whose processes end with each test.
    """

    def directory(self) -> Path:
        """A new directory."""
        path = Path(self.mktemp())
        path.mkdir()
        return path.absolute()

    def node(self, *options: str, **more: object) -> Node:
        """A node that serves."""
        directory = more.pop("directory", None) or self.directory()
        node = Node(directory, *options, **more)  # type: ignore[arg-type]
        self.addCleanup(node.stop, signal.SIGKILL)
        return node.started()

    def server(self, *options: str) -> TestServer:
        """A test server."""
        server = TestServer(*options)
        self.addCleanup(server.stop, signal.SIGKILL)
        return server
