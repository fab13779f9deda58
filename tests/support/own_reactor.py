"""
Tests that run in a process of their own, on a kind of reactor.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from tests.support.places import ROOT


class OwnReactorTestCase(SynchronousTestCase):
    """
    Runs a module of tests in a process with its own reactor.
    """

    def assert_passes(self, module: str, reactor: str) -> None:
        """
        Assert that all tests of a module pass.

        @param module: calls L{run} with the kind of reactor, its only argument.
        @param reactor: C{twisted} or C{uvloop}.
        """
        done = subprocess.run(
            [sys.executable, "-m", module, reactor],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(f"on {reactor}", done.stdout)


def run(kind: str, *cases: type) -> int:
    """
    Run tests on a kind of reactor.

    @param kind: C{twisted} or C{uvloop}.
    @return: the exit status.
    """
    if kind == "uvloop":
        import uvloop
        from twisted.internet import asyncioreactor

        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
    from twisted.internet import reactor

    from alacrity.net.loops import uvloop_of

    assert (uvloop_of(reactor) is not None) == (kind == "uvloop")
    sys.stdout.write(f"on {kind}: {reactor}\n")
    from twisted.trial.reporter import TreeReporter
    from twisted.trial.runner import TestLoader, TrialRunner

    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        suite = TestLoader().loadClass
        runner = TrialRunner(TreeReporter, workingDirectory=os.path.join(directory, "trial"))
        from twisted.trial.unittest import TestSuite

        result = runner.run(TestSuite(suite(each) for each in cases))
    return 0 if result.wasSuccessful() else 1
