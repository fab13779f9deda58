"""
Tests of a whole cluster: real nodes, real servers, real clients.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from acceptance.lab.calls import Answer
from acceptance.lab.clusters import QUIET, Cluster, lead_by, leaderless, written
from acceptance.lab.loads import Requests, Writer
from acceptance.lab.nodes import Node
from acceptance.lab.waiting import PATIENCE, wait_until
from tests.support.nodes import NodeTestCase
from tests.support.places import GOLDEN

RETRY = {"1", "2", "3", "4", "5"}


class ClusterTestCase(NodeTestCase):
    """
    A test case whose clusters end with each test.
    """

    def cluster(self, configuration: str = "", more: int = 0, size: int = 3) -> Cluster:
        """A cluster, of which no node runs yet."""
        cluster = Cluster(self.directory(), configuration, more, size)
        self.addCleanup(cluster.stop)
        return cluster

    def register(self, node: Node, port: int, **more: object) -> Answer:
        """Register a server of this machine with a node."""
        return node.call("POST", "/servers", {"ip": "127.0.0.1", "port": port, **more})

    def write(self, node: Node, port: int) -> Answer:
        """
        Register a server that is hardly checked, again for as long as the answer is that there is no
        leader, or that the outcome is unknown: an election may take long on a busy machine.
        """
        answers: list[Answer] = []

        def done() -> bool:
            answers.append(self.register(node, port, check=QUIET))
            return answers[-1].status not in {503, 504}

        wait_until(done, "an answer from a leader")
        return answers[-1]

    def serve(self, cluster: Cluster, *numbers: int) -> None:
        """Have a server in the pool, and wait until nodes send it traffic."""
        answer = self.register(cluster.nodes[numbers[0]], self.server().port)
        self.assertEqual(answer.status, 201, answer.body)
        for number in numbers:
            wait_until(
                lambda number=number: cluster.nodes[number].get().status == 200,  # type: ignore[misc]
                f"traffic through {number}",
            )

    def requests(self, cluster: Cluster, *numbers: int) -> list[Requests]:
        """Begin to request something of proxies, again and again."""
        loads = [Requests(cluster.nodes[number], 0.0).start() for number in numbers]
        for load in loads:
            self.addCleanup(load.stop)
        return loads

    def checked(self, cluster: Cluster, *numbers: int) -> list[dict[str, Any]]:
        """
        Two servers, once one is up and one is down, as they stay; on a busy machine, a check of the one
        may fail for once, and that of the other may take its time.
        """
        found: list[dict[str, Any]] = []

        def settled() -> bool:
            found[:] = cluster.equal(*numbers)
            return sorted(each["state"] for each in found) == ["down", "up"]

        wait_until(settled, "one server that is up, and one that is down", 2 * PATIENCE)
        return found

    def all_answered(self, loads: list[Requests]) -> None:
        """Stop requests, and see that all were answered."""
        for load in loads:
            load.stop()
            self.assertGreater(load.count, 10)
            self.assertEqual(load.faults, {})

    def writes(self, cluster: Cluster, *numbers: int) -> list[Writer]:
        """Begin to register servers with nodes, again and again."""
        writers = [
            Writer(cluster.nodes[number], check=QUIET, pause=0.0).start() for number in numbers
        ]
        for writer in writers:
            self.addCleanup(writer.stop)
        return writers


class ThreeNodesTests(ClusterTestCase):
    """
    Three nodes, all of them or two.
    """

    def test_any_node_will_do(self) -> None:
        """
        A server that registers with a follower is known there at once, and gets traffic
        from all; one removed by another follower gets none. Who leads, is told to lead,
        and says that it does.
        """
        cluster = self.cluster()
        cluster.start(0, 1, 2)
        leader = cluster.leader(0, 1, 2)
        follower, other = ({0, 1, 2} - {leader}).__iter__()
        port = self.server().port
        answer = self.register(cluster.nodes[follower], port)
        self.assertEqual((answer.status, answer.json()["id"]), (201, f"127.0.0.1:{port}"))
        path = answer.headers["Location"]
        read = cluster.nodes[follower].call("GET", path)
        self.assertEqual((read.status, read.headers["X-Alacrity-Stale"]), (200, "false"))
        confirmed = cluster.nodes[other].call("GET", f"{path}?consistent=1")
        self.assertEqual(confirmed.status, 200)
        self.assertGreaterEqual(
            int(confirmed.headers["X-Alacrity-Index"]), int(read.headers["X-Alacrity-Index"])
        )
        for node in cluster.nodes.values():
            wait_until(lambda node=node: node.get().status == 200, "traffic")  # type: ignore[misc]
        (server,) = cluster.equal(0, 1, 2)
        self.assertEqual(server["state"], "up")
        wait_until(
            lambda: (
                sorted(n.call("GET", "/health/leader").status for n in cluster.nodes.values())
                == [200, 503, 503]
            ),
            "one node that says that it leads",
        )

        wanted = cluster.addresses[other]
        handed = cluster.nodes[follower].call("POST", "/cluster/leader", {"name": wanted})
        self.assertEqual(handed.status, 202, handed.body)
        wait_until(lambda: cluster.leader(0, 1, 2) == other, "the leader that was asked for")

        self.assertEqual(cluster.nodes[leader].call("DELETE", path).status, 204)
        self.assertEqual(cluster.nodes[leader].get().status, 503)
        self.assertEqual(cluster.equal(0, 1, 2), [])

    def test_leader_killed(self) -> None:
        """
        The leader's death costs no request that the others proxy. They take writes
        again soon, and it catches up when it is back.
        """
        cluster = self.cluster()
        cluster.start(0, 1, 2)
        self.serve(cluster, 0, 1, 2)
        leader = cluster.leader(0, 1, 2)
        one, other = sorted({0, 1, 2} - {leader})
        requests = self.requests(cluster, one, other)
        cluster.kill(leader)
        answer = self.write(cluster.nodes[one], 1)
        self.assertIn(answer.status, {200, 201}, answer.body)
        cluster.start(leader)
        cluster.leader(0, 1, 2)
        self.assertEqual(len(cluster.equal(0, 1, 2)), 2)
        wait_until(lambda: cluster.nodes[leader].get().status == 200, "traffic")
        self.all_answered(requests)

    def test_all_killed(self) -> None:
        """
        All are killed while they take writes: nothing that was acknowledged is lost.
        Then most are: the one that is left proxies, reads, says that it may be behind,
        and takes no write, until it is told to go on alone.
        """
        cluster = self.cluster()
        cluster.start(0, 1, 2)
        self.serve(cluster, 0, 1, 2)
        writes = self.writes(cluster, 0, 1, 2)
        wait_until(lambda: all(each.acknowledged > 10 for each in writes), "writes")
        cluster.kill(0, 1, 2)
        for each in writes:
            each.stop()
        cluster.start(0, 1, 2)
        acknowledged = {id for each in writes for id in each.there}
        known = {server["id"] for server in cluster.equal(0, 1, 2)}
        self.assertEqual(acknowledged - known, set())

        cluster.kill(1, 2)
        last = cluster.nodes[0]
        leaderless([last])
        new = {"ip": "127.0.9.1", "port": 1}
        with ThreadPoolExecutor() as callers:
            refusals = [
                callers.submit(last.call, *each)
                for each in (
                    ("POST", "/servers", new),
                    ("DELETE", "/servers/127.0.1.1:1"),
                    ("GET", "/servers?consistent=1"),
                )
            ]
        for refusal in refusals:
            refused = refusal.result()
            self.assertEqual(refused.status, 503, refused.body)
            self.assertIn(refused.headers["Retry-After"], RETRY)
        read = last.call("GET", "/servers")
        self.assertEqual((read.status, read.headers["X-Alacrity-Stale"]), (200, "true"))
        self.assertEqual({each["id"] for each in read.json()}, known)
        self.assertEqual(last.get().status, 200)

        cluster.kill(0)
        cluster.start(0, options=["--force-new-cluster"])
        self.assertEqual(cluster.leader(0), 0)
        self.assertEqual({server["id"] for server in cluster.equal(0)}, known)
        self.assertEqual(self.register(cluster.nodes[0], 2, check=QUIET).status, 201)
        self.assertIn(
            "--force-new-cluster: this node is now the only member of the cluster",
            cluster.nodes[0].log,
        )


class FiveNodesTests(ClusterTestCase):
    """
    Five nodes bear the loss of two, whichever these are.
    """

    ALL = (0, 1, 2, 3, 4)

    def test_two_killed_then_three(self) -> None:
        """
        The death of the leader and of a follower at once costs no request that the others
        proxy, and they take writes again. After a third one's they take none, say that they
        may be behind, and proxy on. All is well once the three are back.
        """
        cluster = self.cluster(size=5)
        cluster.start(*self.ALL)
        self.serve(cluster, *self.ALL)
        leader = cluster.leader(*self.ALL)
        follower, third, one, other = sorted({*self.ALL} - {leader})
        requests = self.requests(cluster, one, other)
        last = cluster.nodes[one]
        cluster.kill(leader, follower)
        answer = self.write(last, 1)
        self.assertIn(answer.status, {200, 201}, answer.body)
        self.assertIn(cluster.leader(third, one, other), {third, one, other})
        known = self.checked(cluster, third, one, other)

        cluster.kill(third)
        leaderless([last, cluster.nodes[other]])
        refused = self.register(last, 2, check=QUIET)
        self.assertEqual(refused.status, 503, refused.body)
        self.assertIn(refused.headers["Retry-After"], RETRY)
        read = last.call("GET", "/servers")
        self.assertEqual((read.status, read.headers["X-Alacrity-Stale"]), (200, "true"))
        before = [each.count for each in requests]
        wait_until(
            lambda: all(e.count > b + 10 for e, b in zip(requests, before, strict=True)),
            "traffic without a quorum",
        )

        cluster.start(leader, follower, third)
        cluster.leader(*self.ALL)
        found = cluster.equal(*self.ALL)
        self.assertEqual(written(found), written(known))
        # The verdicts are in the log: nobody has forgotten that there was one.
        self.assertNotIn("pending", {each["state"] for each in found})
        self.assertEqual(self.checked(cluster, *self.ALL), known)
        self.assertIn(self.write(last, 2).status, {200, 201})
        self.all_answered(requests)

    def test_leader_stopped_then_all_killed(self) -> None:
        """
        The leader is stopped, and goes on when another leads: it follows. Then all are
        killed while they take writes. Nothing that was acknowledged is lost.
        """
        cluster = self.cluster(size=5)
        cluster.start(*self.ALL)
        self.serve(cluster, *self.ALL)
        leader = cluster.leader(*self.ALL)
        rest = sorted({*self.ALL} - {leader})
        requests = self.requests(cluster, *rest)
        paused = cluster.nodes[leader]
        paused.send(signal.SIGSTOP)
        self.addCleanup(paused.send, signal.SIGCONT)
        answer = self.write(cluster.nodes[rest[0]], 1)
        self.assertIn(answer.status, {200, 201}, answer.body)
        self.assertIn(cluster.leader(*rest), rest)
        paused.send(signal.SIGCONT)
        others = {cluster.addresses[number] for number in rest}
        wait_until(lambda: paused.cluster()["leader"] in others, "that it follows")
        self.assertIn(answer.json()["id"], {each["id"] for each in cluster.equal(*self.ALL)})
        self.all_answered(requests)

        writes = self.writes(cluster, *self.ALL)
        wait_until(lambda: all(each.acknowledged > 10 for each in writes), "writes")
        cluster.kill(*self.ALL)
        for each in writes:
            each.stop()
        cluster.start(*self.ALL)
        acknowledged = {id for each in writes for id in each.there}
        known = {server["id"] for server in cluster.equal(*self.ALL)}
        self.assertEqual(acknowledged - known, set())


class MembershipTests(ClusterTestCase):
    """
    Nodes come and go.
    """

    def test_joins_and_leaves(self) -> None:
        """
        A node that was alone goes on as the first of a cluster, with its servers; others
        join it while it runs. The leader can remove itself, and who was removed stays
        so when it starts again.
        """
        cluster = self.cluster()
        first = Node(cluster.directory(0)).started()
        cluster.nodes[0] = first
        self.serve(cluster, 0)
        known = cluster.nodes[0].document("/servers")
        first.stop()
        cluster.start(0, members=False)
        # It knows them before it listens.
        self.assertEqual(cluster.nodes[0].get().status, 200)
        url = f"http://{cluster.nodes[0].host}:{cluster.nodes[0].management}"
        cluster.start(1, 2, members=False, options=["--join", url])
        for number in (1, 2):
            cluster.nodes[number].expect(
                rf"this node, {cluster.addresses[number]}, is in the cluster"
            )
        lead_by(list(cluster.nodes.values()), cluster.nodes[0])
        self.assertEqual([each["id"] for each in cluster.equal(0, 1, 2)], [known[0]["id"]])
        self.assertEqual(cluster.nodes[2].get().status, 200)

        gone = cluster.addresses[0]
        answer = cluster.nodes[0].call("DELETE", f"/cluster/nodes/{gone}")
        self.assertEqual(answer.status, 204, answer.body)
        self.assertIn(cluster.leader(1, 2), {1, 2})
        self.assertEqual(
            {each["name"] for each in cluster.nodes[1].cluster()["members"]},
            set(cluster.addresses[1:3]),
        )
        wait_until(lambda: cluster.nodes[0].cluster()["role"] == "removed", "removed")
        answer = cluster.nodes[2].call("DELETE", f"/cluster/nodes/{gone}")
        self.assertEqual(answer.status, 404)

        cluster.kill(0)
        cluster.start(0, members=False)
        cluster.nodes[0].expect("is not among the members")
        self.assertEqual(self.register(cluster.nodes[0], 1).status, 503)
        self.assertEqual(self.register(cluster.nodes[1], 1, check=QUIET).status, 201)
        self.assertEqual(cluster.nodes[0].get().status, 200)

        cluster.kill(1, 2)
        # Who joined, starts again without being told to join.
        cluster.start(1, 2, members=False)
        self.assertIn(cluster.leader(1, 2), {1, 2})
        self.assertEqual(len(cluster.equal(1, 2)), 2)

    def test_from_the_former_format(self) -> None:
        """
        The pool of a node that kept it by itself is taken over.
        """
        cluster = self.cluster()
        cluster.state(0).mkdir(parents=True)
        golden = (GOLDEN / "pool-1.json").read_bytes()
        (cluster.state(0) / "pool.json").write_bytes(golden)
        cluster.start(0, members=False)
        servers = cluster.nodes[0].document("/servers")
        self.assertNotEqual(servers, [])
        for server in servers:
            self.assertIn(f'"{server["id"]}"', golden.decode())
        self.assertEqual((cluster.state(0) / "pool.json.taken-over").read_bytes(), golden)

    def test_alone_before(self) -> None:
        """
        One that was alone cannot begin a cluster with others, whose pool would be
        another one.
        """
        cluster = self.cluster()
        first = Node(cluster.directory(0)).started()
        cluster.nodes[0] = first
        self.assertEqual(self.register(first, 1, check=QUIET).status, 201)
        first.stop()
        self.assertIn("that of a standalone node", _fault(cluster, 0))
        kept = cluster.state(1)
        kept.mkdir(parents=True)
        golden = (GOLDEN / "pool-1.json").read_bytes()
        (kept / "pool.json").write_bytes(golden)
        self.assertIn("that of a standalone node", _fault(cluster, 1))
        self.assertEqual((kept / "pool.json").read_bytes(), golden)
        cluster.start(0, members=False)
        self.assertEqual(len(cluster.nodes[0].document("/servers")), 1)


class LeaderServesTests(ClusterTestCase):
    """
    C{serve = "leader"}
    """

    def test_leader_serves(self) -> None:
        """
        The leader proxies; the others do not, until they lead.
        """
        cluster = self.cluster()
        cluster.start(0, 1, 2, more='serve = "leader"')
        self.serve(cluster, cluster.leader(0, 1, 2))
        cluster.equal(0, 1, 2)

        def leader_serves() -> bool:
            # Another may be elected at any moment.
            leader = cluster.leader(0, 1, 2)
            return all(
                node.get().status == node.call("GET", "/health").status == wanted
                for number, node in cluster.nodes.items()
                for wanted in (200 if number == leader else 503,)
            )

        wait_until(leader_serves, "the leader serves, and the others do not")
        leader = cluster.leader(0, 1, 2)
        followers = sorted({0, 1, 2} - {leader})
        self.assertEqual(cluster.nodes[leader].call("GET", "/health").json(), {"status": "serving"})
        cluster.kill(leader)
        then = cluster.leader(*followers)
        wait_until(lambda: cluster.nodes[then].get().status == 200, "traffic through the new one")
        (last,) = {*followers} - {then}
        self.assertEqual(cluster.nodes[last].get().status, 503)


class FaultTests(ClusterTestCase):
    """
    Nodes that are kept out of a cluster, each with one line.
    """

    def test_start(self) -> None:
        """
        A node does not start without its secret, with a damaged log, or in a directory that
        another one uses.
        """
        cluster = self.cluster()
        secret = cluster.directory(0).parent / "secret"
        secret.rename(secret.with_name("away"))
        self.assertRegex(_fault(cluster, 0), r"secret: No such file or directory$")
        secret.with_name("away").rename(secret)
        secret.chmod(0o640)
        self.assertRegex(_fault(cluster, 0), r"secret: its mode 0640 lets others use it")
        secret.chmod(0o600)

        cluster.start(0)
        self.assertRegex(
            _fault(cluster, 0, f"--state-dir={cluster.state(0)}"),
            rf"the state directory {cluster.state(0)} is used by another process$",
        )
        cluster.kill(0)
        log = cluster.state(0) / "raft.log"
        content = bytearray(log.read_bytes())
        content[len(content) // 3] ^= 1
        log.write_bytes(content)
        self.assertRegex(_fault(cluster, 0), rf"{log} is damaged at byte \d+: .*join again, empty$")
        self.assertEqual(log.read_bytes(), content)

    def test_wrong_secret(self) -> None:
        """
        One with another secret is refused by the others, who say so once, and it has no
        part in what they agree on.
        """
        cluster = self.cluster()
        cluster.start(0, 1, 2)
        cluster.leader(0, 1, 2)
        cluster.nodes[2].stop()
        other = cluster.directory(2)
        wrong = other / "wrong"
        wrong.write_text("another secret, of at least 32 bytes\n")
        wrong.chmod(0o600)
        table = cluster.table(2).replace('"../secret"', '"wrong"')
        cluster.nodes[2] = Node(other, configuration=table).started()
        cluster.leader(0, 1)
        for number in (0, 1, 2):
            cluster.nodes[number].expect("secret")
        self.assertEqual(self.register(cluster.nodes[0], 1, check=QUIET).status, 201)
        self.assertEqual(cluster.nodes[2].document("/servers"), [])
        self.assertIsNone(cluster.nodes[2].cluster()["leader"])
        cluster.nodes[2].stop()
        cluster.nodes[0].stop()
        lines = [line for line in cluster.nodes[0].log.splitlines() if "secret" in line]
        self.assertEqual(len(lines), len(set(lines)), lines)


def _fault(cluster: Cluster, number: int, *options: str) -> str:
    """
    The one line with which a node says why it does not start.
    """
    node = Node(
        cluster.directory(number),
        *options,
        twistd=["--logfile=log"],
        configuration=cluster.table(number),
    ).start()
    try:
        status = node.ended()
    finally:
        node.stop(signal.SIGKILL)
    (line,) = node.log.splitlines()
    assert status == 1, (status, line)
    return line
