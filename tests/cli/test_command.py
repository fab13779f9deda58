"""
L{alacrity.cli.command}: the command line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from unittest import mock

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cli.command import DEFAULT_LEASE, parse
from alacrity.cli.register import document_of
from tests.support.places import ROOT

TOKEN = "0123456789abcdef0123456789abcdef"


class CommandLineTests(SynchronousTestCase):
    def setUp(self) -> None:
        for name in ("ALACRITY_ADDR", "ALACRITY_TOKEN_FILE"):
            self.patch(os, "environ", {k: v for k, v in os.environ.items() if k != name})

    def fault(self, *argv: str) -> str:
        """
        The fault that is found in a command line.
        """
        said = StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as ended:
            parse(argv)
        self.assertEqual(ended.exception.code, 2)
        return said.getvalue()

    def document(self, *argv: str) -> object:
        """
        The registration that a command line asks for.
        """
        options = parse(["register", *argv])
        return msgspec.json.decode(msgspec.json.encode(document_of(options)))

    def token_file(self) -> str:
        path = Path(self.mktemp())
        path.write_text(TOKEN)
        path.chmod(0o600)
        return str(path)

    def test_register_defaults(self) -> None:
        options = parse(["register", "--port", "8080"])
        self.assertEqual(options.to, ["http://127.0.0.1:8687"])
        self.assertEqual((options.token, options.command, options.wait), (None, [], 8.0))
        self.assertIsNone(options.ready_timeout)
        self.assertEqual(options.stop_signals, {signal.SIGTERM, signal.SIGINT})
        self.assertEqual(
            self.document("--port", "8080"),
            {"port": "8080", "check": {"type": "tcp"}, "lease": DEFAULT_LEASE},
        )

    def test_register_everything(self) -> None:
        self.assertEqual(
            self.document(
                *("--port=80", "--ip=2001:DB8::1", "--check-path=/up", "--interval=1"),
                *("--timeout=0.5", "--rise=1", "--fall=2", "--check-port=81", "--check-host=h"),
                *("--weight=3", "--lease=30", "--priority=1", "--group=blue", "--max-requests=9"),
            ),
            {
                "ip": "2001:db8::1",
                "port": "80",
                "check": {
                    "type": "http",
                    "path": "/up",
                    "interval": 1.0,
                    "timeout": 0.5,
                    "rise": 1,
                    "fall": 2,
                    "port": "81",
                    "host": "h",
                },
                "weight": 3,
                "lease": 30.0,
                "priority": 1,
                "group": "blue",
                "max_requests": 9,
            },
        )

    def test_checks(self) -> None:
        for given, check in (
            (["--check", "none"], {"type": "none"}),
            (["--check", "http"], {"type": "http", "path": "/"}),
            (["--check", "tcp", "--fall", "2"], {"type": "tcp", "fall": 2}),
        ):
            document = self.document("--port=80", *given)
            assert isinstance(document, dict)
            self.assertEqual(document["check"], check)

    def test_no_lease(self) -> None:
        self.assertEqual(
            self.document("--port=80", "--lease=0"), {"port": "80", "check": {"type": "tcp"}}
        )

    def test_the_command(self) -> None:
        """
        All that comes after the first two dashes is the command's.
        """
        options = parse(["register", "--port=80", "--", "sh", "-c", "x", "--", "--port"])
        self.assertEqual(options.command, ["sh", "-c", "x", "--", "--port"])

    def test_stop_signals(self) -> None:
        options = parse(["register", "--port=80", "--stop-signal=quit", "--stop-signal", "28"])
        self.assertEqual(
            options.stop_signals,
            {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH},
        )

    def test_deregister(self) -> None:
        options = parse(["deregister", "10.0.0.7:80", "--wait", "30", "--to", "10.0.0.1:8687"])
        self.assertEqual((options.id, options.wait), ("10.0.0.7:80", 30.0))
        self.assertEqual(options.to, ["http://10.0.0.1:8687"])

    def test_environment(self) -> None:
        environment = {
            "ALACRITY_ADDR": "http://a:1/, b:2 http://a:1",
            "ALACRITY_TOKEN_FILE": self.token_file(),
        }
        with mock.patch.dict(os.environ, environment):
            options = parse(["deregister", "a:1"])
            self.assertEqual(options.to, ["http://a:1", "http://b:2"])
            self.assertEqual(options.token, TOKEN)
            options = parse(["deregister", "a:1", "--to=https://c"])
            self.assertEqual(options.to, ["https://c"])

    def test_faults_in_the_environment(self) -> None:
        for name, value, found in (
            ("ALACRITY_ADDR", "ftp://x", "ALACRITY_ADDR: found 'ftp://x'; allowed: a URL"),
            ("ALACRITY_TOKEN_FILE", "/none", "ALACRITY_TOKEN_FILE: /none: found a file that"),
        ):
            with mock.patch.dict(os.environ, {name: value}):
                self.assertIn(found, self.fault("deregister", "a:1"))

    def test_faults(self) -> None:
        """
        A fault says what was found and what is allowed.
        """
        for given, said in (
            ("--port=0", "found '0'; allowed: a port from 1 to 65535"),
            ("--port=x", "found 'x'; allowed: a port from 1 to 65535"),
            ("--port=1 --ip=localhost", "allowed: an IPv4 or IPv6 address"),
            ("--port=1 --weight=0", "allowed: a whole number from 1 to 256"),
            ("--port=1 --to=http://", "allowed: a URL such as http://10.0.0.1:8687"),
            ("--port=1 --to=http://a:x", "allowed: a URL"),
            ("--port=1 --to=http://a?b", "allowed: a URL"),
            ("--port=1 --group=Blue", "allowed: 1 to 63 of a-z, 0-9 and -"),
            ("--port=1 --priority=101", "allowed: a whole number from 0 to 100"),
            ("--port=1 --lease=2", "found 2; allowed: seconds, from 3 to 86400, or 0"),
            ("--port=1 --lease=nan", "allowed: seconds"),
            ("--port=1 --wait=-1", "allowed: seconds, from 0 to 3600"),
            ("--port=1 --check-path=up", "allowed: a path"),
            ("--port=1 --check=tcp --check-path=/up", "--check-path needs --check http"),
            ("--port=1 --check=none --fall=1", "--fall needs a check"),
            ("--port=1 --check=none --lease=0", "--check none without a lease"),
            ("--port=1 --stop-signal=KILL", "a signal that a process can handle"),
            ("--port=1 --stop-signal=SIGNAL", "allowed: a signal such as QUIT"),
            ("--port=1 --token-file=/none", "/none: found a file that cannot be read"),
            ("--port=1 --", "found nothing after --"),
            ("--port=1 server", "unrecognized arguments: server"),
            ("", "required: --port"),
        ):
            self.assertIn(said, self.fault("register", *given.split()), given)

    def test_no_command(self) -> None:
        self.assertIn("required: COMMAND", self.fault())


class StartTests(SynchronousTestCase):
    """
    The program as it starts.
    """

    def test_help(self) -> None:
        """
        Help comes without what only a command that runs needs, so that it comes at once.
        """
        code = (
            "import sys\n"
            "from alacrity.cli.command import main\n"
            "try: main(sys.argv[1:])\n"
            "finally: print(sorted({'twisted', 'treq', 'msgspec', 'zope.interface', 'asyncio'}"
            " & sys.modules.keys()))"
        )
        for argv in (["--help"], ["register", "--help"], ["deregister", "--help"]):
            finished = subprocess.run(
                [sys.executable, "-c", code, *argv],
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
            )
            self.assertEqual(finished.returncode, 0, finished.stderr)
            self.assertEqual(finished.stdout.splitlines()[-1], "[]")
            self.assertIn("exit status:", finished.stdout)
            self.assertIn("ALACRITY_TOKEN_FILE", finished.stdout)
