"""
Tests for L{alacrity.endpoints}: one set of tests, over real sockets, for Twisted's own
transports and for uvloop's.

Each runs in a process of its own reactor: see L{alacrity.endpoints.uvloop_of}.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectingCancelledError, TimeoutError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from alacrity.endpoints import _ClientEndpoint

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


class _Handle:
    """
    A timer of L{_Loop}, which fires whenever a test says so.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _Loop:
    """
    A loop that has a test decide what happens first.
    """

    def create_task(self, _coroutine: object) -> _Future:
        self.task = _Future()
        return self.task

    def call_soon(self, call: Any, *arguments: object) -> None:
        call(*arguments)

    def call_later(self, _delay: float, call: Any, *arguments: object) -> _Handle:
        self.late = _Handle(lambda: call(*arguments))
        return self.late


class _Future:
    """
    A task: what is called when it is done, a test calls.
    """

    transport: Any = None
    failed: Exception | None = None
    gone = False

    def add_done_callback(self, call: Any) -> None:
        self.call = lambda: call(self)

    def cancel(self) -> bool:
        self.gone = self.transport is None and self.failed is None
        return self.gone

    def cancelled(self) -> bool:
        return self.gone

    def exception(self) -> Exception | None:
        return self.failed

    def result(self) -> Any:
        return self.transport, None


class _Connected:
    """
    A transport.
    """

    aborted = False

    def abort(self) -> None:
        self.aborted = True


class GivenUpTests(SynchronousTestCase):
    """
    A connection attempt on uvloop that is given up just as something else happens.
    """

    def setUp(self) -> None:
        self.loop = _Loop()
        loop: Any = self.loop
        address = IPv4Address("TCP", "10.0.0.7", 1)
        endpoint = _ClientEndpoint(loop, lambda _build: None, address, 1.0)
        self.connecting = endpoint.connect(Factory())

    def test_late_when_not_wanted(self) -> None:
        """
        Cancelled in the moment in which it is late: it has failed once.
        """
        self.connecting.cancel()
        self.failureResultOf(self.connecting, ConnectingCancelledError)
        self.assertTrue(self.loop.late.cancelled)
        self.loop.late.call()
        self.loop.task.call()

    def test_made_when_late(self) -> None:
        """
        Late in the moment in which it is made: it is closed, for nobody else will.
        """
        self.loop.task.transport = _Connected()
        self.loop.late.call()
        self.failureResultOf(self.connecting, TimeoutError)
        self.loop.task.call()
        self.assertTrue(self.loop.task.transport.aborted)

    def test_refused_when_late(self) -> None:
        """
        Late in the moment in which it is refused: that is all.
        """
        self.loop.task.failed = OSError("refused")
        self.loop.late.call()
        self.failureResultOf(self.connecting, TimeoutError)
        self.loop.task.call()
