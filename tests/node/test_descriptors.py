"""
L{alacrity.node.descriptors} and L{alacrity.proxy.upstream.slots}: who may have how many file descriptors; and
real nodes that may have few.
"""

from __future__ import annotations

import resource
import signal
import socket
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.calls import call
from acceptance.lab.nodes import Node, TestServer
from acceptance.lab.waiting import PATIENCE, wait_until
from alacrity.node.descriptors import (
    LEAST,
    Budget,
    TooFew,
    Wanted,
    lowered,
    raise_limit,
    share_out,
    slack,
)
from alacrity.proxy.upstream.slots import Slots
from tests.support.places import ROOT

DEFAULT = Wanted(clients=10000, management=256, checks=512, listeners=2, clustered=False)


def used(wanted: Wanted, budget: Budget) -> int:
    """
    All that a budget allows.
    """
    return (
        wanted.own
        + budget.clients
        + budget.refused
        + budget.servers
        + budget.management
        + slack(budget.management)
        + budget.checks
    )


class BudgetTests(SynchronousTestCase):
    """
    The shares.
    """

    def test_documented(self) -> None:
        """
        The documents have the least numbers with which a node starts.
        """
        path = ROOT / "docs" / "operations.md"
        text = " ".join(path.read_text(encoding="utf-8").split())
        clustered = msgspec.structs.replace(DEFAULT, clustered=True, listeners=3)
        least = [wanted.own + LEAST for wanted in (DEFAULT, clustered)]
        self.assertIn("With fewer than {} ({} in a cluster".format(*least), text)
        for wanted, number in zip((DEFAULT, clustered), least, strict=True):
            share_out(number, wanted)
            with self.assertRaises(TooFew):
                share_out(number - 1, wanted)

    def test_enough(self) -> None:
        """
        Everybody gets what is wanted, and servers what is left.
        """
        for wanted in (DEFAULT, msgspec.structs.replace(DEFAULT, clients=20, clustered=True)):
            for allowed in (wanted.needed, wanted.useful, 1 << 20):
                budget = share_out(allowed, wanted)
                self.assertEqual(
                    (budget.clients, budget.management, budget.checks),
                    (wanted.clients, 256, 512),
                )
                self.assertEqual(used(wanted, budget), allowed)
                self.assertIsNone(lowered(allowed, wanted, budget))
            self.assertGreaterEqual(share_out(wanted.useful, wanted).servers, 1024)

    def test_few(self) -> None:
        """
        Lowered limits are logged in one line.
        """
        budget = share_out(256, DEFAULT)
        self.assertEqual(
            lowered(256, DEFAULT, budget),
            "256 file descriptors are allowed, and 20914 are needed: limits.client_connections is "
            f"lowered from 10000 to {budget.clients}, management.connections is lowered from 256 "
            f"to {budget.management}, the number of checks at once is lowered from 512 to "
            f"{budget.checks}; raise LimitNOFILE (ulimit -Hn), or lower the limits",
        )
        self.assertEqual(used(DEFAULT, budget), 256)
        self.assertGreaterEqual(budget.clients, 60)
        said = lowered(20000, DEFAULT, share_out(20000, DEFAULT))
        assert said is not None
        self.assertIn("limits.client_connections is lowered from 10000 to 9543;", said)

    def test_too_few(self) -> None:
        """
        There is no use in starting.
        """
        with self.assertRaises(TooFew) as caught:
            share_out(DEFAULT.own + LEAST - 1, DEFAULT)
        self.assertEqual(
            str(caught.exception),
            "113 file descriptors are allowed, of which this node needs 66 for itself; allowed: at "
            "least 114 (raise LimitNOFILE, or ulimit -n)",
        )

    @given(
        st.builds(
            Wanted,
            clients=st.integers(1, 1 << 20),
            management=st.integers(1, 1 << 20),
            checks=st.just(512),
            listeners=st.integers(2, 50),
            clustered=st.booleans(),
        ),
        st.integers(0, 1 << 21),
    )
    def test_any(self, wanted: Wanted, more: int) -> None:
        """
        The shares are what is allowed, each is of use, and clients have a server each.
        """
        allowed = wanted.own + LEAST + more
        budget = share_out(allowed, wanted)
        self.assertEqual(used(wanted, budget), allowed)
        self.assertTrue(all(share > 0 for share in msgspec.structs.astuple(budget)), budget)
        self.assertGreaterEqual(budget.servers, budget.clients)
        self.assertLessEqual(budget.clients, wanted.clients)
        self.assertLessEqual(budget.management, wanted.management)

    def test_raise(self) -> None:
        """
        The soft limit is raised up to the hard one, and never lowered.
        """
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        hard = limits[1]
        if hard == resource.RLIM_INFINITY or hard > 1 << 20:
            hard = 1 << 20
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, limits[1]))
        self.assertEqual(raise_limit(10), hard // 2)
        self.assertEqual(raise_limit(hard // 2 + 1), hard // 2 + 1)
        self.assertEqual(raise_limit(limits[1] + 1 if limits[1] == hard else hard), hard)


class SlotTests(SynchronousTestCase):
    """
    Connections to servers, counted.
    """

    def test_room(self) -> None:
        """
        Idle connections go where there are too many; each place is given back once.
        """
        rooms: list[int] = []
        slots = Slots(2, lambda: rooms.append(slots.taken))
        first, second = slots.take(), slots.take()
        self.assertEqual(rooms, [])
        third = slots.take()
        self.assertEqual(rooms, [2])
        failure = Failure(ConnectionRefusedError())
        self.assertIs(third.failed(failure), failure)
        third.release()
        first.release()
        self.assertEqual(slots.taken, 1)
        slots.take()
        self.assertEqual(rooms, [2])
        second.release()
        self.assertEqual(slots.taken, 1)


class NodeTests(SynchronousTestCase):
    """
    Real nodes with 256 file descriptors.
    """

    twistd: ClassVar[tuple[str, ...]] = ()
    flood = 1000

    def setUp(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        self.held = ExitStack()
        self.addCleanup(self.held.close)

    def node(self) -> Node:
        """A node with a server."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        # Its path has to fit.
        self.socket = f"{self.enterContext(TemporaryDirectory())}/api"
        node = Node(
            directory,
            f"--management=unix:{self.socket}",
            twistd=self.twistd,
            descriptors=256,
            configuration="[health]\ninterval = 0.2\nfast_interval = 0.2",
        )
        self.addCleanup(node.stop, signal.SIGKILL)
        node.started()
        self.server = TestServer()
        self.addCleanup(self.server.stop, signal.SIGKILL)
        node.register(self.server.port)
        found = node.expect(
            r"256 file descriptors are allowed.*limits\.client_connections is lowered from 10000 "
            r"to (\d+)"
        )
        self.clients = int(found[1])
        return node

    def hold(self, port: int, count: int) -> list[socket.socket]:
        """Open connections, and say nothing on them."""
        return [
            self.held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            for _ in range(count)
        ]

    def test_idle_management(self) -> None:
        """
        1,000 connections to the API keep neither clients, nor callers, nor checks out.
        """
        node = self.node()
        self.hold(node.management, self.flood)
        for _ in range(self.flood // 10):
            client = self.held.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(self.socket)
        connections = []
        for _ in range(self.clients):
            connection = HTTPConnection("127.0.0.1", node.proxy, timeout=PATIENCE)
            self.held.callback(connection.close)
            connection.request("GET", "/delay/0.2")
            connections.append(connection)
        self.assertEqual({each.getresponse().status for each in connections}, {200})
        (shown,) = call(node.management, "GET", "/servers").json()
        self.assertEqual(shown["state"], "up")
        self.server.stop(signal.SIGKILL)
        node.expect(r"is down: connection refused")
        node.expect(r"connections to the management API are taken")

    def test_clients(self) -> None:
        """
        Clients that take all that they may are served; more of them are not, and keep
        neither callers nor checks out.
        """
        node = self.node()
        kept = self.hold(node.proxy, self.clients)
        kept[0].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(kept[0].recv(65536).startswith(b"HTTP/1.1 200 "))
        self.assertEqual(node.get().status, 503)
        self.hold(node.proxy, self.flood)
        other = TestServer()
        self.addCleanup(other.stop, signal.SIGKILL)
        node.register(other.port)
        self.server.stop(signal.SIGKILL)
        node.expect(r"is down: connection refused")
        for each in kept:
            each.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        for each in kept:
            self.assertTrue(each.recv(65536).startswith(b"HTTP/1.1 200 "))
        self.held.close()
        wait_until(lambda: node.get().status == 200, "clients are taken again")

    def test_many_servers(self) -> None:
        """
        Idle connections to servers make room for others.
        """
        node = self.node()
        servers = [self.server, *(TestServer() for _ in range(3))]
        for each in servers[1:]:
            self.addCleanup(each.stop, signal.SIGKILL)
            node.register(each.port)
        for _ in range(4):
            connections = []
            for _ in range(self.clients):
                connection = HTTPConnection("127.0.0.1", node.proxy, timeout=PATIENCE)
                connection.request("GET", "/delay/0.1")
                connections.append(connection)
            for connection in connections:
                response = connection.getresponse()
                response.read()
                self.assertEqual(response.status, 200)
                connection.close()
            self.assertEqual(call(node.management, "GET", "/health").status, 200)
            open_now = len(list(Path(f"/proc/{node.pid}/fd").iterdir()))
            self.assertLess(open_now, 256)


class EpollTests(NodeTests):
    """
    The same on Twisted's own transports.
    """

    twistd = ("--reactor=epoll",)
    # Its queue of connections is short, and the kernel repeats what did not fit after 1 s.
    flood = 100


class TooFewTests(SynchronousTestCase):
    """
    A real node that may have fewer than it needs.
    """

    def test_too_few(self) -> None:
        """
        It says so in one line, and does not start.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        node = Node(directory, descriptors=64)
        self.addCleanup(node.stop, signal.SIGKILL)
        node.start().expect(
            r"alacrity: 64 file descriptors are allowed, of which this node needs \d+ "
        )
        self.assertEqual(node.ended(), 1)
        self.assertNotIn("Traceback", node.log)
