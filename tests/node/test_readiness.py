"""
L{alacrity.node.readiness}: when a node is fit for traffic, and what C{GET /health} says.
"""

from __future__ import annotations

import signal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.clusters import Cluster
from acceptance.lab.nodes import Node, TestServer
from acceptance.lab.waiting import PATIENCE, wait_until
from alacrity.cluster.raft.membership import FIRST_INDEX
from alacrity.cluster.status import ClusterStatus
from alacrity.node.phase import NodePhase
from alacrity.node.readiness import why_unfit
from alacrity.pool import Register, TcpCheck
from tests.cluster.test_membership_changes import ClusterCase, address_of

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
    The reasons why a node is unfit.
    """

    def reason(self, phase: NodePhase = NodePhase.SERVING, **more: Any) -> str | None:
        """Of a follower that is well, but for what is given."""
        status = msgspec.structs.replace(
            STATUS, **{name: more.pop(name) for name in set(more) & set(STATUS.__struct_fields__)}
        )
        known = {
            "failure": None,
            "listening": True,
            "leading": False,
            "only_leader": False,
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
            {"has_quorum": False, "remembers": False},
            {"has_quorum": False, "caught_up": False},
            {"only_leader": True, "leading": True},
        ):
            self.assertIsNone(self.reason(**more), more)

    def test_unfit(self) -> None:
        """
        Others, each with its reason.
        """
        for more, reason in (
            ({"phase": NodePhase.STARTING}, "it is starting"),
            ({"phase": NodePhase.STOPPING, "leading": True}, "it is stopping"),
            ({"failure": "it cannot read entry 7"}, "failed: it cannot read entry 7"),
            ({"listening": False}, "its proxy listens nowhere"),
            (
                {"role": "joining", "caught_up": False, "has_quorum": False},
                "waits to be taken into",
            ),
            ({"role": "removed"}, "was removed"),
            (
                {"caught_up": False, "remembers": False, "has_quorum": False},
                "it does not know the pool yet: no leader with a majority is heard of",
            ),
            ({"caught_up": False, "remembers": False}, "it is catching up"),
            ({"caught_up": False}, "it is catching up"),
            ({"only_leader": True}, "another node serves"),
        ):
            self.assertIn(reason, str(self.reason(**more)), more)


class CatchingUpTests(ClusterCase):
    """
    Nodes that begin with nothing beside a pool of many servers.
    """

    SERVERS = 700

    def reason(self, name: str) -> str | None:
        """Why one of them is not fit."""
        return why_unfit(
            NodePhase.SERVING,
            failure=None,
            listening=True,
            status=self.nodes[name].status,
            leading=self.nodes[name].replica.is_leader,
            only_leader=False,
        )

    def size(self, name: str) -> int:
        """How many servers it knows."""
        return len(self.nodes[name].view.pool.servers)

    def begin(self, founders: str, running: str) -> None:
        """
        A cluster that knows many servers. The founders that do not run have met the others, and
        know nothing else.
        """
        for name in founders:
            self.add(name, founders)
        while any(node.status.awaited for node in self.nodes.values()):
            self.world.now += 0.001
            self.clock.advance(0.001)
        for name in set(founders) - set(running):
            self.stop(name)
            self.assertEqual(self.nodes[name].status.applied_index, FIRST_INDEX)
        leader = self.leader
        for first in range(0, self.SERVERS, 100):
            registered = [
                Deferred.fromCoroutine(
                    leader.replica.propose(Register("10.0.0.1", port, TcpCheck(), 1, 1.0))
                )
                for port in range(first + 1, first + 101)
            ]
            for each in registered:
                self.successResultOf(self.settled(each))
        self.until(lambda: all(self.size(name) == self.SERVERS for name in running))

    def watch(self, name: str, seconds: float = 20) -> list[str]:
        """
        The reasons that a node gives until it is fit, which it is with all servers.
        """
        reasons: list[str] = []
        partial = False
        for _ in range(round(seconds * 1000)):
            reason = self.reason(name)
            partial = partial or 0 < self.size(name) < self.SERVERS
            if reason is None:
                self.assertEqual(self.size(name), self.SERVERS)
                self.assertTrue(partial)
                return reasons
            if reason not in reasons:
                reasons.append(reason)
            self.world.now += 0.001
            self.clock.advance(0.001)
        raise AssertionError(f"not fit: {reasons}")

    def test_member(self) -> None:
        """
        A member that has not been there since the cluster began.
        """
        self.begin("bcd", "bc")
        self.nodes["d"].start()
        (alone, behind) = self.watch("d")
        self.assertIn("no leader with a majority is heard of", alone)
        self.assertIn("it is catching up", behind)
        for name in "bc":
            self.stop(name)
        self.until(lambda: not self.nodes["d"].status.has_quorum)
        self.assertIsNone(self.reason("d"))

    def test_joining(self) -> None:
        """
        A node that joins.
        """
        self.begin("bc", "bc")
        self.add("e")
        joining = Deferred.fromCoroutine(self.leader.replica.add_member(address_of("e")))
        reasons = self.watch("e")
        self.assertIn("waits to be taken into its cluster", reasons[0])
        self.successResultOf(self.settled(joining))

    def test_cut_off(self) -> None:
        """
        A new member that loses the others before it has the whole pool is not fit.
        """
        self.begin("bcd", "bc")
        self.nodes["d"].start()
        while not self.size("d"):
            self.world.now += 0.001
            self.clock.advance(0.001)
        for name in "bc":
            self.nodes[name].transport.stop()
        self.until(lambda: not self.nodes["d"].status.has_quorum)
        self.assertLess(self.size("d"), self.SERVERS)
        self.assertIn("no leader with a majority is heard of", str(self.reason("d")))

    def test_all_started_again(self) -> None:
        """
        One with nothing is not fit before the others, that start with it, know what is
        committed.
        """
        self.begin("bcd", "bc")
        for name in "bc":
            self.stop(name)
        for name in "bc":
            self.nodes[name].start()
            self.assertIsNone(self.reason(name))
        self.nodes["d"].start()
        self.watch("d")

    def test_started_again(self) -> None:
        """
        One that has missed something is fit by what it knows, until it hears more.
        """
        self.begin("bcd", "bcd")
        self.let_lead("b")
        self.stop("d")
        self.done(self.nodes["b"].replica.propose(Register("10.0.0.2", 1, TcpCheck(), 1, 1.0)))
        self.nodes["d"].start()
        for name in "bc":
            self.nodes[name].transport.stop()
        self.run_for(3)
        self.assertFalse(self.nodes["d"].status.has_quorum)
        self.assertIsNone(self.reason("d"))
        self.assertEqual(self.size("d"), self.SERVERS)
        for name in "bc":
            self.nodes[name].transport.start()
        self.until(lambda: self.size("d") == self.SERVERS + 1)
        self.assertIsNone(self.reason("d"))


class NodeTests(SynchronousTestCase):
    """
    Real nodes.
    """

    def health(self, node: Node, path: str = "/health") -> tuple[int, str]:
        """The status and the reason that a node gives."""
        answer = node.call("GET", path)
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
            lambda: one.call("POST", "/cluster/nodes", document).status == 201,
            "the second node is taken in",
        )
        wait_until(lambda: self.health(first)[0] == 200, "the second node is fit")
        # The first one leads, so it is the second that is asked to go.
        wait_until(
            lambda: (
                one.call("DELETE", f"/cluster/nodes/{cluster.addresses[1]}").status in {204, 404}
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
        self.assertIn("it does not know the pool yet", self.health(alone)[1])
        cluster.start(1)
        cluster.leader(0, 1)
        document = {"ip": "127.0.0.1", "port": 9}
        wait_until(
            lambda: alone.call("POST", "/servers", document).status in {200, 201},
            "a server is registered",
        )
        cluster.kill(1)
        wait_until(lambda: cluster.nodes[0].cluster()["stale"], "the node is without a majority")
        wait_until(lambda: self.health(alone, "/health/leader")[0] == 503, "it does not lead")
        self.assertEqual(self.health(alone)[0], 200)
        cluster.kill(0)
        cluster.start(0)
        again = cluster.nodes[0]
        # Whether the last entries are known to be committed may not be on its disk yet.
        remembers = cluster.nodes[0].cluster()["applied_index"] > FIRST_INDEX
        self.assertEqual(self.health(again)[0], 200 if remembers else 503)

    def test_nobody_registered(self) -> None:
        """
        A node that has led is fit once it has lost the others, also if there never was a
        server.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        cluster = Cluster(directory, size=2)
        self.addCleanup(cluster.stop)
        cluster.start(0, 1)
        leader = cluster.leader(0, 1)
        cluster.kill(1 - leader)
        wait_until(lambda: cluster.nodes[leader].cluster()["stale"], "it is without a majority")
        self.assertEqual(self.health(cluster.nodes[leader]), (200, ""))

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
