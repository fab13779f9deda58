"""
Tests for L{alacrity.tap}: the options, in so far as no process is needed for them (see
L{tests.system.test_node}).
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, cast

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import alacrity
from alacrity import tap
from alacrity.node.service import Alacrity
from tests.support.places import ROOT


class OptionsTests(SynchronousTestCase):
    """
    The options on the command line.
    """

    def parsed(self, *arguments: str) -> tap.Options:
        """
        The options that it gives.
        """
        options = tap.Options()
        options.parseOptions(list(arguments))
        return options

    def test_nothing(self) -> None:
        """
        Nothing has to be given.
        """
        options = self.parsed()
        self.assertEqual(options["state-dir"], "alacrity-state")
        self.assertEqual(options.settings.proxy.listen, ("tcp:8080",))

    def test_addresses(self) -> None:
        """
        Addresses may be given more than once, and override the file.
        """
        path = Path(self.mktemp())
        path.write_text('[proxy]\nlisten = ["tcp:1"]\nvia = "x"')
        options = self.parsed(
            "--config", str(path), "--proxy", "tcp:2", "--proxy", "tcp:3", "--management", "unix:4"
        )
        self.assertEqual(options.settings.proxy.listen, ("tcp:2", "tcp:3"))
        self.assertEqual(options.settings.proxy.via, "x")
        self.assertEqual(options.settings.management.listen, ("unix:4",))

    def test_run_directory(self) -> None:
        """
        A socket's relative path is as seen from where C{twistd} runs the node.
        """
        directory = Path(self.mktemp()).absolute()
        (directory / "run").mkdir(parents=True)
        for parent, status in (({"rundir": str(directory)}, None), ({"rundir": "."}, 1)):
            options = tap.Options()
            options.parent = cast("Any", parent)
            said = StringIO()
            with redirect_stderr(said):
                try:
                    options.parseOptions(["--management", "unix:run/api", "--proxy", "tcp:0"])
                except SystemExit as error:
                    self.assertEqual(error.code, status)
                    self.assertIn("a socket in 'run', which is no directory", said.getvalue())
                else:
                    self.assertIsNone(status)

    def test_arguments(self) -> None:
        """
        There are options only.
        """
        with self.assertRaises(UsageError):
            self.parsed("start")

    def test_version(self) -> None:
        """
        It tells its version, not Twisted's.
        """
        said = StringIO()
        with redirect_stdout(said), self.assertRaises(SystemExit) as caught:
            self.parsed("--version")
        self.assertEqual(caught.exception.code, 0)
        self.assertEqual(said.getvalue(), f"alacrity {alacrity.__version__}\n")

    def test_log(self) -> None:
        """
        C{twistd} is given our log, unless it was told where to log to otherwise.
        """
        for given in ({}, {"logger": "a.b"}, {"syslog": 1}):
            options = tap.Options()
            parent: Any = dict(given)
            options.parent = parent
            options.parseOptions([])
            expected = given.get("logger") or (
                None if given else "alacrity.runtime.logs.configured_observer"
            )
            self.assertEqual(parent.get("logger"), expected)

    def test_taken_over(self) -> None:
        """
        C{twistd} is left nothing to do about the pid file and the user; a fault in its
        options is one line.
        """
        options = tap.Options()
        parent: Any = {"pidfile": "twistd.pid", "uid": os.geteuid(), "rundir": "."}
        options.parent = parent
        options.parseOptions([])
        self.assertEqual(options.pid_file, "twistd.pid")
        self.assertEqual((parent["pidfile"], parent["uid"], parent["gid"]), ("", None, None))
        options = tap.Options()
        options.parent = cast("Any", {"rundir": "/nowhere", "nodaemon": 1})
        said = StringIO()
        with redirect_stderr(said), self.assertRaises(SystemExit) as caught:
            options.parseOptions([])
        self.assertEqual(caught.exception.code, 1)
        self.assertEqual(
            said.getvalue(),
            "alacrity: --rundir: found '/nowhere'; allowed: a directory that is there\n",
        )


class PluginTests(SynchronousTestCase):
    """
    The plugin as C{twistd} finds it.
    """

    def test_plugin(self) -> None:
        """
        The plugin is there, and makes the service.
        """
        (maker,) = (each for each in getPlugins(IServiceMaker) if each.tapname == "alacrity")
        verifyObject(IServiceMaker, maker)
        options = cast("Any", maker).options()
        options.parseOptions([])
        service = cast("Any", maker).makeService(options)
        self.assertTrue(IService.providedBy(service))
        self.assertIsInstance(service, Alacrity)


class ReactorTests(SynchronousTestCase):
    """
    The choice of the reactor, which is possible once a process.
    """

    def chosen(self, code: str) -> str:
        """
        The name of the reactor after some code.
        """
        script = (
            f"import sys\n{code}\nfrom alacrity import tap\ntap.Options().parseOptions([])\n"
            "from twisted.internet import reactor\n"
            "loop = getattr(reactor, '_asyncioEventloop', None)\n"
            "print(type(reactor).__name__, type(loop).__module__)"
        )
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return run.stdout.strip()

    def test_uvloop(self) -> None:
        """
        Of itself, it is one on uvloop.
        """
        self.assertEqual(self.chosen(""), "AsyncioSelectorReactor uvloop")

    def test_asked_for(self) -> None:
        """
        One that is there already stays.
        """
        code = "from twisted.internet import selectreactor; selectreactor.install()"
        self.assertEqual(self.chosen(code), "SelectReactor builtins")

    def test_without_uvloop(self) -> None:
        """
        Without uvloop it is left to Twisted.
        """
        code = "sys.modules['uvloop'] = None"
        self.assertRegex(self.chosen(code), "^(EPoll|Poll|Select)Reactor builtins$")
