"""
L{alacrity.readiness}: when a node is fit for traffic, and what C{GET /health} says.
"""

from __future__ import annotations

import signal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.replica import ClusterStatus
from alacrity.readiness import why_unfit
from tests.cluster import Cluster
from tests.node import PATIENCE, Node, TestServer, call, wait_until

STATUS = ClusterStatus(
    name="a",
    members=(),
    role="follower",
    leader="b",
    term=3,
    commit_index=7,
    applied_index=7,
    has_quorum=True,
    suspended=None,
    stale=False,
)


class ReasonTests(SynchronousTestCase):
    """
    What is said of a node.
    """

    def reason(self, phase: Any = "serving", **more: Any) -> str | None:
        """Of a follower that is well, but for what is given."""
        status = msgspec.structs.replace(
            STATUS, **{name: more.pop(name) for name in set(more) & set(STATUS.__struct_fields__)}
        )
        known = {
            "failure": None,
            "listening": True,
            "leading": False,
            "only_leader": False,
            "index": 5,
        }
        return why_unfit(phase, status=status, **(known | more))

    def test_fit(self) -> None:
        """
        Any member that knows a pool, also without a majority and with a full disk.
        """
        for more in (
            {},
            {"role": "leader", "leading": True},
            {"role": "candidate", "has_quorum": False, "stale": True, "leader": None},
            {"has_quorum": False, "stale": True, "suspended": "this node cannot write its log"},
            {"index": 0},
            {"only_leader": True, "leading": True},
        ):
            self.assertIsNone(self.reason(**more), more)

    def test_unfit(self) -> None:
        """
        Others, each with its reason.
        """
        for more, reason in (
            ({"phase": "starting"}, "it is starting"),
            ({"phase": "stopping", "leading": True}, "it is stopping"),
            ({"failure": "it cannot read entry 7"}, "failed: it cannot read entry 7"),
            ({"listening": False}, "its proxy listens nowhere"),
            ({"role": "joining", "index": 0, "has_quorum": False}, "waits to be taken into"),
            ({"role": "removed"}, "was removed"),
            ({"index": 0, "has_quorum": False}, "it knows no pool yet"),
            ({"only_leader": True}, "another node serves"),
        ):
            self.assertIn(reason, str(self.reason(**more)), more)


class NodeTests(SynchronousTestCase):
    """
    Real nodes.
    """

    def health(self, node: Node, path: str = "/health") -> tuple[int, str]:
        """The status and the reason that a node gives."""
        answer = call(node.management, "GET", path)
        return answer.status, answer.json().get("detail", "")

    def test_members(self) -> None:
        """
        One that waits to be taken in is not fit, nor is one that was removed; one that
        is alone without a majority is.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        cluster = Cluster(directory, size=1, more=1)
        self.addCleanup(cluster.stop)
        cluster.start(1, members=False, options=["--join", "http://127.0.0.1:9"])
        first = cluster.nodes[1]
        first.expect("cannot join the cluster")
        self.assertEqual(self.health(first)[0], 503)
        self.assertIn("waits to be taken into its cluster", self.health(first)[1])
        self.assertEqual(self.health(first, "/health/leader")[0], 503)

        cluster.start(0)
        one = cluster.nodes[0]
        wait_until(lambda: self.health(one)[0] == 200, "the first node is fit")
        document = {"address": cluster.addresses[1]}
        wait_until(
            lambda: call(one.management, "POST", "/cluster/nodes", document).status == 201,
            "the second node is taken in",
        )
        wait_until(lambda: self.health(first)[0] == 200, "the second node is fit")
        # The first one leads, so it is the second that is asked to go.
        wait_until(
            lambda: (
                call(one.management, "DELETE", f"/cluster/nodes/{cluster.addresses[1]}").status
                in {204, 404}
            ),
            "the second node is removed",
        )
        wait_until(lambda: self.health(first)[0] == 503, "the second node is not fit any more")
        self.assertIn("removed", self.health(first)[1])
        self.assertEqual(self.health(one)[0], 200)

    def test_without_majority(self) -> None:
        """
        A node that has lost the others is fit, and so it is after a restart, by the pool
        that it knows.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        cluster = Cluster(directory, size=2)
        self.addCleanup(cluster.stop)
        cluster.start(0)
        alone = cluster.nodes[0]
        self.assertEqual(self.health(alone)[0], 503)
        self.assertIn("it knows no pool yet", self.health(alone)[1])
        cluster.start(1)
        cluster.leader(0, 1)
        document = {"ip": "127.0.0.1", "port": 9}
        wait_until(
            lambda: call(alone.management, "POST", "/servers", document).status in {200, 201},
            "a server is registered",
        )
        cluster.kill(1)
        wait_until(lambda: cluster.ask(0, "/cluster")["stale"], "the node is without a majority")
        wait_until(lambda: self.health(alone, "/health/leader")[0] == 503, "it does not lead")
        self.assertEqual(self.health(alone)[0], 200)
        cluster.kill(0)
        cluster.start(0)
        again = cluster.nodes[0]
        known = cluster.ask(0, "/servers") != []
        self.assertEqual(self.health(again)[0], 200 if known else 503)

    def test_draining(self) -> None:
        """
        A leader that is stopping is neither fit nor to be sent traffic as the leader.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        node = Node(directory)
        self.addCleanup(node.stop, signal.SIGKILL)
        node.started()
        wait_until(lambda: self.health(node, "/health/leader")[0] == 200, "the node leads")
        server = TestServer()
        self.addCleanup(server.stop, signal.SIGKILL)
        node.register(server.port)
        connection = HTTPConnection("127.0.0.1", node.proxy, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/delay/60")
        # A second request, answered, tells that the first has reached the proxy.
        self.assertEqual(node.get().status, 200)
        node.send(signal.SIGTERM)
        node.expect("stopping; requests in flight")
        for path in ("/health", "/health/leader"):
            status, reason = self.health(node, path)
            self.assertEqual(status, 503)
            self.assertIn("it is stopping", reason)
