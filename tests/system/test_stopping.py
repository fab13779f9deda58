"""
The end of a node: drains, signals, and logs that nobody reads.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from typing import ClassVar

from acceptance.lab.calls import call
from acceptance.lab.nodes import TWISTD, Node
from acceptance.lab.processes import Process
from acceptance.lab.waiting import PATIENCE, wait_until
from tests.support.nodes import NodeTestCase
from tests.support.places import ROOT


class StopTests(NodeTestCase):
    """
    The end of a node, and the requests in flight.
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
        Requests in flight that take longer than C{timeouts.drain} are cut off.
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
        ).start()
        self.addCleanup(start.stop, signal.SIGKILL)
        self.assertEqual(start.ended(), 0)
        pid = int((directory / "pid").read_text())
        self.addCleanup(_kill, pid)
        tail = Process(["tail", "--follow", "--lines=+1", "twistd.log"], directory).start()
        self.addCleanup(tail.stop)
        port = int(tail.expect(r"proxy listens on 127\.0\.0\.1:(\d+)")[1])
        self.assertIn("on uvloop", tail.log)
        self.assertEqual(call(port, "GET", "/").status, 503)
        self.assertTrue((directory / "alacrity-state").is_dir())
        (directory / "twistd.log").rename(directory / "old.log")
        os.kill(pid, signal.SIGHUP)
        wait_until((directory / "twistd.log").exists, "the log is opened anew")
        again = Process(["tail", "--follow", "--lines=+1", "twistd.log"], directory).start()
        self.addCleanup(again.stop)
        for name in ("USR1", "USR2"):
            os.kill(pid, getattr(signal, f"SIG{name}"))
            again.expect(f"SIG{name}")
        os.kill(pid, signal.SIGTERM)
        again.expect("Server Shut Down")
        wait_until(lambda: not (directory / "pid").exists(), "the pid file is removed")
        self.assertEqual(
            {each.name for each in directory.iterdir()},
            {"alacrity-state", "old.log", "twistd.log"},
        )

    def test_daemon_closed_descriptors(self) -> None:
        """
        A daemon starts, or says by its status that it cannot, where standard input, output or
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


class PipeOutput:
    """
    A pipe that a process writes to, read when a test says so.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._content = b""

    def open(self) -> int:
        return self._writer

    def read(self) -> bytes:
        """All that was written so far, of which one pipe's content is read now."""
        try:
            self._content += os.read(self._reader, 1 << 16)
        except OSError:
            pass  # There is nothing, or no reader any more.
        return self._content

    def close_reader(self) -> None:
        """Let nobody read it any more."""
        os.close(self._reader)
        self._reader = -1

    def close(self) -> None:
        for descriptor in {self._reader, self._writer} - {-1}:
            os.close(descriptor)
        self._reader = self._writer = -1


class SignalTests(NodeTestCase):
    """
    The signals that operators, supervisors and logrotate send, as the kernel delivers them.
    """

    twistd: ClassVar[tuple[str, ...]] = ()

    def piped(self) -> tuple[Node, PipeOutput]:
        """A node whose log is a pipe, which is read no further than to its start."""
        output = PipeOutput()
        configuration = '[log]\naccess = "combined"'
        return self.node(twistd=self.twistd, configuration=configuration, output=output), output

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
        node, output = self.piped()
        output.close_reader()
        for _ in range(3):
            self.assertEqual(node.get().status, 503)
        node.send(signal.SIGHUP)
        self.assertEqual(node.get().status, 503)
        node.send(signal.SIGTERM)
        self.assertEqual(node.ended(), -signal.SIGTERM)

    def test_output_not_read(self) -> None:
        """
        A node whose log is a pipe that nobody reads, though somebody might, goes on once
        that is full, and ends in order.
        """
        node, _ = self.piped()
        for _ in range(20):
            self.assertEqual(node.get("/" + "x" * 8000).status, 503)
        for name in ("HUP", "USR2"):
            node.send(getattr(signal, f"SIG{name}"))
        self.assertEqual(node.get().status, 503)
        node.send(signal.SIGTERM)
        self.assertEqual(node.ended(), -signal.SIGTERM)

    def test_output_read_again(self) -> None:
        """
        Once it is read again, the log says how many lines are lost.
        """
        node, output = self.piped()
        for _ in range(20):
            self.assertEqual(node.get("/" + "x" * 8000).status, 503)
        output.read()
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
        C{twist} runs a node too, which drains, and says in one line why it cannot start.
        """
        directory = self.directory()
        here = "tcp:0:interface=127.0.0.1"
        twist = (
            sys.executable,
            "-c",
            "from twisted.application.twist._twist import Twist; import sys; Twist.main(['twist', *sys.argv[1:]])",
        )
        node = Process(
            [*twist, "alacrity", f"--proxy={here}", f"--management={here}"], directory
        ).start()
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
        second = Process([*twist, "--log-file=second", "alacrity", *options], directory).start()
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
