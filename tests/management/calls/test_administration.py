"""
L{alacrity.management.calls.administration}: changing and removing a server, and its lease.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.management.documents.removals import (
    CannotWait,
    NodeDrain,
    RegisteredAgain,
    Removal,
)
from alacrity.pool import Command, Outcome, Report, State
from alacrity.pool.commands import Administer, DrawStickyKey
from alacrity.pool.leases import Renewal
from alacrity.pool.model import AdminState
from tests.management.example import ID, SERVER, SHOWN
from tests.support.management_caller import (
    NOW,
    Management,
    ManagementCase,
    Response,
    request,
    response,
)
from tests.support.pools import apply_to, register

LEASED = {**SERVER, "lease": 30}
READY = {"state": "ready", "weight": None, "until": None, "reason": ""}


def decisions(name: str, *values: object) -> list[tuple[object, str | None]]:
    """
    Documents of C{PATCH} in which one member is bad.
    """
    return [({"admin": "drain", name: value}, name) for value in values]


class RegistrationTests(ManagementCase):
    """
    The members of C{POST /servers} of format 2.
    """

    def test_members(self) -> None:
        """They are shown as they were registered; each registration replaces all."""
        answer = self.management.post(
            {**LEASED, "priority": 2, "group": "blue-1", "max_requests": 7, "weight": 3}
        )
        self.assertEqual(answer.status, 201, answer.body)
        shown = {
            **SHOWN,
            "lease": 30.0,
            "priority": 2,
            "group": "blue-1",
            "max_requests": 7,
            "weight": 3,
            "effective_weight": 3,
        }
        self.assertEqual(answer.document, {**shown, "renew_after": 10.0})
        self.assertEqual(self.management.call("GET", f"/servers/{ID}").document, shown)
        answer = self.management.post(SERVER)
        self.assertEqual(answer.document, {**SHOWN, "version": 2})

    def test_edges(self) -> None:
        """The smallest and the largest values."""
        for name, values in (
            ("lease", (3, 3.5, 86400)),
            ("priority", (0, 100)),
            ("group", ("a", "-", "0", "x" * 63)),
            ("max_requests", (0, 1_000_000)),
        ):
            for value in values:
                answer = self.management.post({**SERVER, name: value})
                self.assertIn(answer.status, {200, 201}, answer.body)
                self.assertEqual(answer.document[name], value)

    def test_without_check(self) -> None:
        """A server without a check is up as long as its lease lasts."""
        answer = self.management.post({**LEASED, "check": {"type": "none"}})
        self.assertEqual((answer.status, answer.document["state"]), (201, "up"))
        self.assertEqual(answer.document["check"], {"type": "none"})

    def test_granted_lease(self) -> None:
        """The lease is shown as granted, if the leader tells."""
        self.management.renewals[ID] = Renewal(60.0, 20.0)
        document = self.management.post(LEASED).document
        self.assertEqual((document["lease"], document["renew_after"]), (60.0, 20.0))
        self.management.renewals[ID] = ProposalRefused("there is no leader")
        document = self.management.post(LEASED).document
        self.assertEqual((document["lease"], document["renew_after"]), (30.0, 10.0))

    def test_keeps_decisions(self) -> None:
        """A registration changes no decision."""
        self.management.post(SERVER)
        self.management.patch({"admin": "drain", "weight": 9, "reason": "r"})
        document = self.management.post({**SERVER, "weight": 4}).document
        decided = {"state": "drain", "weight": 9, "until": None, "reason": "r"}
        self.assertEqual(document["admin"], decided)
        self.assertEqual((document["weight"], document["effective_weight"]), (4, 9))

    def test_states(self) -> None:
        """A server that answers its checks with 410 is shown as stopping."""
        self.management.post(SERVER)
        for state in (State.UP, State.STOPPING):
            apply_to(self.management.view, Report(ID, 1, state, "because", time=NOW))
        document = self.management.call("GET", f"/servers/{ID}").document
        self.assertEqual(document["state"], "stopping")

    def test_no_sticky_key(self) -> None:
        """No document shows the key of sticky cookies."""
        self.management.post(SERVER)
        apply_to(self.management.view, DrawStickyKey(b"secret-secret-secret-secret-key!"))
        for path in ("/servers", f"/servers/{ID}", "/stats/detail", "/cluster"):
            self.assertNotIn(b"secret", self.management.call("GET", path).body)


class PatchTests(ManagementCase):
    """
    C{PATCH /servers/ID}.
    """

    def setUp(self) -> None:
        """A pool with a server."""
        super().setUp()
        self.management.post(SERVER)

    def test_decisions(self) -> None:
        """Each member changes its part, and the others stay."""
        for asked, shown in (
            (
                {"admin": "drain", "until": 60, "reason": "deploy"},
                {"state": "drain", "until": "2023-11-14T22:14:20.250Z", "reason": "deploy"},
            ),
            ({"weight": 0}, {"weight": 0}),
            ({"until": 3.5}, {"until": "2023-11-14T22:13:23.750Z"}),
            ({"until": None}, {"until": None}),
            ({"reason": "na\u00efve"}, {"reason": "na\u00efve"}),
            ({"weight": 256}, {"weight": 256}),
            ({"admin": "maintenance"}, {"state": "maintenance", "reason": ""}),
            ({"weight": None}, {"weight": None}),
            ({"admin": "ready", "until": None}, {"state": "ready"}),
        ):
            before = self.management.call("GET", f"/servers/{ID}").document
            answer = self.management.patch(asked)
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(answer.document["admin"], {**before["admin"], **shown})
            self.assertGreater(answer.document["version"], before["version"])
            self.assertEqual(answer.headers["etag"], f'"{answer.document["version"]}"')
            weight = answer.document["admin"]["weight"]
            self.assertEqual(answer.document["effective_weight"], 1 if weight is None else weight)
            again = self.management.call("GET", f"/servers/{ID}")
            self.assertEqual(again.document, answer.document)

    def test_bad(self) -> None:
        """A document that is not valid is refused, names the member, and changes nothing."""
        pool = self.management.view.pool
        cases: list[tuple[object, str | None]] = [
            (b"", None),
            (b"[]", None),
            (b"{}", None),
            (b'{"admin": "drain"', None),
            (b'{"weight": NaN}', None),
            (b'{"until": Infinity}', None),
            (b'{"until": 1e999}', "until"),
            (b'{"admin": "drain", "admin": "ready"}', "admin"),
            (b'{"reason": "\\ud800"}', "reason"),
            ({"state": "drain"}, "state"),
            ({"admin": "drain", "priority": 1}, "priority"),
            *decisions("admin", "", "READY", "up", None, 1, True, [], {}),
            *decisions("weight", -1, 257, 1.5, "1", True, [], 10**30),
            *decisions("until", 0, -1, 31622401, "60", True, [], 10**400),
            ({"admin": "ready", "until": 5}, "until"),
            ({"until": 5}, "until"),
            *decisions("reason", None, 1, "a\nb", "\x00", "\x7f", "\u202e", "\u2028", "x" * 201),
        ]
        for document, field in cases:
            answer = self.management.patch(document)
            try:
                self.assertProblem(answer, 400, field)
            except self.failureException as error:
                self.fail(f"{document!r:.100}: {error}")
            self.assertIs(self.management.view.pool, pool)

    def test_until_says_why(self) -> None:
        """A state that is ready does not end."""
        for document, why in (
            ({"admin": "ready", "until": 5}, "admin is ready, which does not end"),
            ({"until": 5}, "the server is ready, which does not end"),
        ):
            self.assertIn(why, self.assertProblem(self.management.patch(document), 400, "until"))

    def test_until_after_a_change_that_was_not_known(self) -> None:
        """The rule holds for the server that the command is applied to."""

        async def propose(command: Command) -> Outcome:
            if isinstance(command, Administer) and command.until is not None and not changed:
                changed.append(True)
                apply_to(self.management.view, Administer(ID, NOW, AdminState.READY))
            return await self.management.propose(command)

        changed: list[bool] = []
        racing = Management(propose)
        racing.view = self.management.view
        racing.api._handlers[1]._view = self.management.view
        self.management.patch({"admin": "drain"})
        self.assertProblem(racing.patch({"until": 5}), 400, "until")
        self.management.patch({"admin": "drain"})
        self.assertEqual(racing.patch({"until": 5}).status, 200)

    def test_media_types(self) -> None:
        """JSON, and the media type of merge patches; else those are named."""
        for media_type in ("application/json", "Application/Merge-Patch+JSON; charset=utf-8"):
            answer = self.management.patch({"weight": 1}, headers={"Content-Type": media_type})
            self.assertEqual(answer.status, 200, answer.body)
        for media_type in ("application/json-patch+json", "text/plain", ""):
            answer = self.management.patch({"weight": 1}, headers={"Content-Type": media_type})
            detail = self.assertProblem(answer, 415)
            self.assertIn("application/json or application/merge-patch+json", detail)
            self.assertEqual(
                answer.headers["accept-patch"], "application/json, application/merge-patch+json"
            )
        answer = self.management.call(
            "POST", "/servers", b"{}", {"Content-Type": "application/merge-patch+json"}
        )
        self.assertProblem(answer, 415)

    def test_unknown(self) -> None:
        """404, whatever is asked."""
        for document in ({"weight": 1}, {"until": 5}):
            self.assertProblem(self.management.patch(document, id="10.0.0.8:80"), 404)

    @settings(deadline=None, max_examples=50)
    @given(
        st.dictionaries(
            st.sampled_from(["admin", "weight", "until", "reason", "x"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.sampled_from(["ready", "drain", "maintenance"]),
        )
    )
    def test_any_document(self, document: object) -> None:
        """Whatever is sent is carried out or refused with a problem document."""
        management = Management()
        management.post(SERVER)
        answer = management.patch(document)
        if answer.status != 200:
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
            self.assertEqual(management.view.pool.index, 1)


class IfMatchTests(ManagementCase):
    """
    C{If-Match}.
    """

    def setUp(self) -> None:
        """A server of version 2."""
        super().setUp()
        self.management.post(SERVER)
        self.management.patch({"weight": 2})

    def test_matches(self) -> None:
        """A call is carried out if a strong tag names the version, or any will do."""
        for value in ('"2"', "*", '"1", "2"', 'W/"1" , "2"', '"x","2",', ' "2"'):
            self.setUp()
            answer = self.management.patch({"weight": 3}, headers={"If-Match": value})
            self.assertEqual((answer.status, answer.headers["etag"]), (200, '"3"'), value)
            self.setUp()
            answer = self.management.call("DELETE", f"/servers/{ID}", headers={"If-Match": value})
            self.assertEqual(answer.status, 204, value)

    def test_does_not_match(self) -> None:
        """Else it is refused with the present version, and nothing is changed."""
        servers = self.management.view.pool.servers
        for value in (
            '"1"', '"3"', 'W/"2"', '"02"', '"+2"', '""', '"' + "9" * 300 + '"', '"1", "3"',
        ):  # fmt: skip
            for method, body in (("PATCH", b'{"weight": 3}'), ("DELETE", b""), ("GET", b"")):
                headers = {"If-Match": value, "Content-Type": "application/json"}
                answer = self.management.call(method, f"/servers/{ID}", body, headers)
                self.assertProblem(answer, 412)
                self.assertEqual(answer.document["version"], 2)
                self.assertEqual(answer.headers["etag"], '"2"')
            self.assertEqual(self.management.view.pool.servers, servers)

    def test_malformed(self) -> None:
        """A field that is no list of tags is refused."""
        for value in (
            "2",
            '"2',
            '"2", *',
            "*, *",
            '"2 "',
            "",
            ",",
            'w/"2"',
            '"2" "3"',
            "'2'",
            '"a\x01"',
        ):
            answer = self.management.patch({"weight": 3}, headers={"If-Match": value})
            self.assertIn("If-Match", self.assertProblem(answer, 400))

    def test_unknown_server(self) -> None:
        """There is nothing to match: 404 comes first."""
        for value in ("*", '"2"'):
            for method in ("PATCH", "DELETE", "GET"):
                answer = self.management.call(
                    method,
                    "/servers/10.0.0.8:80",
                    b'{"weight": 1}' if method == "PATCH" else b"",
                    {"If-Match": value, "Content-Type": "application/json"},
                )
                self.assertProblem(answer, 404)

    def test_not_ignored(self) -> None:
        """A call that does not look at it refuses it; so do changes with C{If-None-Match}."""
        index = self.management.view.pool.index
        for method, path in (
            ("POST", "/servers"),
            ("GET", "/servers"),
            ("PUT", f"/servers/{ID}/lease"),
            ("GET", "/stats"),
            ("POST", "/cluster/leader"),
        ):
            answer = self.management.call(method, path, headers={"If-Match": "*"})
            self.assertIn("If-Match", self.assertProblem(answer, 400))
        for method, path in (("POST", "/servers"), ("PATCH", f"/servers/{ID}")):
            answer = self.management.call(method, path, headers={"If-None-Match": "*"})
            self.assertIn("If-None-Match", self.assertProblem(answer, 400))
        self.assertEqual(self.management.view.pool.index, index)

    def test_version_that_is_not_known_here(self) -> None:
        """A node that does not know the newest version does not refuse it."""
        behind = Management(self.management.propose)
        answer = behind.patch({"weight": 5}, headers={"If-Match": '"1", "2"'})
        self.assertEqual((answer.status, answer.headers["etag"]), (200, '"3"'))
        # The older of two, too.
        answer = behind.patch({"weight": 6}, headers={"If-Match": '"3", "77"'})
        self.assertEqual((answer.status, answer.headers["etag"]), (200, '"5"'))

    def test_etag_of_answers(self) -> None:
        """C{GET} and C{POST} tell the version, too."""
        self.assertEqual(self.management.call("GET", f"/servers/{ID}").headers["etag"], '"2"')
        self.assertEqual(self.management.post(SERVER).headers["etag"], '"3"')


class RemovalTests(ManagementCase):
    """
    C{DELETE /servers/ID?wait=}.
    """

    def setUp(self) -> None:
        """A pool with a server."""
        super().setUp()
        self.management.post(SERVER)
        self.drains = self.management.drains

    def delete(self, query: str = "?wait=30", headers: dict[str, str] | None = None) -> Response:
        """Remove the server."""
        return self.management.call("DELETE", f"/servers/{ID}{query}", headers=headers)

    def test_drained(self) -> None:
        """The answer comes when nothing is in flight."""
        answer = self.delete()
        self.assertEqual((answer.status, answer.document), (200, {"drained": True, "in_flight": 0}))
        self.assertEqual(self.drains.waits, [(ID, Removal(2), 30.0)])
        self.assertNotIn(ID, self.management.view.pool.servers)

    def test_not_drained(self) -> None:
        """Else the nodes are told, with their counts."""
        self.drains.nodes = [NodeDrain("a", 0, True), NodeDrain("b", 3, True), NodeDrain("c")]
        self.assertEqual(
            self.delete().document,
            {
                "drained": False,
                "in_flight": 3,
                "nodes": [
                    {"name": "a", "in_flight": 0, "applied": True, "reachable": True},
                    {"name": "b", "in_flight": 3, "applied": True, "reachable": True},
                    {"name": "c", "in_flight": None, "applied": False, "reachable": False},
                ],
            },
        )

    def test_repeated(self) -> None:
        """A repeated call goes on waiting, if a node remembers; one that does not wait is 404."""
        self.delete()
        self.assertProblem(self.delete(), 404)
        self.drains.removals[ID] = Removal(2, 1)
        self.assertEqual(self.delete("?wait=5").status, 200)
        self.assertEqual(self.drains.waits[-1], (ID, Removal(2, 1), 5.0))
        self.assertProblem(self.delete(""), 404)
        self.assertEqual(self.delete(headers={"If-Match": '"1"'}).status, 200)
        self.assertEqual(self.delete(headers={"If-Match": "*"}).status, 200)
        self.assertProblem(self.delete(headers={"If-Match": '"2"'}), 404)

    def test_cannot_wait(self) -> None:
        """A registration ends the wait, and there is a limit of callers."""
        for failure, status, said in (
            (RegisteredAgain(), 409, "registered again"),
            (CannotWait("9 others wait already"), 503, "the server is removed, but"),
        ):
            self.management.post(SERVER)
            self.drains.failure = failure
            self.assertIn(said, self.assertProblem(self.delete(), status))

    def test_bad_wait(self) -> None:
        """The time is a number as in JSON, above 0 and bounded; else nothing is removed."""
        for value in (
            "", "0", "-1", "3601", "1e9", "abc", "1s", "+5", " 5", "05", "0x5", "NaN", "Infinity",
            "1_0", "5.", ".5", "1e999", "\u0665", "5,5", "9" * 400, "null", "true",
        ):  # fmt: skip
            self.assertProblem(self.delete(f"?wait={quote(value)}"), 400, "wait")
        self.assertProblem(self.delete("?wait=1&wait=1"), 400, "wait")
        self.assertIn(ID, self.management.view.pool.servers)
        for value in ("1", "0.5", "3600", "1e1", "1.25E2"):
            self.management.post(SERVER)
            self.assertEqual(self.delete(f"?wait={value}").status, 200)
            self.assertEqual(self.drains.waits[-1][2], float(value))

    def test_caller_goes_away(self) -> None:
        """The wait is cancelled."""
        cancelled: list[object] = []
        self.drains.never = Deferred(cancelled.append)
        connection = self.management.connect()
        connection.send(request("DELETE", f"/servers/{ID}?wait=30"))
        self.assertEqual(connection.received(), b"")
        with capturedLogs() as logged:
            connection.lose()
        self.assertEqual((len(cancelled), logged), (1, []))

    def test_answer_waits(self) -> None:
        """The answer comes after the wait."""
        self.drains.never = Deferred()
        connection = self.management.connect()
        connection.send(request("DELETE", f"/servers/{ID}?wait=30"))
        self.drains.never.callback(None)
        self.assertEqual(response(connection.received()).status, 200)


class LeaseTests(ManagementCase):
    """
    C{PUT /servers/ID/lease}.
    """

    def renew(self, id: str = ID, body: bytes = b"") -> Response:
        """Renew."""
        return self.management.call("PUT", f"/servers/{id}/lease", body)

    def test_renewed(self) -> None:
        """The answer tells the granted lease, and when to renew it."""
        self.management.post(LEASED)
        self.assertEqual(self.renew().document, {"lease": 30.0, "renew_after": 10.0})

    def test_refused(self) -> None:
        """No server, no lease, no leader, a body."""
        self.assertIn("register it again", self.assertProblem(self.renew(), 404))
        self.management.post(SERVER)
        self.assertIn("has no lease", self.assertProblem(self.renew(), 409))
        self.management.renewals[ID] = ProposalRefused("there is no leader")
        answer = self.renew()
        self.assertProblem(answer, 503)
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertProblem(self.renew(body=b'{"lease": 9}'), 400)


class FormatTests(ManagementCase):
    """
    A cluster whose format is 1.
    """

    def setUp(self) -> None:
        """A node holds the format up."""
        super().setUp()
        self.management.post(SERVER)
        self.cluster = self.management.cluster
        self.cluster.format, self.cluster.behind = 1, ("b", "c", "d", "e")

    def test_named(self) -> None:
        """New calls and members name the nodes; nothing is changed."""
        pool = self.management.view.pool
        for answer in (
            *(
                self.management.post({**SERVER, name: value})
                for name, value in (
                    ("lease", 5),
                    ("priority", 1),
                    ("group", "a"),
                    ("max_requests", 0),
                )
            ),
            self.management.post({**LEASED, "check": {"type": "none"}}),
            self.management.patch({"weight": 1}),
            self.management.call("DELETE", f"/servers/{ID}?wait=1"),
            self.management.call("DELETE", f"/servers/{ID}", headers={"If-Match": '"1"'}),
            self.management.call("PUT", f"/servers/{ID}/lease"),
        ):
            detail = self.assertProblem(answer, 409)
            self.assertIn("not heard yet: b, c, d and 1 more", detail)
            self.assertEqual(answer.document["nodes"], list(self.cluster.behind))
        self.assertIs(self.management.view.pool, pool)

    def test_about_to_be_raised(self) -> None:
        """If none does, a repeat will do."""
        self.cluster.behind = ()
        answer = self.management.patch({"weight": 1})
        self.assertProblem(answer, 503)
        self.assertEqual(answer.headers["retry-after"], "1")

    def test_old_calls(self) -> None:
        """All of format 1 works."""
        document = {**SERVER, "weight": 2, "priority": 0, "check": {"type": "http"}}
        self.assertEqual(self.management.post(document).status, 200)
        answer = self.management.call("GET", f"/servers/{ID}", headers={"If-Match": '"2"'})
        self.assertEqual(answer.status, 200)
        answer = self.management.call("DELETE", f"/servers/{ID}", headers={"If-Match": "*"})
        self.assertEqual(answer.status, 204)


class IdTests(ManagementCase):
    """
    The ids of servers with IPv6 addresses.
    """

    def test_brackets(self) -> None:
        """They are understood in brackets, too, encoded or not."""
        for path in ("::1:80", "[::1]:80", "%5B0:0::1%5D:80", "[0:0:0:0:0:0:0:1]:80"):
            self.management.post({"ip": "::1", "port": 80, "lease": 5})
            for method, more, body, status in (
                ("GET", "", b"", 200),
                ("PATCH", "", b'{"weight": 1}', 200),
                ("PUT", "/lease", b"", 200),
                ("DELETE", "?wait=1", b"", 200),
            ):
                answer = self.management.call(
                    method, f"/servers/{path}{more}", body, {"Content-Type": "application/json"}
                )
                self.assertEqual(answer.status, status, (path, method, answer.body))
        for path in ("[::1]", "[::1]:", "[::1]:080", "[x]:80", "[10.0.0.7]:8080", "[::1%251]:80"):
            self.assertProblem(self.management.call("GET", f"/servers/{path}"), 404)


class FaultTests(ManagementCase):
    """
    Changes whose outcome is not known, or that are refused.
    """

    def test_statuses(self) -> None:
        """503 and 504, as for other changes."""
        for error, status in ((ProposalRefused("no leader"), 503), (OutcomeUnknown("late"), 504)):

            async def propose(_command: Command, error: Exception = error) -> Outcome:
                raise error

            management = Management(propose)
            for answer in (
                management.patch({"weight": 1}),
                management.call("DELETE", f"/servers/{ID}?wait=1"),
            ):
                self.assertProblem(answer, status)

    def test_changes_too_often(self) -> None:
        """A server that changes all the time cannot be changed under a rule."""

        async def propose(command: Command) -> Outcome:
            weight = self.management.view.pool.index % 100
            apply_to(self.management.view, Administer(ID, NOW, AdminState.DRAIN, weight))
            return apply_to(self.management.view, command)

        management = Management(propose)
        apply_to(self.management.view, register())
        answer = management.patch({"until": 5})
        self.assertIn("too often", self.assertProblem(answer, 503))


class DocumentTests(ManagementCase):
    """
    The list of servers.
    """

    def test_all_have_their_decisions(self) -> None:
        """Each has them, as in its own document."""
        self.management.post(SERVER)
        self.management.patch({"admin": "maintenance", "reason": "disk"})
        [document] = json.loads(self.management.call("GET", "/servers").body)
        self.assertEqual(document, self.management.call("GET", f"/servers/{ID}").document)
        self.assertEqual(document["admin"], {**READY, "state": "maintenance", "reason": "disk"})
