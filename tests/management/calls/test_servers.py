"""
L{alacrity.management.calls.servers}: registering, removing and showing servers.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from alacrity.management import LastCheck
from alacrity.pool import HttpCheck, Report, State, TcpCheck
from tests.management.example import ID, SERVER, SHOWN
from tests.support.management_caller import (
    NOW,
    Management,
    ManagementCase,
    Result,
)
from tests.support.pools import apply_to

FULL_CHECK = {
    "type": "http",
    "path": "/health?deep=1",
    "status": [200, 204],
    "host": "example.org:8080",
    "interval": 2.5,
    "timeout": 1,
    "rise": 3,
    "fall": 4,
    "port": "9000",
}


class RegisterTests(ManagementCase):
    """
    C{POST /servers}.
    """

    def test_new(self) -> None:
        """
        A new server is created, and found where C{Location} says.
        """
        answer = self.management.post(SERVER)
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.document, SHOWN)
        self.assertTrue(answer.body.endswith(b"\n"))
        self.assertEqual(answer.headers["location"], f"/servers/{ID}")
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertNotIn("server", answer.headers)
        again = self.management.call("GET", answer.headers["location"])
        self.assertEqual((again.status, again.document), (200, SHOWN))

    def test_again(self) -> None:
        """
        The same address again: the same id, check and weight as they are now.
        """
        self.management.post(SERVER)
        answer = self.management.post({**SERVER, "weight": 5, "check": FULL_CHECK})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["location"], f"/servers/{ID}")
        self.assertEqual((answer.document["weight"], answer.document["check"]), (5, FULL_CHECK))
        answer = self.management.post(SERVER)
        self.assertEqual(answer.document, {**SHOWN, "version": 3})
        self.assertEqual(len(self.management.view.pool.servers), 1)

    def test_port_as_number(self) -> None:
        """
        A port may be a number; it is answered as a string.
        """
        for port in (8080, 8080.0, 8.08e3):
            answer = Management().post({**SERVER, "port": port})
            self.assertEqual((answer.status, answer.document), (201, SHOWN))

    def test_checks(self) -> None:
        """
        Checks as they are meant.
        """
        for document, check in (
            ({"type": "tcp"}, TcpCheck()),
            ({"type": "tcp", "interval": 1, "port": 9}, TcpCheck(interval=1.0, port=9)),
            ({"type": "http"}, HttpCheck()),
            (
                FULL_CHECK,
                HttpCheck(
                    path="/health?deep=1",
                    status=(200, 204),
                    host="example.org:8080",
                    interval=2.5,
                    timeout=1.0,
                    rise=3,
                    fall=4,
                    port=9000,
                ),
            ),
            ({"type": "http", "host": "[2001:db8::1]:80"}, HttpCheck(host="[2001:db8::1]:80")),
        ):
            answer = self.management.post({**SERVER, "check": document})
            self.assertIn(answer.status, {200, 201}, answer.body)
            self.assertEqual(self.management.view.pool.servers[ID].check, check)
            # What is shown can be sent back.
            again = self.management.post({**SERVER, "check": answer.document["check"]})
            self.assertEqual(again.document["check"], answer.document["check"])

    def test_addresses(self) -> None:
        """
        Addresses are kept in their canonical form.
        """
        for given_, kept in (
            ("127.0.0.1", "127.0.0.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("::1", "::1"),
        ):
            answer = self.management.post({"ip": given_, "port": 80})
            self.assertEqual(answer.status, 201, answer.body)
            self.assertEqual(answer.document["ip"], kept)
            self.assertEqual(answer.document["id"], f"{kept}:80")

    def test_without_ip(self) -> None:
        """
        Then it is the caller's.
        """
        for peer, ip in (
            (IPv4Address("TCP", "10.9.8.7", 1), "10.9.8.7"),
            (IPv6Address("TCP", "2001:db8::7", 1), "2001:db8::7"),
            (IPv6Address("TCP", "::ffff:10.9.8.6", 1), "10.9.8.6"),
        ):
            answer = self.management.post({"port": 80}, peer)
            self.assertEqual((answer.status, answer.document["ip"]), (201, ip))

    def test_without_ip_and_without_address(self) -> None:
        """
        A caller over a Unix socket must give an address; so must one whose own means
        something on its own link only.
        """
        for peer in (UNIXAddress(None), IPv6Address("TCP", "fe80::1%eth0", 1)):
            detail = self.assertProblem(self.management.post({"port": 80}, peer), 400, "ip")
            self.assertIn("ip is missing", detail)
        self.assertEqual(self.management.view.pool.servers, {})

    def test_media_types(self) -> None:
        """
        JSON only, in UTF-8.
        """
        body = json.dumps(SERVER).encode()
        for value in (
            "application/json",
            "application/json; charset=utf-8",
            'Application/JSON;charset="UTF-8"',
        ):
            answer = self.management.call("POST", "/servers", body, {"Content-Type": value})
            self.assertIn(answer.status, {200, 201}, value)
        pool = self.management.view.pool
        for value in (
            "application/x-www-form-urlencoded",
            "text/json",
            "application/json; charset=latin-1",
            "multipart/form-data; boundary=x",
            "",
            "\xff",
        ):
            answer = self.management.call("POST", "/servers", body, {"Content-Type": value})
            self.assertProblem(answer, 415)
        self.assertIs(self.management.view.pool, pool)

    def test_media_type_of_curl(self) -> None:
        """
        A caller that uses C{curl -d} is told what to add.
        """
        for headers in ({"Content-Type": "application/x-www-form-urlencoded"}, {}):
            answer = self.management.call("POST", "/servers", b"{}", headers)
            detail = self.assertProblem(answer, 415)
            self.assertIn("-H 'Content-Type: application/json'", detail)

    def test_content_encoding(self) -> None:
        """
        Nothing is unpacked.
        """
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        self.assertProblem(self.management.call("POST", "/servers", b"x", headers), 415)


BadRegistration: TypeAlias = tuple[object, str | None]
"""
A body, as L{Management.post} takes it, and the field at fault.
"""


def members(name: str, *values: object) -> list[BadRegistration]:
    """
    Registrations in which one member is bad.
    """
    return [({**SERVER, name: value}, name) for value in values]


def check_members(name: str, *values: object) -> list[BadRegistration]:
    """
    Registrations in which one member of the check is bad.
    """
    return [
        ({**SERVER, "check": {"type": "http", name: value}}, f"check.{name}") for value in values
    ]


UNSPECIFIED = "0.0.0.0"


BAD_REGISTRATIONS: list[BadRegistration] = [
    # Not a JSON document, or not a strict one.
    (b"", None),
    (b"port=8080", None),
    (b'{"port": 8080', None),
    (b'{"port": 8080} {}', None),
    (b"{'port': 8080}", None),
    (b'\xef\xbb\xbf{"port": 8080}', None),
    (b'{"port": 8080, "ip": "\xff"}', None),
    (json.dumps(SERVER).encode("utf-16"), None),
    (b'{"port": 8080, "weight": NaN}', None),
    (b'{"port": 8080, "weight": -Infinity}', None),
    (b"[" * 60_000, None),
    (b'{"port":' * 7_000, None),
    (b'{"port": ' + b"1" * 5_000 + b"}", None),
    (b'{"port": 8080, "port": 8081}', "port"),
    (b'{"port": 8080, "check": {"type": "tcp", "rise": 1, "rise": 2}}', "rise"),
    (b'{"port": 8080, "\\ud800": 1}', None),
    (b'{"port": 8080, "check": {"type": "\\ud800"}}', None),
    # Not an object.
    (None, None),
    (8080, None),
    ("8080", None),
    ([SERVER], None),
    # Unknown and missing members.
    ({}, "port"),
    ({"ip": "10.0.0.7"}, "port"),
    ({**SERVER, "id": ID}, "id"),
    ({**SERVER, "": 1}, ""),
    ({**SERVER, "a`b - at `$.c": 1}, "a`b - at `$.c"),
    ({**SERVER, "x" * 10_000: 1}, "x" * 40 + "..."),
    ({**SERVER, "check": {}}, "check.type"),
    ({**SERVER, "check": {"type": "tcp", "path": "/"}}, "check.path"),
    ({**SERVER, "check": {"type": "http", "uri": "/"}}, "check.uri"),
    *members("port",
        0, -1, 65536, 10**30, 80.5, -80.0, 1e300, True, None, [], {},
        "", "0", "65536", "http", "+80", "-80", " 80", "80 ", "80\n", "080", "8_0", "0x50", "8.0",
        "\u0668\u0660", "\ud800", "8" * 10_000,
    ),
    *members("ip",
        "300.1.1.1", "10.0.0", "10.0.0.7.1", "010.0.0.7", "0x0a.0.0.7", "167772167", 167772167,
        "server.example.org", "localhost", "", " 10.0.0.7", "10.0.0.7\n", "10.0.0.7:80",
        "10.0.0.0/8", "224.0.0.1", "ff02::1", UNSPECIFIED, "::", "255.255.255.255",
        "fe80::1%eth0", "[::1]", "1::2::3", "\u0661.0.0.1", "\ud800",
        None, [], True,
    ),
    *members("weight", 0, -1, 257, 10**30, 1.5, "1", None, True, []),
    *members("lease", 2, 2.999, 86401, 0, -5, 10**400, 1e300, "30", None, True, [], {}),
    *members("priority", -1, 101, 1.5, "1", None, True, 10**30),
    *members("group", "", "A", "a b", "a_b", "a\n", "\u00e9", "x" * 64, 1, None, True, [], "\ud800"),
    *members("max_requests", -1, 1.5, "1", None, True, 10**30, []),
    ({**SERVER, "check": {"type": "none"}}, "lease"),
    ({**SERVER, "lease": 30, "check": {"type": "none", "interval": 5}}, "check.interval"),
    (b'{"port": 8080, "lease": NaN}', None),
    (b'{"port": 8080, "lease": 1e999}', "lease"),
    (b'{"port": 8080, "lease": 5, "lease": 5}', "lease"),
    *members("renew_after", 5), *members("version", 1), *members("admin", "drain"),
    *members("check", None, "tcp", [], 1, True),
    *check_members("type", "icmp", "TCP", "", 1, None, [], "x" * 10_000),
    *check_members("interval", 0, 1e-300, 0.0999, -1, 86401, 10**400, "5", None, True, []),
    *check_members("timeout", 0, 1e-300, 0.0009, -1, 86401, 10**400, "5", None, True, []),
    (b'{"port": 1, "check": {"type": "tcp", "interval": 1e999}}', "check.interval"),
    *check_members("rise", 0, -1, 101, 1.5, "2", None, True),
    *check_members("fall", 0, -1, 101, 1.5, "2", None, True),
    *check_members("port", 0, 65536, "http", None, ""),
    *check_members("path",
        "", "health", "http://a/", "/a b", "/a#b", "/\r\nX: y", "/\x00", "/\x7f", "/\xe9", "/a\n",
        "*", 1, None, "/" * 5_000, "/\ud800",
    ),
    *check_members("status", [], [200], [200, 299, 300], [299, 200], 200, "200", None),
    ({**SERVER, "check": {"type": "http", "status": [99, 200]}}, "check.status[0]"),
    ({**SERVER, "check": {"type": "http", "status": [200, 600]}}, "check.status[1]"),
    ({**SERVER, "check": {"type": "http", "status": ["200", 299]}}, "check.status[0]"),
    *check_members("host",
        "", ":80", "a b", "a,b", "u@h", "h/p", "a\r\nX: y", "h\xe9", "x" * 300, 1, None, "\ud800",
    ),
]  # fmt: skip


class OwnAddressTests(ManagementCase):
    """
    The node's own addresses, to which it would send what it got.
    """

    def test_refused(self) -> None:
        """
        They are, given or the caller's; the field is named, and the pool is as it was.
        """
        self.management.own = {("10.1.2.3", 8080): "proxy", ("2001:db8::1", 80): "management API"}
        for document, detail in (
            ({"port": 8080}, "port is 8080: at '10.1.2.3' that is this node's own proxy, "),
            ({"port": "8080", "ip": "10.1.2.3"}, "port is 8080: at '10.1.2.3'"),
            ({"port": 80, "ip": "2001:DB8:0::1"}, "that is this node's own management API"),
        ):
            answer = self.management.post(document)
            self.assertIn(detail, self.assertProblem(answer, 409, "port"))
        self.assertEqual(self.management.view.pool.index, 0)
        for allowed in (
            {"port": 8081},
            {"port": 8080, "ip": "10.1.2.4"},
            {"port": 9, "ip": "10.1.2.4", "check": {"type": "tcp", "port": 8080}},
        ):
            self.assertEqual(self.management.post(allowed).status, 201)


class BadRegistrationTests(ManagementCase):
    """
    Bad documents to C{POST /servers}.
    """

    def setUp(self) -> None:
        """
        A pool with a server, and room for another.
        """
        super().setUp()
        self.management.post({**SERVER, "weight": 7})
        self.pool = self.management.view.pool

    def test_bad_registrations(self) -> None:
        """
        Each is refused, the field at fault is named, and the pool is as it was.
        """
        for document, field in BAD_REGISTRATIONS:
            answer = self.management.post(document)
            try:
                self.assertProblem(answer, 400, field)
            except self.failureException as error:
                self.fail(f"{document!r:.100}: {error}")
            self.assertIs(self.management.view.pool, self.pool)
        self.assertEqual(self.management.post(SERVER).status, 200)

    def test_timeout_beside_the_default_interval(self) -> None:
        """
        Either may be left to the node. A timeout is no longer than the node's interval then.
        """
        for timeout in (5.001, 60, 86400):
            for type in ("tcp", "http"):
                answer = self.management.post(
                    {**SERVER, "check": {"type": type, "timeout": timeout}}
                )
                self.assertProblem(answer, 400, "check.timeout")
                self.assertIn(
                    f"check.timeout is {float(timeout)} (above health.interval of this node, 5.0, "
                    "as check.interval is not given); allowed: seconds, from 0.001 to 86400, at "
                    "most check.interval, or if that is missing, the node's health.interval",
                    answer.document["detail"],
                )
        for check in (
            {"timeout": 5},
            {"interval": 60, "timeout": 60},
            {"interval": 0.1},
            {"interval": 3, "timeout": 3},
            {"interval": 0.1, "timeout": 0.001},
        ):
            answer = self.management.post({**SERVER, "check": {"type": "tcp", **check}})
            self.assertEqual(answer.status, 200, answer.body)

    def test_details(self) -> None:
        """
        The detail says what was found and what is allowed.
        """
        for document, detail in (
            ({**SERVER, "port": 0}, "port is 0; allowed: 1 to 65535, as a number or a string"),
            (
                {**SERVER, "check": {"type": "tcp", "interval": -1}},
                "check.interval is -1; allowed: seconds, from 0.1 to 86400",
            ),
            ({}, "port is missing; allowed: 1 to 65535, as a number or a string"),
            (
                {**SERVER, "id": 1},
                (
                    "id is not known; allowed: ip, port, check, weight, "
                    "lease, priority, group, max_requests"
                ),
            ),
            (
                {**SERVER, "check": {"type": "http", "status": [200, 600]}},
                (
                    "check.status[1] is 600; allowed: two numbers, the lowest and the highest "
                    "status that pass, from 100 to 599"
                ),
            ),
            (
                {**SERVER, "check": {"type": "tcp", "interval": 1, "timeout": 1.5}},
                (
                    "check.timeout is 1.5 (above check.interval, 1.0); allowed: seconds, from "
                    "0.001 to 86400, at most check.interval, or if that is missing, the node's "
                    "health.interval"
                ),
            ),
            (
                {**SERVER, "ip": "web1"},
                (
                    "ip is 'web1' (a host name, or no address at all); allowed: an IPv4 or IPv6 "
                    "address; if it is missing, the caller's"
                ),
            ),
            (
                {**SERVER, "ip": "224.0.0.1"},
                (
                    "ip is '224.0.0.1' (a multicast address); allowed: an IPv4 or IPv6 address; "
                    "if it is missing, the caller's"
                ),
            ),
            (
                [],
                (
                    "the body is []; allowed: a JSON object with ip, port, check, weight, "
                    "lease, priority, group, max_requests"
                ),
            ),
        ):
            self.assertEqual(self.management.post(document).document["detail"], detail)

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
        | st.fixed_dictionaries(
            {},
            optional={
                name: st.none()
                | st.integers()
                | st.floats()
                | st.text()
                | st.ip_addresses().map(str)
                for name in ("ip", "port", "weight")
            }
            | {
                "check": st.fixed_dictionaries(
                    {"type": st.sampled_from(["tcp", "http", "?"])},
                    optional={
                        name: st.integers() | st.floats() | st.text() | st.lists(st.integers())
                        for name in FULL_CHECK
                        if name != "type"
                    },
                )
            },
        )
    )
    def test_any_document(self, document: object) -> None:
        """
        Whatever is sent is registered or refused with a problem document.
        """
        management = Management()
        answer = management.post(document)
        if answer.status == 201:
            self.assertEqual(len(management.view.pool.servers), 1)
            shown = management.call("GET", answer.headers["location"])
            self.assertEqual(shown.document, answer.document)
        else:
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
            self.assertTrue(answer.document["detail"])
            self.assertEqual(management.view.pool.index, 0)

    @settings(deadline=None)
    @given(st.binary())
    def test_any_bytes(self, body: bytes) -> None:
        """
        Bytes that are no JSON are refused, too. (Some of those tried are the constants that
        stand in the code, and one of these may be a good document.)
        """
        assume(not _is_json(body))
        answer = Management().post(body)
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


class ServersTests(ManagementCase):
    """
    The other calls on servers.
    """

    def test_none(self) -> None:
        """
        Without servers, the list is empty.
        """
        answer = self.management.call("GET", "/servers")
        self.assertEqual((answer.status, answer.body), (200, b"[]\n"))

    def test_list(self) -> None:
        """
        All servers, in the order in which they came.
        """
        self.management.post(SERVER)
        self.management.post({**SERVER, "port": 1})
        documents = self.management.call("GET", "/servers").document
        self.assertEqual([document["id"] for document in documents], [ID, "10.0.0.7:1"])
        self.assertEqual(documents[0], SHOWN)

    def test_state_and_last_check(self) -> None:
        """
        The state with its reason, and the latest check.
        """
        self.management.post(SERVER)
        result: LastCheck = Result(
            passed=False, reason="connection refused", at=NOW + 60, duration=0.0123456789
        )
        apply_to(
            self.management.view, Report(ID, 1, State.DOWN, "connection refused", time=NOW + 30.5)
        )
        self.management.results[ID] = Result(
            result.passed, result.reason, result.at, result.duration
        )
        self.assertEqual(
            self.management.call("GET", f"/servers/{ID}").document,
            {
                **SHOWN,
                "version": 2,
                "state": "down",
                "reason": "connection refused",
                "since": "2023-11-14T22:13:50.750Z",
                "last_check": {
                    "passed": False,
                    "reason": "connection refused",
                    "at": "2023-11-14T22:14:20.250Z",
                    "duration": 0.012346,
                },
            },
        )

    def test_draining(self) -> None:
        """
        A server that was removed with requests in flight is still shown, unless it has
        come back.
        """
        self.management.post(SERVER)
        self.management.draining.append(self.management.view.pool.servers[ID])
        self.assertEqual(self.management.call("GET", "/servers").document, [SHOWN])
        self.assertEqual(self.management.call("DELETE", f"/servers/{ID}").status, 204)
        [document] = self.management.call("GET", "/servers").document
        self.assertEqual((document["id"], document["state"]), (ID, "draining"))
        self.assertEqual(self.management.call("GET", f"/servers/{ID}").document, document)
        self.assertProblem(self.management.call("DELETE", f"/servers/{ID}"), 404)

    def test_ids(self) -> None:
        """
        Ids may be percent-encoded.
        """
        self.management.post(SERVER)
        self.management.post({"ip": "2001:db8::1", "port": 8080})
        for path, id in (
            ("10.0.0.7:8080", ID),
            ("10.0.0.7%3A8080", ID),
            ("%31%30.0.0.7%3a8080", ID),
            ("2001:db8::1:8080", "2001:db8::1:8080"),
            ("2001%3Adb8%3A%3A1%3A8080", "2001:db8::1:8080"),
        ):
            answer = self.management.call("GET", f"/servers/{path}")
            self.assertEqual((answer.status, answer.document["id"]), (200, id), path)
        self.assertEqual(self.management.call("DELETE", "/servers/10.0.0.7%3A8080").status, 204)

    def test_unknown_ids(self) -> None:
        """
        An unknown id is 404 for all calls, and the pool is as it was.
        """
        self.management.post(SERVER)
        servers = self.management.view.pool.servers
        for id in ("10.0.0.7:8081", "10.0.0.7", "%20", "a|b", "..", "%00", "x" * 5_000, "%C3%A9"):
            for method in ("GET", "DELETE"):
                self.assertProblem(self.management.call(method, f"/servers/{id}"), 404)
        self.assertIs(self.management.view.pool.servers, servers)

    def test_delete(self) -> None:
        """
        Removed once, and not twice.
        """
        self.management.post(SERVER)
        answer = self.management.call("DELETE", f"/servers/{ID}")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.management.view.pool.servers, {})
        self.assertProblem(self.management.call("DELETE", f"/servers/{ID}"), 404)
        self.assertProblem(self.management.call("GET", f"/servers/{ID}"), 404)
