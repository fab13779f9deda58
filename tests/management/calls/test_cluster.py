"""
L{alacrity.management.calls.cluster}: the calls about the cluster, and reads that ask it.
"""

from __future__ import annotations

import json
from typing import Final

from alacrity.cluster.log.members import Member
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from tests.support.management_caller import TOKEN, Management, ManagementCase

A: Final = Member("a", "10.0.0.1:8688")
B: Final = Member("b", "10.0.0.2:8688")

NODES: Final = "/cluster/nodes"
LEADER: Final = "/cluster/leader"

NO_LEADER: Final = ProposalRefused("there is no leader")
NOT_HEARD: Final = OutcomeUnknown("no outcome was heard of in time")

ADDRESSES: Final = (
    "10.0.0.2:8688",
    "255.255.255.254:1",
    "9.9.9.9:65535",
    "node-2.example.org:8688",
    "localhost:8688",
    "a:1",
    "1a:1",
    "0x7f.1:80",
    "_node.example:8688",
    "[2001:db8::1]:8688",
    "[2001:DB8:0:0:0:0:0:2]:8688",
    "[1:2:3:4:5:6:7::]:80",
    "[1::3:4:5:6:7:8]:80",
    "[::1]:8688",
)
"""Addresses that a node may have."""

BAD_ADDRESSES: Final = (
    "",
    ":8688",
    "10.0.0.2",
    "10.0.0.2:",
    "10.0.0.2:0",
    "10.0.0.2:65536",
    "10.0.0.2:+80",
    "10.0.0.2:http",
    "10.0.0.2:8688/",
    " 10.0.0.2:8688",
    "10.0.0.2:8688 ",
    "10.0.0.256:8688",
    "010.0.0.2:8688",
    "10.0.2:8688",
    "1:8688",
    ".:8688",
    "a..b:8688",
    "-a:8688",
    "a-:8688",
    "a,b:8688",
    "user@host:8688",
    "http://host:8688",
    "h\xe9:8688",
    "\u0661.0.0.2:8688",
    "2001:db8::1:8688",
    "[2001:db8::1]",
    "[2001:db8::1:8688",
    "[1::2::3]:8688",
    "[1:2:3:4:5:6:7]:8688",
    "[1:2:3:4:5:6:7:8:9]:8688",
    "[10.0.0.2]:8688",
    "[]:8688",
    "[node]:8688",
    # Where no node can be reached, or not by all.
    "0.0.0.0:8688",
    "224.0.0.1:8688",
    "255.255.255.255:8688",
    "[::]:8688",
    "[ff02::1]:8688",
    "[fe80::1%eth0]:8688",
    "[::ffff:0.0.0.0]:8688",
    "x" * 64 + ":8688",
)
"""Addresses that no node may have."""

BAD_NAMES: Final = ("", " b", "b\n", "b/c", "b c", "b%", "\xe9", "x" * 129)

NO_STRINGS: Final[tuple[object, ...]] = (None, 1, True, [], {})


class ClusterCase(ManagementCase):
    """
    A case with a cluster of two.
    """

    def setUp(self) -> None:
        """
        Its members are a, which leads and answers, and b.
        """
        super().setUp()
        self.cluster = self.management.cluster
        self.cluster.members = [A, B]

    def assertUnchanged(self) -> None:
        """
        Nobody must have been told to change the cluster.
        """
        self.assertEqual([told for told in self.cluster.told if told[0] != "barrier"], [])
        self.cluster.told.clear()


class ShowTests(ClusterCase):
    """
    C{GET /cluster}.
    """

    def test_all(self) -> None:
        """
        The whole status is shown.
        """
        answer = self.management.call("GET", "/cluster")
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.document,
            {
                "name": "a",
                "role": "leader",
                "leader": "a",
                "term": 3,
                "commit_index": 7,
                "applied_index": 6,
                "has_quorum": True,
                "suspended": None,
                "stale": False,
                "cluster_id": None,
                "awaited": [],
                "advice": None,
                "members": [
                    {
                        "name": "a",
                        "address": "10.0.0.1:8688",
                        "role": "leader",
                        "last_contact": None,
                        "match_index": 7,
                        "lag": 0,
                        "problem": None,
                    },
                    {
                        "name": "b",
                        "address": "10.0.0.2:8688",
                        "role": "follower",
                        "last_contact": 0.012,
                        "match_index": 5,
                        "lag": 2,
                        "problem": None,
                    },
                ],
                "refused": [],
            },
        )

    def test_without_quorum(self) -> None:
        """
        A node without a quorum answers all the same, and asks nobody.
        """
        self.cluster.stale = True
        self.cluster.failures["barrier"] = NO_LEADER
        document = self.management.call("GET", "/cluster").document
        self.assertEqual((document["has_quorum"], document["stale"]), (False, True))
        self.assertEqual(self.cluster.told, [])


class AddTests(ClusterCase):
    """
    C{POST /cluster/nodes}.
    """

    def test_added(self) -> None:
        """
        The answer comes once it is in.
        """
        answer = self.management.post({"name": "c", "address": "10.0.0.3:8688"}, path=NODES)
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.document, {"name": "c", "address": "10.0.0.3:8688"})
        self.assertEqual(self.cluster.members, [A, B, Member("c", "10.0.0.3:8688")])

    def test_without_name(self) -> None:
        """
        Its name is its address then, in the one spelling that it has.
        """
        for given, spelt in (
            ("10.0.0.3:8688", "10.0.0.3:8688"),
            ("NODE.example.org:8688", "node.example.org:8688"),
            ("[2001:DB8:0::3]:8688", "[2001:db8::3]:8688"),
        ):
            answer = self.management.post({"address": given}, path=NODES)
            self.assertEqual(answer.document, {"name": spelt, "address": spelt})

    def test_addresses(self) -> None:
        """
        Every form of an address is accepted.
        """
        for address in ADDRESSES:
            answer = Management().post({"address": address}, path=NODES)
            self.assertEqual(answer.status, 201, (address, answer.body))

    def test_again(self) -> None:
        """
        Whoever did not hear the answer, may ask again.
        """
        for _ in range(2):
            answer = self.management.post({"name": "b", "address": B.address}, path=NODES)
            self.assertEqual(answer.status, 201)
        self.assertEqual(self.cluster.members, [A, B])

    def test_bad_documents(self) -> None:
        """
        An invalid document is refused before the cluster is asked.
        """
        good = {"name": "c", "address": "10.0.0.3:8688"}
        for document, field in (
            (b"", None),
            (b"{", None),
            ([], None),
            (None, None),
            (b'{"address": "10.0.0.3:8688", "address": "10.0.0.4:8688"}', "address"),
            ({}, "address"),
            ({"name": "c"}, "address"),
            ({**good, "role": "leader"}, "role"),
            ({**good, "joined": 1}, "joined"),
            *(({**good, "address": bad}, "address") for bad in (*BAD_ADDRESSES, *NO_STRINGS)),
            *(({**good, "name": bad}, "name") for bad in (*BAD_NAMES, *NO_STRINGS)),
            ({"address": "x" * 301}, "address"),
            ({"address": ".".join(["x" * 40] * 4) + ":80"}, "name"),
        ):
            answer = self.management.post(document, path=NODES)
            try:
                self.assertProblem(answer, 400, field)
            except self.failureException as error:
                self.fail(f"{document!r:.100}: {error}")
        self.assertEqual(self.cluster.told, [])

    def test_details(self) -> None:
        """
        The detail says what was found and what is allowed.
        """
        address = "allowed: host:port, such as 10.0.0.1:8688 or [2001:db8::1]:8688"
        for document, detail in (
            ({"address": "b"}, f"address is 'b' (there is no port); {address}"),
            (
                {"address": "0.0.0.0:1"},
                f"address is '0.0.0.0:1' (the unspecified address); {address}",
            ),
            (
                {"address": "b:1", "name": "b c"},
                "name is 'b c'; allowed: 1 to 128 ASCII letters, digits and -._:[]",
            ),
            ({"address": "b:1", "port": 1}, "port is not known; allowed: address, name"),
            (1, "the body is 1; allowed: a JSON object with address, name"),
        ):
            self.assertEqual(self.management.post(document, path=NODES).document["detail"], detail)

    def test_media_type(self) -> None:
        """
        JSON only.
        """
        for path in (NODES, LEADER):
            answer = self.management.call("POST", path, b"{}", {"Content-Type": "text/plain"})
            self.assertProblem(answer, 415)
        self.assertEqual(self.cluster.told, [])

    def test_taken(self) -> None:
        """
        A name, or an address, that another member has.
        """
        for name, address, field, taken in (
            ("b", "10.0.0.3:8688", "name", "'b' at '10.0.0.2:8688'"),
            ("c", "10.0.0.2:8688", "address", "'b' at '10.0.0.2:8688'"),
            ("a", "10.0.0.2:8688", "name", "'a' at '10.0.0.1:8688'"),
        ):
            answer = self.management.post({"name": name, "address": address}, path=NODES)
            detail = self.assertProblem(answer, 409, field)
            self.assertEqual(detail, f"{taken} is a member already")
            self.assertUnchanged()

    def test_alone(self) -> None:
        """
        A node that no other could reach takes none in.
        """
        self.cluster.members = [Member("a", "")]
        answer = self.management.post({"address": "10.0.0.3:8688"}, path=NODES)
        detail = self.assertProblem(answer, 409)
        self.assertEqual(
            detail, "this node has no cluster.listen, so no other node could connect to it"
        )
        self.assertUnchanged()

    def test_failures(self) -> None:
        """
        503 where it is not in, 504 where it may be.
        """
        for error, status in ((NO_LEADER, 503), (NOT_HEARD, 504)):
            self.cluster.failures["add"] = error
            answer = self.management.post({"address": "10.0.0.3:8688"}, path=NODES)
            detail = self.assertProblem(answer, status)
            self.assertIn("repeating the call is safe", detail)
            self.assertEqual(answer.headers.get("retry-after"), "1" if status == 503 else None)
            self.assertUnchanged()


class RemoveTests(ClusterCase):
    """
    C{DELETE /cluster/nodes/:name}.
    """

    def test_removed(self) -> None:
        """
        Once, and not twice.
        """
        answer = self.management.call("DELETE", f"{NODES}/b")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.cluster.members, [A])
        self.assertProblem(self.management.call("DELETE", f"{NODES}/b"), 404)

    def test_names(self) -> None:
        """
        They may be percent-encoded.
        """
        name = "[2001:db8::3]:8688"
        for path in (name, "%5B2001%3Adb8%3A%3A3%5D%3A8688"):
            self.cluster.members = [A, Member(name, name)]
            self.assertEqual(self.management.call("DELETE", f"{NODES}/{path}").status, 204)
            self.assertEqual(self.cluster.members, [A])

    def test_spellings(self) -> None:
        """
        A node without a name of its own has its address for one, in whatever spelling.
        """
        for name, spelled in (
            ("[2001:db8::3]:8688", "[2001:DB8:0::3]:8688"),
            ("10.0.0.3:8688", "[::ffff:10.0.0.3]:8688"),
            ("node-3.example:8688", "NODE-3.example:8688"),
            # A name that looks like another spelling is a name all the same.
            ("[2001:DB8::3]:8688", "[2001:DB8::3]:8688"),
        ):
            self.cluster.members = [A, Member(name, "10.0.0.3:8688")]
            answer = self.management.post({"name": spelled}, path=LEADER)
            self.assertEqual(answer.document, {"leader": "a", "wanted": name})
            self.assertEqual(self.management.call("DELETE", f"{NODES}/{spelled}").status, 204)
            self.assertEqual(self.cluster.members, [A])

    def test_itself(self) -> None:
        """
        A node may be asked to remove itself.
        """
        self.assertEqual(self.management.call("DELETE", f"{NODES}/a").status, 204)
        self.assertEqual(self.cluster.members, [B])

    def test_unknown(self) -> None:
        """
        A node that is no member is not found, also in a cluster of one.
        """
        for members in ([A, B], [A]):
            self.cluster.members = members
            for name in ("c", "B", "10.0.0.2:8688", "%20", "%00", "x" * 5_000, "%C3%A9"):
                self.assertProblem(self.management.call("DELETE", f"{NODES}/{name}"), 404)
        self.assertUnchanged()

    def test_last(self) -> None:
        """
        The last member stays.
        """
        self.cluster.members = [A]
        detail = self.assertProblem(self.management.call("DELETE", f"{NODES}/a"), 409)
        self.assertEqual(detail, "the last member cannot be removed")
        self.assertUnchanged()

    def test_failures(self) -> None:
        """
        503 where it is in yet, 504 where it may not be.
        """
        for error, status in ((NO_LEADER, 503), (NOT_HEARD, 504)):
            self.cluster.failures["remove"] = error
            self.assertProblem(self.management.call("DELETE", f"{NODES}/b"), status)
            self.assertUnchanged()

    def test_without_a_majority(self) -> None:
        """
        Where the other one of two is dead, nothing can be committed, and the call says what can be
        done.
        """
        self.cluster.failures["barrier"] = NO_LEADER
        path = f"{NODES}/b"
        plain = self.assertProblem(self.management.call("DELETE", path), 503)
        self.cluster.advice = "start this node once with --force-new-cluster"
        detail = self.assertProblem(self.management.call("DELETE", path), 503)
        self.assertEqual(detail, f"{plain}. {self.cluster.advice}")


class HandOverTests(ClusterCase):
    """
    C{POST /cluster/leader}.
    """

    def test_asked(self) -> None:
        """
        To a certain member, or to any.
        """
        for document, name in (({"name": "b"}, "b"), ({}, None)):
            answer = self.management.post(document, path=LEADER)
            self.assertEqual(answer.status, 202)
            self.assertEqual(answer.document, {"leader": "a", "wanted": name})
            self.assertEqual(self.cluster.told[-1], ("hand over", name))

    def test_bad_documents(self) -> None:
        """
        An invalid document is refused before the cluster is asked.
        """
        for document, field in (
            (b"", None),
            ([], None),
            ({"leader": "b"}, "leader"),
            *(({"name": bad}, "name") for bad in (*BAD_NAMES, *NO_STRINGS)),
        ):
            self.assertProblem(self.management.post(document, path=LEADER), 400, field)
        self.assertEqual(self.cluster.told, [])

    def test_unknown(self) -> None:
        """
        A node that is no member cannot lead.
        """
        detail = self.assertProblem(self.management.post({"name": "c"}, path=LEADER), 404)
        self.assertEqual(detail, "there is no member 'c'")
        self.assertUnchanged()

    def test_alone(self) -> None:
        """
        A cluster of one has nobody to hand over to.
        """
        self.cluster.members = [A]
        for document in ({}, {"name": "a"}):
            detail = self.assertProblem(self.management.post(document, path=LEADER), 409)
            self.assertEqual(detail, "there is no other member to hand over to")
        self.assertUnchanged()

    def test_refused(self) -> None:
        """
        503 where there is no leader to be asked.
        """
        self.cluster.failures["hand over"] = NO_LEADER
        self.assertProblem(self.management.post({}, path=LEADER), 503)
        self.assertUnchanged()


class SettledTests(ClusterCase):
    """
    Calls about members wait until the node is up to date.
    """

    def test_asked_first(self) -> None:
        """
        The members are looked at once the node is up to date, and not before.
        """

        async def barrier() -> None:
            self.cluster.members = [A, Member("c", "10.0.0.3:8688")]

        self.patch(self.cluster, "barrier", barrier)
        self.assertProblem(self.management.call("DELETE", f"{NODES}/b"), 404)
        self.assertEqual(self.management.call("DELETE", f"{NODES}/c").status, 204)

    def test_no_majority(self) -> None:
        """
        Else the answer is 503, not that there is none.
        """
        for error, why in (
            (NO_LEADER, "there is no leader"),
            (NOT_HEARD, "no majority has confirmed it in time"),
        ):
            self.cluster.failures["barrier"] = error
            for answer in (
                self.management.post({"address": "10.0.0.3:8688"}, path=NODES),
                self.management.post({"name": "c"}, path=LEADER),
                self.management.call("DELETE", f"{NODES}/c"),
                self.management.call("GET", "/servers?consistent=1"),
                self.management.call("GET", "/servers/10.0.0.8:80?consistent=1"),
            ):
                detail = self.assertProblem(answer, 503)
                self.assertEqual(detail, f"this node may not be up to date: {why}")
                self.assertEqual(answer.headers["retry-after"], "1")
            self.assertUnchanged()


class ReadTests(ClusterCase):
    """
    Reads, and how new they are.
    """

    def setUp(self) -> None:
        """
        There is a server.
        """
        super().setUp()
        self.paths = ("/servers", self.management.post({"port": 80}).headers["location"])

    def test_consistent(self) -> None:
        """
        Others are asked when that is wanted, and only then.
        """
        for path in self.paths:
            for query, told in (
                ("", []),
                ("?consistent=0", []),
                ("?other=1", []),
                ("?consistent=1", [("barrier", None)]),
                ("?a&consistent=1&=", [("barrier", None)]),
            ):
                self.assertEqual(self.management.call("GET", path + query).status, 200)
                self.assertEqual(self.cluster.told, told, query)
                self.cluster.told.clear()

    def test_bad(self) -> None:
        """
        A parameter that is not understood is refused, never read as a weaker one.
        """
        for path in self.paths:
            for query, found in (
                ("consistent", "empty"),
                ("consistent=", "empty"),
                ("consistent=2", "2"),
                ("consistent=true", "true"),
                ("consistent=%ff", "\\ufffd"),
                ("consistent=1&consistent=1", "there more than once"),
                ("consistent=0&consistent", "there more than once"),
            ):
                answer = self.management.call("GET", f"{path}?{query}")
                detail = self.assertProblem(answer, 400, "consistent")
                self.assertEqual(detail, f"consistent is {found}; allowed: 0 or 1")
        self.assertEqual(self.cluster.told, [])

    def test_headers(self) -> None:
        """
        The answer says how many commands it knows of, and whether it may be old.
        """
        for path in (*self.paths, "/servers/10.0.0.8:80"):
            for stale, said in ((False, "false"), (True, "true")):
                self.cluster.stale = stale
                answer = self.management.call("GET", path)
                self.assertEqual(answer.headers["x-alacrity-stale"], said)
                self.assertEqual(answer.headers["x-alacrity-index"], "1")

    def test_after_the_barrier(self) -> None:
        """
        The answer shows the state after the others had confirmed it.
        """

        async def barrier() -> None:
            self.cluster.stale = False

        self.cluster.stale = True
        self.patch(self.cluster, "barrier", barrier)
        answer = self.management.call("GET", "/servers?consistent=1")
        self.assertEqual(answer.headers["x-alacrity-stale"], "false")


class LeaderTests(ClusterCase):
    """
    C{GET /health/leader}.
    """

    def test_leads(self) -> None:
        """
        200 on the leader.
        """
        answer = self.management.call("GET", "/health/leader")
        self.assertEqual((answer.status, answer.document), (200, {"status": "leader"}))

    def test_does_not(self) -> None:
        """
        503 elsewhere.
        """
        self.cluster.is_leader = False
        answer = self.management.call("GET", "/health/leader")
        self.assertEqual(self.assertProblem(answer, 503), "this node is not the leader")
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual(self.management.call("HEAD", "/health/leader").status, 503)

    def test_unfit(self) -> None:
        """
        A leader that takes no requests is not to have them sent to it for leading.
        """
        self.management.serving = False
        self.assertProblem(self.management.call("GET", "/health/leader"), 503)


class TokenTests(ManagementCase):
    """
    The rights of callers with and without the token.
    """

    def setUp(self) -> None:
        """
        An API with a token.
        """
        super().setUp()
        self.management = Management(token=TOKEN)

    def test_required(self) -> None:
        """
        About the cluster, nothing is told or done without it.
        """
        body = json.dumps({"address": "10.0.0.3:8688"}).encode()
        headers = {"Content-Type": "application/json"}
        for method, path in (
            ("GET", "/cluster"),
            ("POST", NODES),
            ("DELETE", f"{NODES}/a"),
            ("POST", LEADER),
        ):
            self.assertProblem(self.management.call(method, path, body, headers), 401)
        self.assertEqual(self.management.cluster.told, [])
        answer = self.management.call("POST", NODES, body, headers, token=TOKEN)
        self.assertEqual(answer.status, 201)
        self.assertEqual(self.management.call("GET", "/cluster", token=TOKEN).status, 200)

    def test_not_required(self) -> None:
        """
        A load balancer learns which node leads without it.
        """
        self.assertEqual(self.management.call("GET", "/health/leader").status, 200)
