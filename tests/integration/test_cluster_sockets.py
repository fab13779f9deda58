"""
L{alacrity.cluster.wire.transport} over real sockets, on each kind of reactor.
"""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.places import ROOT


class ReactorTests(SynchronousTestCase):
    """
    The tests of L{tests.support.cluster_sockets}.
    """

    def passes(self, reactor: str) -> None:
        run = subprocess.run(
            [sys.executable, "-m", "tests.support.cluster_sockets", reactor],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn(f"on {reactor}", run.stdout)

    def test_twisted(self) -> None:
        self.passes("twisted")

    def test_uvloop(self) -> None:
        self.passes("uvloop")
