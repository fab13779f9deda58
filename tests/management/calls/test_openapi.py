"""
L{alacrity.management.calls.openapi}: the API, and what it says of itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.nodes import Node
from acceptance.lab.waiting import PATIENCE
from alacrity.cluster.log.members import Member
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.management.api import all_calls
from alacrity.management.calls.openapi import describe
from alacrity.management.documents.administration import ALLOWED_ADMINISTRATION
from alacrity.management.documents.cluster import ALLOWED_HAND_OVER, ALLOWED_NODE
from alacrity.management.documents.problems import TITLES
from alacrity.management.documents.registrations import ALLOWED_REGISTRATION
from alacrity.management.web.site import BODY_LIMIT
from alacrity.pool import Command, Outcome, Register, Report, State, TcpCheck
from alacrity.pool.model import ServerOptions
from tests.management.calls.test_cluster import ADDRESSES, BAD_ADDRESSES
from tests.management.example import ID, SERVER
from tests.support.management_caller import NOW, TOKEN, Management, Response, Result
from tests.support.places import ROOT
from tests.support.pools import apply_to

JSON = {"Content-Type": "application/json"}

OPERATIONS = {
    ("POST", "/servers"),
    ("GET", "/servers"),
    ("GET", "/servers/{id}"),
    ("DELETE", "/servers/{id}"),
    ("PATCH", "/servers/{id}"),
    ("PUT", "/servers/{id}/lease"),
    ("GET", "/stats"),
    ("GET", "/stats/detail"),
    ("GET", "/health"),
    ("GET", "/health/leader"),
    ("GET", "/openapi.json"),
    ("GET", "/cluster"),
    ("POST", "/cluster/nodes"),
    ("DELETE", "/cluster/nodes/{name}"),
    ("POST", "/cluster/leader"),
}


BODIES = {
    ("POST", "/servers"): b'{"ip": "10.0.0.7", "port": 8080}',
    ("PATCH", "/servers/{id}"): b'{"admin": "drain"}',
    ("POST", "/cluster/nodes"): b'{"address": "10.0.0.2:8688", "name": "b"}',
    ("POST", "/cluster/leader"): b'{"name": "b"}',
}


def operations(document: Any) -> dict[tuple[str, str], Any]:
    """
    The operations of a description, by method and path.
    """
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


class DescriptionTests(SynchronousTestCase):
    """
    The document.
    """

    def setUp(self) -> None:
        self.management = Management()
        self.document = self.management.call("GET", "/openapi.json").document

    def test_served(self) -> None:
        """
        The document is made of the calls, and names its version.
        """
        made = json.loads(json.dumps(describe(all_calls(), secured=False)))
        self.assertEqual(self.document, made)
        self.assertEqual(self.document["openapi"], "3.1.0")

    def test_operations(self) -> None:
        """
        Each route is in it, and nothing else; each has a name of its own.
        """
        found = operations(self.document)
        self.assertEqual(set(found), OPERATIONS)
        names = [operation["operationId"] for operation in found.values()]
        self.assertEqual(len(set(names)), len(names))
        rules = self.management.api._routes().url_map.iter_rules()
        routed = {
            (method, rule.rule.replace("<", "{").replace(">", "}"))
            for rule in rules
            for method in rule.methods or ()
            if method != "HEAD"
        }
        self.assertEqual(routed, OPERATIONS)

    def test_members(self) -> None:
        """
        Each member that a document which is sent may have, is in it, with the words of
        the problem documents.
        """
        schemas = self.document["components"]["schemas"]
        for allowed, kinds in (
            (
                ALLOWED_REGISTRATION,
                {
                    "RegistrationDocument": "",
                    "TcpCheckDocument": "check.",
                    "HttpCheckDocument": "check.",
                },
            ),
            (ALLOWED_ADMINISTRATION, {"AdministrationRequestDocument": ""}),
            (ALLOWED_NODE, {"NodeRequestDocument": ""}),
            (ALLOWED_HAND_OVER, {"HandOverRequestDocument": ""}),
        ):
            described = {}
            for kind, place in kinds.items():
                self.assertIs(schemas[kind]["additionalProperties"], False)
                for name, schema in schemas[kind]["properties"].items():
                    described[place + name] = schema["description"]
            self.assertEqual(described, {place: text for place, text in allowed.items() if place})

    def test_node_addresses(self) -> None:
        """
        The pattern of a node's address allows what is read, and nothing else.
        """
        schema = self.document["components"]["schemas"]["NodeRequestDocument"]
        branches = schema["properties"]["address"]["anyOf"]
        for addresses, good in ((ADDRESSES, True), (BAD_ADDRESSES, False)):
            for address in addresses:
                allowed = any(
                    re.search(branch["pattern"], address) is not None
                    and re.search(branch["not"]["pattern"], address) is None
                    for branch in branches
                )
                self.assertIs(allowed, good, address)

    def test_links(self) -> None:
        """
        A call that creates a resource links to the calls on it.
        """
        found = {
            (method, path, status): set(response["links"])
            for (method, path), each in operations(self.document).items()
            for status, response in each["responses"].items()
            if "links" in response
        }
        server = {"show_server", "deregister", "administer"}
        self.assertEqual(
            found,
            {
                ("POST", "/servers", "201"): server,
                ("POST", "/servers", "200"): server,
                ("POST", "/cluster/nodes", "201"): {"remove_node"},
            },
        )

    def test_answers(self) -> None:
        """
        Answers have the members that their schemas have.
        """
        self.management.post({**SERVER, "check": {"type": "http", "host": "a", "interval": 1}})
        self.management.results[ID] = Result(passed=True, reason="200", at=NOW, duration=0.1)
        apply_to(self.management.view, Report(ID, 1, State.UP, "200", time=NOW))
        for path, kind in (
            ("/servers", "ServerDocument"),
            ("/stats/detail", "ServerCounterDocument"),
            (f"/servers/{ID}", "ServerDocument"),
            ("/stats", "StatsDocument"),
            ("/health", "ServingDocument"),
            ("/health/leader", "LeaderDocument"),
            ("/cluster", "ClusterDocument"),
        ):
            answer = self.management.call("GET", path).document
            for document in answer if isinstance(answer, list) else [answer]:
                schema = self.document["components"]["schemas"][kind]
                self.assertEqual(set(document), set(schema["properties"]), path)
                self.assertEqual(set(document), set(schema["required"]), path)

    def test_answers_about_members(self) -> None:
        """
        Likewise for the calls on the members of the cluster.
        """
        schemas = self.document["components"]["schemas"]
        new = {"address": "10.0.0.2:8688", "name": "b"}
        for document, kind in (
            (self.management.call("GET", "/cluster").document["members"][0], "MemberDocument"),
            (self.management.post(new, path="/cluster/nodes").document, "NodeDocument"),
            (self.management.post({}, path="/cluster/leader").document, "HandOverDocument"),
        ):
            self.assertEqual(set(document), set(schemas[kind]["properties"]), kind)
            self.assertEqual(set(document), set(schemas[kind]["required"]), kind)

    def test_problems(self) -> None:
        """
        So have problems; every status that one may have, is somewhere.
        """
        schema = self.document["components"]["schemas"]["ProblemDocument"]
        document = self.management.post({**SERVER, "port": 0}).document
        self.assertEqual(
            set(document), set(schema["properties"]) - {"incident", "version", "nodes"}
        )
        statuses = {
            int(status)
            for secured in (True, False)
            for each in operations(describe(all_calls(), secured=secured)).values()
            for status in each["responses"]
        }
        self.assertEqual({status for status in statuses if status >= 400} | {405, 408}, set(TITLES))

    def test_security(self) -> None:
        """
        The document says that a token is required, if one is.
        """
        self.assertNotIn("security", self.document)
        document = Management(token=TOKEN).call("GET", "/openapi.json", token=TOKEN).document
        self.assertEqual(document["security"], [{"token": []}])
        opened = {call for call, each in operations(document).items() if each.get("security") == []}
        self.assertEqual(opened, {("GET", "/health"), ("GET", "/health/leader")})


async def _refuse(_command: Command) -> Outcome:
    raise ProposalRefused("there is no leader")


async def _lose(_command: Command) -> Outcome:
    raise OutcomeUnknown("not heard of")


def _broken(*_: object) -> Any:
    raise RuntimeError("broken")


class StatusTests(SynchronousTestCase):
    """
    Each status that the description has, is answered; each that is answered here, is
    in the description.
    """

    def secured(self, propose: Any = None, *, known: bool = True) -> Management:
        """
        An API with a token, and with a server.
        """
        management = Management(propose, token=TOKEN)
        if known:
            apply_to(management.view, _registered())
        return management

    def answer(self, method: str, path: str, status: int) -> Response:
        """
        Have a call answered with a status.
        """
        place = path.replace("{id}", ID).replace("{name}", "b")
        body = BODIES.get((method, path), b"")
        headers = dict(JSON)
        management = self.secured()
        cluster = management.cluster
        if (method, path) != ("POST", "/cluster/nodes"):
            cluster.members.append(Member("b", "10.0.0.2:8688"))
        token: bytes | None = TOKEN
        match method, path, status:
            case "POST", "/servers", 201:
                management = self.secured(known=False)
            case "POST", "/servers" | "/cluster/nodes" | "/cluster/leader", 400:
                body = b"[]"
            case "POST", "/servers", 409:
                management.own[json.loads(body)["ip"], int(json.loads(body)["port"])] = "proxy"
            case "GET", "/servers", 400:
                place = "/servers?consistent=2"
            case _, "/servers/{id}", 400:
                place = "/servers/%ff"
            case "PATCH", _, 400:
                body = b"{}"
            case _, "/cluster/nodes/{name}", 400:
                place = "/cluster/nodes/%ff"
            case _, _, 400:
                headers["If-Match"] = '"1"'
            case "DELETE", "/servers/{id}", 200:
                place += "?wait=1"
            case "PATCH" | "DELETE", "/servers/{id}", 409:
                place += "?wait=1"
                cluster.format, cluster.behind = 1, ("b",)
            case _, "/servers/{id}/lease", 404:
                place = "/servers/10.0.0.8:80/lease"
            case _, "/servers/{id}/lease", 503:
                management.renewals[ID] = ProposalRefused("there is no leader")
            case _, "/servers/{id}/lease", 200:
                leased = ServerOptions(lease=30.0)
                apply_to(management.view, msgspec.structs.replace(_registered(), options=leased))
            case _, _, 412:
                headers["If-Match"] = '"99"'
            case _, "/servers/{id}", 404:
                place = "/servers/10.0.0.8:80"
            case _, "/cluster/nodes/{name}" | "/cluster/leader", 404:
                cluster.members = [Member("a", "10.0.0.1:8688"), Member("c", "10.0.0.3:8688")]
            case _, "/cluster/nodes", 409:
                cluster.members = [Member("a", "")]
            case _, "/cluster/nodes/{name}" | "/cluster/leader", 409:
                cluster.members = [Member("b", "10.0.0.2:8688")]
            case _, _, 401:
                token = None
            case _, _, 413:
                body = b" " * (BODY_LIMIT + 1)
            case _, _, 415:
                headers = {"Content-Type": "text/plain"}
            case _, "/health", 503:
                management.serving = False
            case _, "/health/leader", 503:
                cluster.is_leader = False
            case "GET", "/servers" | "/servers/{id}", 503:
                place += "?consistent=1"
                cluster.failures["barrier"] = OutcomeUnknown("not heard of")
            case _, "/cluster/nodes" | "/cluster/nodes/{name}" | "/cluster/leader", 503 | 504:
                error = (
                    ProposalRefused("there is no leader") if status == 503 else OutcomeUnknown("")
                )
                cluster.failures = dict.fromkeys(("add", "remove", "hand over"), error)
            case _, _, 503 | 504:
                management = self.secured(_refuse if status == 503 else _lose)
            case _, _, 500:
                self.patch(management.site.resource._inner, "render", _broken)
        answer = management.call(method, place, body, headers, token=token)
        self.flushLoggedErrors(RuntimeError)
        return answer

    def test_statuses(self) -> None:
        """
        All of them.
        """
        document = describe(all_calls(), secured=True)
        count = 0
        for (method, path), operation in operations(document).items():
            for status, response in operation["responses"].items():
                answer = self.answer(method, path, int(status))
                self.assertEqual(answer.status, int(status), (method, path, status, answer.body))
                for name in response.get("headers", {}):
                    self.assertIn(name.lower(), answer.headers, (method, path, status))
                kinds = list(response.get("content", {}))
                self.assertEqual(kinds, [answer.headers["content-type"]] if answer.body else [])
                count += 1
        self.assertEqual(count, 111)


def _registered() -> Register:
    return Register("10.0.0.7", 8080, TcpCheck(), 1, time=NOW)


class SchemathesisTests(SynchronousTestCase):
    """
    A node that schemathesis calls.
    """

    EXAMPLES: Final = 20
    """The number of examples per call; C{docs/security.md} has a command for more."""

    def test_node(self) -> None:
        """
        All of its checks pass, on a node with a token.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        file = directory / "token"
        file.touch(0o600)
        file.write_bytes(TOKEN + b"\n")
        node = Node(directory, configuration='[management]\ntoken_file = "token"\n')
        self.addCleanup(node.stop)
        node.started()
        root = ROOT
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run"),
                f"http://127.0.0.1:{node.management}/openapi.json",
                f"--header=Authorization: Bearer {TOKEN.decode()}",
                *("--checks=all", f"--max-examples={self.EXAMPLES}", "--seed=1", "--no-color"),
            ],
            cwd=directory,
            env={
                **os.environ,
                "NO_PROXY": "127.0.0.1",
                "PYTHONPATH": str(root),
                "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=10 * PATIENCE,
            check=False,
        )
        said = finished.stdout.decode(errors="replace")
        self.assertEqual(finished.returncode, 0, said)
        self.assertIn(f"{len(OPERATIONS) - 1} selected / {len(OPERATIONS) - 1} total", said)
        node.stop()
        self.assertIn("stopped", node.log)
        self.assertNotIn("Traceback", node.log)
        self.assertNotIn("incident", node.log)
