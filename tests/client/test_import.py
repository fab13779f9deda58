"""
L{alacrity.client}: an import, which chooses nothing.
"""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.places import ROOT


class ImportTests(SynchronousTestCase):
    def test_alone(self) -> None:
        """
        The import loads neither the reactor nor another part of Alacrity.
        """
        code = (
            "import sys, alacrity.client;"
            "print(sorted(name for name in sys.modules if name == 'twisted.internet.reactor'"
            " or name.startswith('alacrity.') and not name.startswith('alacrity.client')))"
        )
        finished = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
        )
        self.assertEqual(finished.stdout, "[]\n", finished.stderr)
