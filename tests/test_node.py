"""
Tests of a whole node: a real process, real servers, real clients.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import textwrap
from http.client import HTTPConnection
from pathlib import Path
from shutil import which
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.node import PATIENCE, TWISTD, Node, Process, TestServer, call


class NodeTestCase(SynchronousTestCase):
    """
    Starts processes, and ends them.
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


class MainJobTests(NodeTestCase):
    """
    Servers register, get traffic, fall out, are counted.
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
        server.expect("deregistered: 204")
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
    What outlives a node.
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
        does not, see L{tests.test_cluster_nodes}.)
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


class StopTests(NodeTestCase):
    """
    How a node ends.
    """

    def stopping(self, delay: str, configuration: str = "") -> tuple[Node, HTTPConnection]:
        """
        A node that is told to stop with a request in flight.
        """
        node = self.node(configuration=configuration)
        server = self.server()
        node.register(server.port)
        connection = HTTPConnection("127.0.0.1", node.proxy, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", f"/delay/{delay}")
        # A second request, answered, tells that the first has reached the proxy.
        self.assertEqual(node.get().status, 200)
        node.send(signal.SIGTERM)
        node.expect("stopping; requests in flight may take")
        return node, connection

    def test_drains(self) -> None:
        """
        Requests in flight are finished, new connections refused.
        """
        node, connection = self.stopping("0.7")
        response = connection.getresponse()
        self.assertEqual((response.status, response.getheader("Connection")), (200, "close"))
        self.assertEqual(json.loads(response.read())["delay"], 0.7)
        self.assertEqual(node.ended(), -signal.SIGTERM)
        self.assertNotIn("cut off", node.log)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", node.proxy))

    def test_cut(self) -> None:
        """
        Those that take longer than C{timeouts.drain} are cut off.
        """
        node, connection = self.stopping("60", "[timeouts]\ndrain = 0.1")
        with self.assertRaises(ConnectionError):
            connection.getresponse()
        self.assertEqual(node.ended(), -signal.SIGTERM)
        self.assertIn("requests in flight were cut off", node.log)

    def test_daemon(self) -> None:
        """
        Without C{-n} it leaves the terminal, serves, and stops by its process id.
        """
        directory = self.directory()
        here = "tcp:0:interface=127.0.0.1"
        start = Process(
            [*TWISTD, "--pidfile=pid", "alacrity", f"--proxy={here}", f"--management={here}"],
            directory,
        )
        self.addCleanup(start.stop, signal.SIGKILL)
        # The daemon has the log's pipe still; what ends is the process that started it.
        self.assertEqual(start._process.wait(PATIENCE), 0)
        pid = int((directory / "pid").read_text())
        self.addCleanup(_kill, pid)
        tail = Process(["tail", "--follow", "--lines=+1", "twistd.log"], directory)
        self.addCleanup(tail.stop)
        port = int(tail.expect(r"proxy listens on 127\.0\.0\.1:(\d+)")[1])
        self.assertIn("on uvloop", tail.log)
        self.assertEqual(call(port, "GET", "/").status, 503)
        self.assertTrue((directory / "alacrity-state").is_dir())
        os.kill(pid, signal.SIGTERM)
        tail.expect("Server Shut Down")
        self.assertEqual(start.ended(), 0)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class FaultTests(NodeTestCase):
    """
    What keeps a node from starting: one line on standard error, and a status.
    """

    def fault(self, *options: str, configuration: str = "") -> str:
        """
        What is said of a fault.
        """
        directory = self.directory()
        (directory / "a.toml").write_text(configuration)
        run = subprocess.run(
            [*TWISTD, "-n", "--logfile=log", "alacrity", "--config=a.toml", *options],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertNotEqual(run.returncode, 0)
        self.assertEqual(run.stdout, "")
        (line,) = run.stderr.splitlines()
        return line

    def test_configuration(self) -> None:
        """
        The configuration is at fault.
        """
        self.assertEqual(
            self.fault(configuration="[health]\nrise = 'two'"),
            "alacrity: a.toml: health.rise: found 'two'; allowed: a whole number from 1",
        )
        self.assertEqual(
            self.fault("--config=missing.toml"), "alacrity: missing.toml: No such file or directory"
        )
        self.assertIn("--proxy: found 'x'", self.fault("--proxy=x"))
        for options in ([], ["--check-config"]):
            self.assertIn(
                "a.toml: management.listen[0]: found 'tcp:8080', which 'tcp:8080' of "
                "proxy.listen[0] takes too; allowed: ",
                self.fault(
                    *options, configuration="[management]\nlisten = ['tcp:8080']\ninsecure = true"
                ),
            )
            self.assertIn(
                "options: --proxy: found 'unix:no/a', a socket in 'no', which is no directory; ",
                self.fault(*options, "--proxy=unix:no/a"),
            )

    def test_unknown_option(self) -> None:
        """
        C{twistd} says so in its own way, which is not a traceback either.
        """
        run = subprocess.run(
            [*TWISTD, "alacrity", "--colour=red"],
            cwd=self.directory(),
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertIn("option --colour not recognized", run.stdout + run.stderr)
        self.assertNotIn("Traceback", run.stdout + run.stderr)

    def test_address_in_use(self) -> None:
        """
        An address cannot be had.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for role in ("proxy", "management"):
                other = "management" if role == "proxy" else "proxy"
                self.assertEqual(
                    self.fault(
                        f"--{role}=tcp:{port}:interface=127.0.0.1",
                        f"--{other}=tcp:0:interface=127.0.0.1",
                    ),
                    f"alacrity: {role} cannot listen on tcp:{port}:interface=127.0.0.1: "
                    "Address already in use",
                )

    def test_state_directory(self) -> None:
        """
        The state directory cannot be used.
        """
        file = self.directory() / "file"
        file.touch()
        self.assertEqual(
            self.fault(f"--state-dir={file}", "--proxy=tcp:0:interface=127.0.0.1"),
            f"alacrity: the state directory {file} cannot be used: File exists",
        )

    def test_check(self) -> None:
        """
        C{--check-config} says whether the configuration is in order, and binds nothing.
        """
        self.assertIn(
            "log.level: found 3", self.fault("--check-config", configuration="[log]\nlevel = 3")
        )
        directory = self.directory()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            check = Process(
                [*TWISTD, "-n", "alacrity", "--check-config", f"--proxy=tcp:{port}"], directory
            )
            self.addCleanup(check.stop)
            self.assertEqual(check.ended(), 0)
        self.assertEqual(check.log, "configuration ok\n")
        self.assertEqual(list(directory.iterdir()), [])


class ReadmeTests(NodeTestCase):
    """
    Lines of the README, run as they are written.
    """

    def test_registering_again(self) -> None:
        """
        The lines register a server, and register it again after it was removed. Only the
        pause between is shorter here.
        """
        readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
        found = re.search(r"\n(    while :; do\n(?:    .*\n)+?    done\n)", readme)
        assert found is not None
        lines = textwrap.dedent(found[1])
        self.assertEqual(len(lines.splitlines()), 5)
        directory = self.directory()
        pause = directory / "sleep"
        pause.write_text(
            f'#!/bin/sh\necho "$1" >> {directory}/pauses\nexec {which("sleep")} 0.05\n'
        )
        pause.chmod(0o755)
        node, server = self.node(), self.server()
        environment = {
            **os.environ,
            "PATH": f"{directory}:{os.environ['PATH']}",
            "ALACRITY": f"http://localhost:{node.management}",
            "PORT": str(server.port),
        }
        loop = subprocess.Popen(["sh", "-c", lines], env=environment, cwd=directory)
        self.addCleanup(loop.wait)
        self.addCleanup(loop.kill)
        id = f"127.0.0.1:{server.port}"
        up = rf"server {re.escape(id)} is up: status 200"
        node.expect(up)
        self.assertEqual(call(node.management, "DELETE", f"/servers/{id}").status, 204)
        node.expect(f"{up}(?s:.*){up}")
        self.assertEqual(set((directory / "pauses").read_text().split()), {"30"})

    test_registering_again.skip = None if which("curl") else "curl is not there"  # type: ignore[attr-defined]


class LogTests(NodeTestCase):
    """
    What a node writes.
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
