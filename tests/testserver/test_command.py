"""
L{alacrity.testserver.command}: the command line.
"""

from __future__ import annotations

import contextlib
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from alacrity.testserver.command import arguments


class ArgumentTests(SynchronousTestCase):
    """
    The command line.
    """

    def test_defaults(self) -> None:
        """
        Nothing has to be given.
        """
        options = arguments([])
        self.assertEqual(
            (options.host, options.port, options.register, options.name),
            ("127.0.0.1", 0, None, None),
        )

    def test_faults(self) -> None:
        """
        A fault says what is allowed.
        """
        for given, allowed in (
            (["--port", "x"], "allowed: a port from 0 to 65535"),
            (["--port", "65536"], "allowed: a port from 0 to 65535"),
            (["--register", "localhost:1"], "allowed: a URL such as http://127.0.0.1:8687"),
        ):
            said = StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit):
                arguments(given)
            self.assertIn(allowed, said.getvalue())
