"""
The start of a node: faults in one line, other users.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from unittest import SkipTest

from acceptance.lab.calls import call
from acceptance.lab.nodes import TWISTD, Node
from acceptance.lab.processes import Process
from acceptance.lab.waiting import PATIENCE, wait_until
from tests.support.nodes import NodeTestCase
from tests.support.places import ROOT


class FaultTests(NodeTestCase):
    """
    Faults that keep a node from starting: one line on standard error, and a status.
    """

    def fault(self, *options: str, configuration: str = "") -> str:
        """
        Start a node that cannot start.

        @return: the line on standard error.
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
            ).start()
            self.addCleanup(check.stop)
            self.assertEqual(check.ended(), 0)
        self.assertEqual(check.log, "configuration ok\n")
        self.assertEqual(list(directory.iterdir()), [])


class DaemonFaultTests(NodeTestCase):
    """
    Faults that keep a daemon from starting: its caller is told in one line, and does not
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
        Start a daemon that cannot start.

        @param path: where modules are found first.
        @return: the line on standard error.
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
        ).start()
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
            node.start().expect("this node leads")
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
