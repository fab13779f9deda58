"""
Tests for L{alacrity.endpoints}: one set of tests, over real sockets, for Twisted's own
transports and for uvloop's.

Each runs in a process of its own reactor: see L{alacrity.endpoints.uvloop_of}.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

HERE = Path(__file__).parent


class ContractTests(SynchronousTestCase):
    """
    The contract of L{tests.transport_contract}, kept on each kind of reactor.
    """

    def keeps_contract(self, reactor: str) -> None:
        """
        Assert that all tests of the contract pass on a reactor.
        """
        run = subprocess.run(
            [sys.executable, "-m", "tests.transport_contract", reactor],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn(f"on {reactor}", run.stdout)

    def test_twisted(self) -> None:
        """
        Twisted's own transports: the contract is theirs.
        """
        self.keeps_contract("twisted")

    def test_uvloop(self) -> None:
        """
        uvloop's transports.
        """
        self.keeps_contract("uvloop")
