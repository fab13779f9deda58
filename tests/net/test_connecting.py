"""
Tests for L{alacrity.net.connecting}; those that hold on each kind of reactor are in
L{tests.support.transport_kinds}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectingCancelledError, TimeoutError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.connecting import UvClientEndpoint, host_endpoint


class HostTests(SynchronousTestCase):
    """
    Endpoints for addresses and names.
    """

    def test_endpoints(self) -> None:
        """
        Names are resolved by the reactor, without blocking.
        """
        reactor = MemoryReactorClock()
        for host, kind in {
            "10.0.0.1": TCP4ClientEndpoint,
            "2001:db8::1": TCP6ClientEndpoint,
            "proxy-1": HostnameEndpoint,
        }.items():
            self.assertIsInstance(host_endpoint(reactor, host, 80, 1.0), kind)


class _Handle:
    """
    A timer of L{_Loop}, which a test fires.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _Loop:
    """
    A loop in which a test decides the order of events.
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
    A task, which a test ends.
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
        endpoint = UvClientEndpoint(loop, lambda _build: None, address, 1.0)
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
