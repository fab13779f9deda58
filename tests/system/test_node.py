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
import sys
import textwrap
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp
from typing import ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import Settings
from tests.support.node import PATIENCE, TWISTD, Node, Process, TestServer, call, wait_until
from tests.support.places import ROOT


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
        (directory / "twistd.log").rename(directory / "old.log")
        os.kill(pid, signal.SIGHUP)
        wait_until((directory / "twistd.log").exists, "the log is opened anew")
        again = Process(["tail", "--follow", "--lines=+1", "twistd.log"], directory)
        self.addCleanup(again.stop)
        for name in ("USR1", "USR2"):
            os.kill(pid, getattr(signal, f"SIG{name}"))
            again.expect(f"SIG{name}")
        os.kill(pid, signal.SIGTERM)
        again.expect("Server Shut Down")
        self.assertEqual(start.ended(), 0)
        wait_until(lambda: not (directory / "pid").exists(), "the pid file is removed")
        self.assertEqual(
            {each.name for each in directory.iterdir()},
            {"alacrity-state", "old.log", "twistd.log"},
        )

    def test_daemon_closed_descriptors(self) -> None:
        """
        It does so, or says by its status that it cannot, where standard input, output or
        error are closed.
        """
        here = "tcp:0:interface=127.0.0.1"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with socket.create_server(("127.0.0.1", 0)) as taken:
            in_use = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            for closed in ("0", "1", "2", "012"):
                closing = " ".join(f"{each}>&-" for each in closed)
                for proxy, status in ((here, 0), (in_use, 1)):
                    directory = self.directory()
                    command = [*TWISTD, "--pidfile=pid", "alacrity", f"--proxy={proxy}"]
                    run = subprocess.run(
                        [
                            "sh",
                            "-c",
                            f'exec "$@" {closing}',
                            "sh",
                            *command,
                            f"--management={here}",
                        ],
                        cwd=directory,
                        env=environment,
                        timeout=PATIENCE,
                        check=False,
                    )
                    if run.returncode == 0:
                        pid = int((directory / "pid").read_text())
                        self.addCleanup(_kill, pid)
                        os.kill(pid, signal.SIGTERM)
                    self.assertEqual((closed, run.returncode), (closed, status))
                    wait_until(lambda: not (directory / "pid").exists(), "the pid file is removed")  # noqa: B023
                    said = (directory / "twistd.log").read_text()
                    self.assertIn("stopped" if status == 0 else "Address already in use", said)


class SignalTests(NodeTestCase):
    """
    What operators, supervisors and logrotate send, as the kernel delivers it.
    """

    twistd: ClassVar[tuple[str, ...]] = ()

    def waiting(self, node: Node) -> HTTPConnection:
        """A connection with a request in flight, that takes a minute."""
        node.register(self.server().port)
        connection = HTTPConnection("127.0.0.1", node.proxy, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/delay/60")
        self.assertEqual(node.get().status, 200)
        return connection

    def test_harmless(self) -> None:
        """
        With the log on standard output, none of those that do not ask it to stop does
        anything but write a line, and requests are answered as before.
        """
        node = self.node(twistd=self.twistd)
        for name in ("HUP", "USR1"):
            node.send(getattr(signal, f"SIG{name}"))
            node.expect(f"SIG{name}: the log has no file that could be opened anew")
        for name in ("USR2", "ALRM", "PROF"):
            node.send(getattr(signal, f"SIG{name}"))
            node.expect(f"SIG{name} is ignored")
        for name in ("WINCH", "PIPE", "URG", "CHLD", "CONT"):
            node.send(getattr(signal, f"SIG{name}"))
        self.assertEqual(node.get().status, 503)

    def test_reopened(self) -> None:
        """
        With the log in a file, it is opened anew by its name, and nothing is renamed.
        """
        node = self.node(twistd=(*self.twistd, "--logfile=/dev/stdout"))
        node.send(signal.SIGHUP)
        node.expect("SIGHUP: the log /dev/stdout (is|cannot be) opened anew")
        self.assertEqual(node.get().status, 503)

    def test_second(self) -> None:
        """
        A second SIGTERM ends it at once, while SIGHUP, SIGUSR1 and SIGUSR2 do not, and do not
        end the drain either.
        """
        for first, second in (
            (signal.SIGTERM, signal.SIGTERM),
            (signal.SIGINT, signal.SIGINT),
            (signal.SIGQUIT, signal.SIGTERM),
        ):
            node = self.node(twistd=(*self.twistd, "--pidfile=pid"))
            connection = self.waiting(node)
            node.send(first)
            node.expect("stopping; requests in flight may take")
            node.send(signal.SIGHUP)
            node.expect("SIGHUP: the log has no file")
            node.send(signal.SIGUSR2)
            node.expect("SIGUSR2 is ignored")
            self.assertTrue((node.directory / "pid").exists())
            node.send(second)
            self.assertEqual(node.ended(), -second)
            self.assertIn(f"{second.name}: ended at once; what was in flight is cut off", node.log)
            self.assertNotIn("Traceback", node.log)
            self.assertFalse((node.directory / "pid").exists())
            with self.assertRaises(ConnectionError):
                connection.getresponse()

    def test_quit(self) -> None:
        """
        SIGQUIT drains, as in nginx, and leaves no core.
        """
        node = self.node(twistd=self.twistd)
        node.send(signal.SIGQUIT)
        self.assertEqual(node.ended(), 0)
        self.assertIn("stopped", node.log)

    def test_closed_output(self) -> None:
        """
        A node whose log nobody reads any more goes on, and ends in order.
        """
        node = self.node(twistd=self.twistd, configuration='[log]\naccess = "combined"')
        assert node._output is not None
        node._output.close()
        node._output = None
        for _ in range(3):
            self.assertEqual(node.get().status, 503)
        node.send(signal.SIGHUP)
        self.assertEqual(node.get().status, 503)
        node.send(signal.SIGTERM)
        self.assertEqual(node._process.wait(PATIENCE), -signal.SIGTERM)

    def test_output_not_read(self) -> None:
        """
        A node whose log is a pipe that nobody reads, though somebody might, goes on once
        that is full, and ends in order.
        """
        node = self.node(twistd=self.twistd, configuration='[log]\naccess = "combined"')
        for _ in range(20):
            self.assertEqual(node.get("/" + "x" * 8000).status, 503)
        for name in ("HUP", "USR2"):
            node.send(getattr(signal, f"SIG{name}"))
        self.assertEqual(node.get().status, 503)
        node.send(signal.SIGTERM)
        self.assertEqual(node._process.wait(PATIENCE), -signal.SIGTERM)

    def test_output_read_again(self) -> None:
        """
        Once it is read again, the log says how many lines are lost.
        """
        node = self.node(twistd=self.twistd, configuration='[log]\naccess = "combined"')
        for _ in range(20):
            self.assertEqual(node.get("/" + "x" * 8000).status, 503)
        node._read(0.0)
        self.assertEqual(node.get().status, 503)
        node.expect(r"\d+ lines of the log are lost, .*: their reader does not keep up")


class EpollSignalTests(SignalTests):
    """
    The same on Twisted's own transports.
    """

    twistd = ("--reactor=epoll",)


class TwistTests(NodeTestCase):
    """
    Twisted's other runner.
    """

    def test_whole(self) -> None:
        """
        It runs a node too, which drains, and says in one line why it cannot.
        """
        directory = self.directory()
        here = "tcp:0:interface=127.0.0.1"
        twist = (
            sys.executable,
            "-c",
            "from twisted.application.twist._twist import Twist; import sys; Twist.main(['twist', *sys.argv[1:]])",
        )
        node = Process([*twist, "alacrity", f"--proxy={here}", f"--management={here}"], directory)
        self.addCleanup(node.stop, signal.SIGKILL)
        port = int(node.expect(r"proxy listens on 127\.0\.0\.1:(\d+)")[1])
        self.assertEqual(call(port, "GET", "/").status, 503)
        (directory / "secret").write_text("x" * 40)
        (directory / "secret").chmod(0o600)
        (directory / "a.toml").write_text(
            f'[cluster]\nlisten = ["tcp:{port}:interface=127.0.0.1"]\n'
            f'advertise = "127.0.0.1:{port}"\nsecret_file = "secret"'
        )
        options = ("--config=a.toml", f"--proxy={here}", f"--management={here}", "--state-dir=b")
        second = Process([*twist, "--log-file=second", "alacrity", *options], directory)
        self.addCleanup(second.stop, signal.SIGKILL)
        self.assertEqual(second.ended(), 1)
        self.assertEqual(second.log, "alacrity: cluster cannot listen: Address already in use\n")
        node.send(signal.SIGUSR2)
        node.expect("SIGUSR2 is ignored")
        node.send(signal.SIGTERM)
        self.assertEqual(node.ended(), -signal.SIGTERM)
        self.assertNotIn("Traceback", node.log)
        (directory / "file").touch()
        run = subprocess.run(
            [*twist, "--log-file=log", "alacrity", f"--proxy={here}", "--state-dir=file"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual(run.returncode, 1)
        self.assertRegex(
            run.stderr.splitlines()[-1],
            "^alacrity: the state directory .* cannot be used: File exists$",
        )
        self.assertNotIn("Traceback", run.stderr)


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
            env={**os.environ, "PYTHONPATH": str(ROOT)},
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
            env={**os.environ, "PYTHONPATH": str(ROOT)},
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

    def lines(self) -> str:
        """
        The lines that register a server every 30 s.
        """
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        found = re.search(r"\n(    while :; do\n(?:    .*\n)+?    done\n)", readme)
        assert found is not None
        lines = textwrap.dedent(found[1])
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


class DaemonFaultTests(NodeTestCase):
    """
    What keeps a daemon from starting: whoever started it is told in one line, and does not
    wait for ever.
    """

    here = "tcp:0:interface=127.0.0.1"

    def fault(
        self,
        *options: str,
        twistd: Sequence[str] = (),
        configuration: str = "",
        proxy: str = here,
        management: str = here,
        path: Path | None = None,
    ) -> str:
        """
        What is said of a fault.

        @param path: where modules are found first.
        """
        self.place = self.directory()
        (self.place / "a.toml").write_text(configuration)
        (self.place / "secret").write_text("x" * 40)
        (self.place / "secret").chmod(0o600)
        os.mkfifo(self.place / "pipe")
        run = subprocess.run(
            [
                *(*TWISTD, "--pidfile=pid", "--logfile=log", *twistd),
                *("alacrity", "--config=a.toml", f"--proxy={proxy}"),
                *(f"--management={management}", *options),
            ],
            cwd=self.place,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    str(each) for each in (path, ROOT) if each is not None
                ),
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        # The daemon lets go of its caller first, and may still be about to end.
        wait_until(lambda: not (self.place / "pid").exists(), "the pid file is removed")
        (line,) = run.stderr.splitlines()
        return line

    def test_addresses(self) -> None:
        """
        An address cannot be had: of the proxy, of the management API, or, once the reactor
        is about to run, of the cluster.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            address = f"tcp:{port}:interface=127.0.0.1"
            in_use = f"cannot listen on {address}: Address already in use"
            self.assertEqual(self.fault(proxy=address), f"alacrity: proxy {in_use}")
            self.assertEqual(self.fault(management=address), f"alacrity: management {in_use}")
            configuration = (
                f'[cluster]\nlisten = ["{address}"]\nadvertise = "127.0.0.1:{port}"\n'
                'secret_file = "secret"'
            )
            for twistd in ((), ("--reactor=epoll",), ("-n",)):
                self.assertEqual(
                    self.fault(twistd=twistd, configuration=configuration),
                    "alacrity: cluster cannot listen: Address already in use",
                )
                self.assertNotIn("Traceback", (self.place / "log").read_text())

    def test_files(self) -> None:
        """
        A file or a directory cannot be used.
        """
        for twistd, options, line in (
            (
                (),
                ("--state-dir=a.toml",),
                "the state directory .*/a.toml cannot be used: File exists",
            ),
            (("--logfile=no/log",), (), "the log .*/no/log cannot be written: No such file or .*"),
            (
                ("--logfile=pipe",),
                (),
                "the log .*/pipe cannot be written: it is a pipe that nobody reads; name .*",
            ),
            (("--logfile=-",), (), "--logfile: a daemon cannot log to standard output; .*"),
            (
                ("--pidfile=no/pid",),
                (),
                "the pid file .*/no/pid cannot be written: No such file .*",
            ),
            (("--rundir=no",), (), "--rundir: found 'no'; allowed: a directory that is there"),
            (("--chroot=no",), (), "--chroot: (found 'no'; allowed: .*|only root can do that; .*)"),
            (("--uid=99999999",), (), "--uid.*: found .*99999999.*"),
        ):
            self.assertRegex(self.fault(*options, twistd=twistd), f"^alacrity: {line}$")

    def test_missing_packages(self) -> None:
        """
        A package that is not there, or fails when it is imported.
        """
        missing = 'raise ModuleNotFoundError("No module named {0!r}", name={0!r})'
        for name, code in (
            ("msgspec", missing),
            ("klein", missing),
            ("treq", "raise ImportError('it is broken')"),
            ("pysyncobj", missing),
        ):
            stub = self.directory()
            (stub / f"{name}.py").write_text(code.format(name))
            self.assertRegex(
                self.fault(path=stub),
                f"^alacrity: the package {name} cannot be imported: (No module named '{name}'|it is "
                "broken); install Alacrity with all that it depends on",
            )
        self.assertRegex(self.fault(path=stub, twistd=("-n",)), "^alacrity: the package pysyncobj ")

    def test_pid_file(self) -> None:
        """
        One that a crash left does not keep a node from starting; one that is in use does.
        """
        directory = self.directory()
        (directory / "pid").write_text(str(os.getpid()))
        node = self.node(directory=directory, twistd=("--pidfile=pid",))
        self.assertEqual((directory / "pid").read_text(), str(node.pid))
        for foreground in (("-n",), ()):
            line = self.fault(twistd=(*foreground, f"--pidfile={directory / 'pid'}"))
            self.assertRegex(
                line, f"^alacrity: another twistd runs with .*, as process {node.pid};"
            )
        node.stop()
        self.assertFalse((directory / "pid").exists())

    def test_no_pid_file(self) -> None:
        """
        In the foreground, one that nobody asked for by name and that cannot be written does
        not keep a node from starting.
        """
        directory = self.directory()
        (directory / "twistd.pid").mkdir()
        node = self.node(directory=directory, twistd=("--pidfile=twistd.pid",))
        self.assertRegex(node.log, "going on without a pid file: .*: Is a directory;")
        (directory / "pid").mkdir()
        run = Process(
            [*TWISTD, "-n", "--pidfile=pid", "alacrity", "--proxy=tcp:0", "--state-dir=x"],
            directory,
        )
        self.addCleanup(run.stop, signal.SIGKILL)
        self.assertEqual(run.ended(), 1)
        self.assertRegex(
            run.log, "^alacrity: the pid file .*/pid cannot be written: Is a directory;"
        )


class UserTests(NodeTestCase):
    """
    A node that root starts for another user.
    """

    user = 65534

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")

    def test_all_is_its_own(self) -> None:
        """
        State, log, pid file and Unix sockets belong to the user, a directory that root has
        used before too; the log is opened anew, and a change is kept.
        """
        # The user has to get there, and the name of a socket has to be short.
        place = Path(mkdtemp())
        self.addCleanup(rmtree, place)
        place.chmod(0o755)
        (place / "state").mkdir(mode=0o700)
        (place / "state" / "lock").touch(mode=0o600)
        for reactor in ("", "--reactor=epoll"):
            node = Node(
                place,
                "--state-dir=state",
                f"--proxy=unix:{place}/s",
                twistd=tuple(filter(None, (reactor, f"--uid={self.user}", "--pidfile=pid"))),
            )
            self.addCleanup(node.stop, signal.SIGKILL)
            node.expect("this node leads")
            port = int(node.expect(r"management listens on 127\.0\.0\.1:(\d+)")[1])
            node.expect(f"running as user {self.user}, group ")
            for name in ("state", "state/lock", "state/raft.log", "pid", "s"):
                self.assertEqual((place / name).lstat().st_uid, self.user, name)
            status = (Path("/proc") / str(node.pid) / "status").read_text()
            self.assertRegex(status, rf"Uid:(\s+{self.user}){{4}}")
            answer = call(port, "POST", "/servers", {"ip": "127.0.0.1", "port": 9})
            self.assertIn(answer.status, {200, 201})
            node.send(signal.SIGTERM)
            self.assertEqual(node.ended(), -signal.SIGTERM)
            self.assertNotIn("Traceback", node.log)
            (place / "s").unlink(missing_ok=True)


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
