"""
A whole node: a real process, real servers, real clients.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from shutil import which
from typing import ClassVar

from acceptance.lab.calls import call
from acceptance.lab.waiting import PATIENCE, wait_until
from alacrity.config import Settings
from tests.support.documents import Page
from tests.support.nodes import NodeTestCase


class MainJobTests(NodeTestCase):
    """
    Servers that register, get traffic, fall out and are counted.
    """

    twistd: ClassVar[tuple[str, ...]] = ()
    transports = "uvloop"

    def test_whole(self) -> None:
        """
        A server that registers itself gets traffic; stopped, it leaves the pool; both
        sides are counted.
        """
        node = self.node(twistd=self.twistd)
        self.assertIn(f"on {self.transports}, state in ", node.log)
        self.assertEqual(node.get().status, 503)
        management = f"http://127.0.0.1:{node.management}"
        server = self.server("--register", management, "--name", "one")
        node.expect(rf"server 127\.0\.0\.1:{server.port} is up: status 200")
        answer = node.get("/hello?x=%20")
        self.assertEqual(answer.status, 404)
        answer = node.get()
        self.assertEqual((answer.status, answer.json()["name"]), (200, "one"))
        self.assertEqual(answer.headers["Via"], "1.1 alacrity")
        self.assertEqual(node.get("/status/500").status, 500)
        (document,) = call(node.management, "GET", "/servers").json()
        self.assertEqual((document["id"], document["state"]), (f"127.0.0.1:{server.port}", "up"))
        self.assertEqual(
            call(node.management, "GET", "/stats").json(),
            {"client": {"success": 2, "failed": 2}, "server": {"success": 2, "failed": 1}},
        )
        (counted,) = call(node.management, "GET", "/stats/detail").json()
        self.assertEqual((counted["success"], counted["failed"]), (2, 1))
        server.expect("registered with")
        server.send(signal.SIGTERM)
        server.expect("deregistered\n")
        self.assertEqual(call(node.management, "GET", "/servers").json(), [])
        self.assertEqual(node.get().status, 503)

    def test_bodies(self) -> None:
        """
        Bodies go both ways, by length and in chunks, however large.
        """
        node = self.node(twistd=self.twistd)
        node.register(self.server().port)
        body = os.urandom(3_000_000)
        connection = HTTPConnection("127.0.0.1", node.proxy, timeout=PATIENCE)
        self.addCleanup(connection.close)
        for chunked in (False, True):
            pieces = [body[at : at + 70_000] for at in range(0, len(body), 70_000)]
            connection.request(
                "POST",
                "/echo",
                iter(pieces) if chunked else body,
                encode_chunked=chunked,
                headers={"Transfer-Encoding": "chunked"} if chunked else {},
            )
            response = connection.getresponse()
            self.assertEqual(response.read(), body)
        self.assertEqual(len(node.get("/bytes/20000000").body), 20_000_000)
        lines = node.get("/stream/5000").body.splitlines()
        self.assertEqual(json.loads(lines[-1])["line"], 4999)

    def test_server_dies(self) -> None:
        """
        A server that is killed costs no request, as long as there is another; it is
        out after C{fall} failed checks.
        """
        node = self.node(
            twistd=self.twistd, configuration="[health]\ninterval = 0.1\nfast_interval = 0.1"
        )
        dying, staying = self.server("--name", "dying"), self.server("--name", "staying")
        id = node.register(dying.port)
        node.register(staying.port)
        self.assertEqual({node.get().json()["name"] for _ in range(4)}, {"dying", "staying"})
        dying.stop(signal.SIGKILL)
        self.assertEqual({node.get().json()["name"] for _ in range(4)}, {"staying"})
        node.expect(rf"server {id} is down: connection refused \(3 failures in a row\)")
        document = call(node.management, "GET", f"/servers/{id}").json()
        self.assertEqual(document["state"], "down")
        self.assertEqual(call(node.management, "GET", "/stats").json()["client"]["failed"], 0)


class EpollTests(MainJobTests):
    """
    The same on Twisted's own transports.
    """

    twistd = ("--reactor=epoll",)
    transports = "Twisted's transports"


class StateTests(NodeTestCase):
    """
    The state that outlives a node.
    """

    def test_killed(self) -> None:
        """
        A node that is killed knows its servers when it comes back, and sends traffic to
        them at once.
        """
        node = self.node()
        server = self.server()
        id = node.register(server.port, check={"type": "http", "path": "/health"})
        # The answer comes once that it is up is on disk, too.
        node.register(server.port, check={"type": "http", "path": "/health"})
        node.stop(signal.SIGKILL)
        again = self.node(directory=node.directory)
        again.expect("this node leads, and checks 1 servers")
        self.assertEqual(again.get().status, 200)
        document = call(again.management, "GET", f"/servers/{id}").json()
        self.assertEqual(document["check"]["path"], "/health")

    def test_damaged(self) -> None:
        """
        A damaged file is set aside, and the node starts. (One in a cluster of several
        does not, see L{tests.system.test_cluster_nodes}.)
        """
        node = self.node()
        node.register(self.server().port)
        node.stop()
        file = node.directory / "alacrity-state" / "raft.log"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        again = self.node(directory=node.directory)
        again.expect("this node leads, and checks 0 servers")
        self.assertRegex(again.log, r"raft\.log cannot be used: .*\. It is set aside as raft\.log")
        (aside,) = file.parent.glob("raft.log.damaged-*")
        self.assertEqual(aside.read_bytes(), content)
        self.assertEqual(call(again.management, "GET", "/servers").json(), [])

    def test_directory(self) -> None:
        """
        The state is kept where the option says.
        """
        state = self.directory() / "deep" / "state"
        node = self.node(f"--state-dir={state}")
        node.register(self.server().port)
        node.stop()
        self.assertTrue((state / "raft.log").is_file())
        self.assertFalse((node.directory / "alacrity-state").exists())


class LogTests(NodeTestCase):
    """
    The logs of a node.
    """

    def test_json(self) -> None:
        """
        Every line is a JSON object, the access log's too.
        """
        node = self.node(configuration='[log]\nformat = "json"\naccess = "json"')
        node.register(self.server().port)
        self.assertEqual(node.get("/status/204").status, 204)
        node.expect(r"/status/204.*\n")
        node.stop()
        lines = [json.loads(line) for line in node.log.splitlines()]
        (access,) = (line for line in lines if line.get("target") == "/status/204")
        self.assertEqual((access["status"], access["client"]), (204, "127.0.0.1"))
        messages = [line["message"] for line in lines if "message" in line]
        self.assertIn("stopped", messages)

    def test_combined(self) -> None:
        """
        The access log stands between the lines of the text log, or is not there.
        """
        node = self.node(configuration='[log]\naccess = "combined"')
        self.assertEqual(call(node.proxy, "GET", "/a%22b").status, 503)
        node.expect(r'\n?127\.0\.0\.1 - - \[[^]]+\] "GET /a%22b HTTP/1\.1" 503 - "-" "-"\n')
        quiet = self.node()
        self.assertEqual(call(quiet.proxy, "GET", "/unheard").status, 503)
        quiet.stop()
        self.assertNotIn("unheard", quiet.log)


class ReadmeTests(NodeTestCase):
    """
    Lines of the README, run as they are written.
    """

    def lines(self) -> str:
        """
        The lines that register a server every 30 s.
        """
        lines = Page("README.md").block("while :; do")
        self.assertEqual(len(lines.splitlines()), 5)
        return lines

    def run_lines(self, **variables: str) -> Path:
        """
        Run them, with a shorter pause, until the test ends.

        @return: a file with the pauses that they ask for.
        """
        directory = self.directory()
        pause = directory / "sleep"
        pause.write_text(
            f'#!/bin/sh\necho "$1" >> {directory}/pauses\nexec {which("sleep")} 0.05\n'
        )
        pause.chmod(0o755)
        usual = {name: value for name, value in os.environ.items() if name != "PORT"}
        environment = {**usual, "PATH": f"{directory}:{os.environ['PATH']}", **variables}
        loop = subprocess.Popen(["sh", "-c", self.lines()], env=environment, cwd=directory)
        self.addCleanup(loop.wait)
        self.addCleanup(loop.kill)
        return directory / "pauses"

    def test_registering_again(self) -> None:
        """
        The lines register a server, and register it again after it was removed. Only the
        pause between is shorter here.
        """
        node, server = self.node(), self.server()
        pauses = self.run_lines(
            ALACRITY=f"http://localhost:{node.management}", PORT=str(server.port)
        )
        id = f"127.0.0.1:{server.port}"
        up = rf"server {re.escape(id)} is up: status 200"
        node.expect(up)
        self.assertEqual(call(node.management, "DELETE", f"/servers/{id}").status, 204)
        node.expect(f"{up}(?s:.*){up}")
        self.assertEqual(set(pauses.read_text().split()), {"30"})

    def test_registering_with_token(self) -> None:
        """
        They give the token where its file is named, and do not depend on more being set:
        the port is not the proxy's own then, which would be refused.
        """
        directory = self.directory()
        token = "t" * 40
        (directory / "token").write_text(f"{token}\n")
        (directory / "token").chmod(0o600)
        node = self.node(configuration=f'[management]\ntoken_file = "{directory}/token"')
        self.run_lines(
            ALACRITY=f"http://localhost:{node.management}",
            ALACRITY_TOKEN_FILE=str(directory / "token"),
        )

        def registered() -> bool:
            connection = HTTPConnection("127.0.0.1", node.management, timeout=PATIENCE)
            self.addCleanup(connection.close)
            connection.request("GET", "/servers", headers={"Authorization": f"Bearer {token}"})
            return '"port":"8000"' in connection.getresponse().read().decode()

        wait_until(registered, "a server is registered")
        self.assertNotIn("tcp:8000", Settings().proxy.listen)
        self.assertNotIn("tcp:8000", Settings().management.listen)

    test_registering_with_token.skip = None if which("curl") else "curl is not there"  # type: ignore[attr-defined]
    test_registering_again.skip = None if which("curl") else "curl is not there"  # type: ignore[attr-defined]
