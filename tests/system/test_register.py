"""
C{alacrity register} and C{alacrity deregister}: the real program, with real processes.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest import SkipTest

from acceptance.lab.calls import Answer, call
from acceptance.lab.processes import Process
from acceptance.lab.waiting import wait_until
from tests.support.fake_management import FakeManagement
from tests.support.nodes import NodeTestCase

ALACRITY = (sys.executable, "-m", "alacrity.cli")

CHILD = """
import os, signal, socket, sys, time

def say(number, frame=None):
    print('child got', signal.Signals(number).name, flush=True)
    if number in (signal.SIGTERM, signal.SIGINT):
        sys.exit(5)

for name in ('HUP', 'QUIT', 'USR1', 'USR2', 'WINCH', 'TERM', 'INT'):
    signal.signal(getattr(signal, 'SIG' + name), say)
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
print('child listens', os.getsid(0) == os.getpid(), flush=True)
while True:
    listener.accept()[0].close()
"""
"""A server that says which signals it gets, and ends with 5."""

ORPHANS = """
import os, signal, socket, sys, time
for _ in range(5):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
while True:
    listener.accept()[0].close()
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    stats = [open(f'/proc/{pid}/stat').read().rsplit(') ', 1)[1].split() for pid in os.listdir('/proc') if pid.isdigit()]
    print('zombies', sum(each[0] == 'Z' for each in stats), 'parent', os.getppid(), flush=True)
"""
"""A server that leaves orphans behind."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class RegisterCase(NodeTestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.server_id = f"127.0.0.1:{self.port}"

    def fake(self) -> FakeManagement:
        """An API."""
        management = FakeManagement()
        self.addCleanup(management.stop)
        return management

    def register(
        self,
        *options: str,
        command: tuple[str, ...] | None = None,
        within: tuple[str, ...] = (),
    ) -> Process:
        """A server that is registered by the program."""
        if command is None:
            command = (sys.executable, "-c", CHILD, str(self.port))
        process = Process(
            [
                *within,
                *ALACRITY,
                "register",
                f"--port={self.port}",
                *options,
                *(("--", *command) if command else ()),
            ],
            self.directory(),
            name="alacrity",
        ).start()
        self.addCleanup(_kill, process)
        return process

    def ended(self, process: Process) -> int:
        """The exit status, once it has ended."""
        return process.ended()


class SignalTests(RegisterCase):
    """
    The child's signals, beside an API of the tests' own.
    """

    def started(self, *options: str) -> tuple[FakeManagement, Process]:
        """A server that is registered."""
        management = self.fake()
        process = self.register(f"--to={management.url}", *options)
        process.expect(f"{self.server_id} is registered with")
        return management, process

    def test_leaves_the_pool_first(self) -> None:
        management, process = self.started()
        management.busy.set()
        process.send(signal.SIGTERM)
        wait_until(lambda: management.count("DELETE") > 0, "it is removed")
        self.assertNotIn("child got", process.log)
        management.busy.clear()
        process.expect("child got SIGTERM")
        self.assertEqual(self.ended(process), 5)
        self.assertEqual(management.servers, {})

    def test_passed_on(self) -> None:
        _, process = self.started()
        process.expect("child listens True")
        for name in ("HUP", "QUIT", "USR1", "USR2", "WINCH"):
            process.send(getattr(signal, f"SIG{name}"))
            process.expect(f"child got SIG{name}")

    def test_stop_signal(self) -> None:
        management, process = self.started("--stop-signal=QUIT")
        process.send(signal.SIGQUIT)
        process.expect("child got SIGQUIT")
        self.assertEqual(management.servers, {})

    def test_second(self) -> None:
        management, process = self.started()
        management.busy.set()
        process.send(signal.SIGTERM)
        wait_until(lambda: management.count("DELETE") > 0, "it is removed")
        process.send(signal.SIGINT)
        process.expect("child got SIGINT")
        self.assertEqual(self.ended(process), 5)

    def test_waits_no_longer_than_it_may(self) -> None:
        management, process = self.started("--wait=0.5")
        management.busy.set()
        process.send(signal.SIGTERM)
        process.expect("requests may still be in flight")
        self.assertEqual(self.ended(process), 5)

    def test_child_dies(self) -> None:
        """
        The status is that of the child's signal, and its registration is gone.
        """
        management, process = self.started()
        os.kill(_children(process)[0], signal.SIGKILL)
        self.assertEqual(self.ended(process), 137)
        self.assertEqual(management.servers, {})

    def test_renewed(self) -> None:
        management, process = self.started("--lease=3")
        wait_until(lambda: management.count("PUT") > 1, "it renews its lease")
        management.servers.clear()
        process.expect("registering again")
        wait_until(lambda: bool(management.servers), "it is registered again")

    def test_paused(self) -> None:
        """
        After a pause it renews, or registers again.
        """
        management, process = self.started("--lease=3")
        process.send(signal.SIGSTOP)
        management.servers.clear()
        process.send(signal.SIGCONT)
        wait_until(lambda: bool(management.servers), "it is registered again")

    def test_another_api(self) -> None:
        """
        Where one API is gone, the other is called.
        """
        first, second = self.fake(), FakeManagement()
        process = self.register(f"--to={second.url}", f"--to={first.url}", "--lease=3")
        process.expect(f"{self.server_id} is registered with {second.url}")
        second.stop()
        process.expect(f"registered with {first.url}")
        process.send(signal.SIGTERM)
        self.assertEqual(self.ended(process), 5)
        self.assertEqual(first.servers, {})

    def test_nobody_answers(self) -> None:
        """
        It runs without a pool, and ends without one.
        """
        process = self.register(f"--to=http://127.0.0.1:{free_port()}")
        process.expect("cannot make the registration yet: .*refused")
        process.send(signal.SIGTERM)
        self.assertEqual(self.ended(process), 5)

    def test_without_a_command(self) -> None:
        management = self.fake()
        with socket.create_server(("127.0.0.1", self.port)):
            process = self.register(f"--to={management.url}", command=())
            process.expect(f"{self.server_id} is registered with")
            process.send(signal.SIGTERM)
            self.assertEqual(self.ended(process), 0)
        self.assertEqual(management.servers, {})

    def test_cannot_be_executed(self) -> None:
        management = self.fake()
        for command, status in (("/none", 127), ("/etc/passwd", 126)):
            process = self.register(f"--to={management.url}", command=(command,))
            self.assertEqual(self.ended(process), status)
        self.assertEqual(management.calls, [])

    def test_never_ready(self) -> None:
        management = self.fake()
        process = self.register(
            *(f"--to={management.url}", "--ready-timeout=0.2"), command=("sleep", "60")
        )
        self.assertEqual(self.ended(process), 7)
        self.assertEqual(management.calls, [])

    def test_first_process_of_a_container(self) -> None:
        """
        It reaps orphans, and gets signals although it is PID 1.
        """
        unshare = shutil.which("unshare")
        within = (str(unshare), "--pid", "--fork", "--kill-child", "--mount-proc")
        if unshare is None or subprocess.run([*within, "true"], check=False).returncode != 0:
            raise SkipTest("no PID namespace can be made")
        management = self.fake()
        process = self.register(
            f"--to={management.url}",
            command=(sys.executable, "-c", ORPHANS, str(self.port)),
            within=within,
        )
        process.expect(f"{self.server_id} is registered with")

        def reaped() -> bool:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return "zombies 0 parent 1" in process.log

        wait_until(reaped, "there are no zombies")
        os.kill(_children(process)[0], signal.SIGTERM)
        self.assertEqual(self.ended(process), 5)
        self.assertEqual(management.servers, {})


class NodeTests(RegisterCase):
    """
    The same with real nodes.
    """

    def test_requests_in_flight(self) -> None:
        """
        A slow request is finished before the server gets its signal.
        """
        node = self.node()
        process = self.register(
            *(f"--to=http://127.0.0.1:{node.management}", "--check-path=/health"),
            command=(sys.executable, "-m", "alacrity.testserver", f"--port={self.port}"),
        )
        node.expect(f"server {self.server_id} is up")
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(node.get("/delay/1.5")))
        asking.start()
        wait_until(lambda: bool(_in_flight(self.port)), "a request is in flight")
        process.send(signal.SIGTERM)
        asking.join()
        self.assertEqual([each.status for each in answers], [200])
        process.ended()
        self.assertIn("left the pool; no request is in flight", process.log)
        self.assertEqual(node.servers(), {})

    def test_deregister(self) -> None:
        node = self.node()
        node.register(self.server().port)
        (id,) = node.servers()
        url = f"http://127.0.0.1:{node.management}"
        for given, status in (
            ([id, f"--to={url}", "--wait=5"], 0),
            ([id, f"--to={url}"], 4),
            ([id, f"--to=http://127.0.0.1:{free_port()}"], 3),
            ([], 2),
        ):
            process = Process([*ALACRITY, "deregister", *given], self.directory()).start()
            self.addCleanup(process.stop, signal.SIGKILL)
            self.assertEqual((given, process.ended()), (given, status))
        self.assertEqual(node.servers(), {})
        self.assertEqual(call(node.management, "GET", f"/servers/{id}").status, 404)


def _children(process: Process) -> list[int]:
    """
    The ids of a process's children.
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def _kill(process: Process) -> None:
    """
    End a process whose child has a session of its own, and that child.
    """
    for child in _children(process):
        os.kill(child, signal.SIGKILL)
    process.stop(signal.SIGKILL)


def _in_flight(port: int) -> list[str]:
    """
    The connections to a server's port that are open now, besides the listening one.
    """
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [each for each in lines if f":{port:04X} 01 " in each]
