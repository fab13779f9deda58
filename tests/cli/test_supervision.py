"""
L{alacrity.cli.supervision}: a process, its registration, and signals.
"""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cli.supervision import Patience, Phase, Supervision
from alacrity.client import CallRefused, Removal

TERM, INT, HUP, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT


class FakeChild:
    """
    A process.

    @ivar events: what happened to it, in order, with what happened to its registration.
    """

    def __init__(self, events: list[str], fault: OSError | None = None) -> None:
        self.events = events
        self.ended: Deferred[int] = Deferred()
        self._fault = fault

    def start(self) -> None:
        if self._fault is not None:
            raise self._fault
        self.events.append("start")

    def signal(self, number: int) -> None:
        self.events.append(signal.Signals(number).name)

    def suspend(self) -> None:
        self.events.append("suspend")


class FakeRegistration:
    """
    A registration whose outcomes a test gives.
    """

    def __init__(self, events: list[str]) -> None:
        self.events = events
        self.kept: Deferred[None] = Deferred()
        self.removals: list[Deferred[Removal]] = []

    def keep(self) -> Deferred[None]:
        self.events.append("register")
        return self.kept

    def remove(self, wait: float) -> Deferred[Removal]:
        self.events.append(f"remove {wait:g}")
        if self.removals and not self.removals[-1].called:
            self.removals[-1].cancel()
        self.removals.append(Deferred())
        return self.removals[-1]


class SupervisionCase(SynchronousTestCase):
    def supervise(
        self, *, child: bool = True, ready: float | None = None, fault: OSError | None = None
    ) -> None:
        """Start a server."""
        self.clock = Clock()
        self.events: list[str] = []
        self.said: list[str] = []
        self.child = FakeChild(self.events, fault)
        self.registration = FakeRegistration(self.events)
        self.ready: Deferred[None] = Deferred()
        self.supervision = Supervision(
            self.child if child else None,
            self.registration,
            lambda: self.ready,
            self.clock,
            Patience(8, ready),
            frozenset({TERM, INT}),
            self.said.append,
        )
        self.done = self.supervision.run()

    def serving(self, **more: Any) -> None:
        """Start one that is registered."""
        self.supervise(**more)
        self.ready.callback(None)
        self.assertIs(self.supervision.phase, Phase.SERVING)
        self.events.clear()

    def removed(self, removal: Removal = Removal.DRAINED) -> None:
        """Let the removal end."""
        self.registration.removals[-1].callback(removal)

    def ends(self, status: int) -> None:
        """Let the process end, and its removal with it."""
        self.child.ended.callback(status)
        self.removed()


class StartTests(SupervisionCase):
    def test_registered_once_it_accepts(self) -> None:
        self.supervise()
        self.assertEqual(self.events, ["start"])
        self.clock.advance(1000)
        self.ready.callback(None)
        self.assertEqual(self.events, ["start", "register"])

    def test_cannot_be_executed(self) -> None:
        """
        The statuses are a shell's, and nothing is registered.
        """
        for fault, status in (
            (FileNotFoundError(2, "No such file or directory", "x"), 127),
            (PermissionError(13, "Permission denied", "x"), 126),
            (OSError(8, "Exec format error", "x"), 126),
        ):
            self.supervise(fault=fault)
            self.assertEqual(self.successResultOf(self.done), status)
            self.assertEqual(self.events, [])
            self.assertIn(fault.strerror, self.said[0])

    def test_never_ready(self) -> None:
        """
        With a time limit it is ended, and killed if need be.
        """
        self.supervise(ready=30)
        self.clock.advance(30)
        self.assertEqual(self.events, ["start", "SIGTERM"])
        self.clock.advance(10)
        self.assertEqual(self.events, ["start", "SIGTERM", "SIGKILL"])
        self.ends(137)
        self.assertEqual(self.successResultOf(self.done), 7)

    def test_refused(self) -> None:
        for status, expected in ((400, 1), (409, 5)):
            self.serving()
            self.registration.kept.errback(CallRefused(f"{status} no", status))
            self.assertEqual(self.events, ["SIGTERM"])
            self.ends(0)
            self.assertEqual(self.successResultOf(self.done), expected)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ends_before_it_accepts(self) -> None:
        self.supervise()
        self.ends(1)
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertNotIn("register", self.events)


class StopTests(SupervisionCase):
    def test_leaves_the_pool_first(self) -> None:
        for number in (TERM, INT):
            self.serving()
            self.supervision.signalled(number)
            self.assertEqual(self.events, ["remove 8"])
            self.assertIs(self.supervision.phase, Phase.DRAINING)
            self.removed()
            self.assertEqual(self.events, ["remove 8", number.name])
            self.ends(0)
            self.assertEqual(self.successResultOf(self.done), 0)

    def test_goes_on_all_the_same(self) -> None:
        for removal in (Removal.UNREACHABLE, Removal.NOT_DRAINED, Removal.REFUSED):
            self.serving()
            self.supervision.signalled(TERM)
            self.removed(removal)
            self.assertEqual(self.events[-1], "SIGTERM")

    def test_second(self) -> None:
        """
        A second signal is passed at once, and the end of the removal passes none.
        """
        self.serving()
        self.supervision.signalled(TERM)
        self.supervision.signalled(INT)
        self.assertEqual(self.events, ["remove 8", "SIGINT"])
        self.removed()
        self.assertEqual(self.events, ["remove 8", "SIGINT"])
        self.supervision.signalled(TERM)
        self.assertEqual(self.events[2:], ["SIGTERM"])

    def test_before_it_accepts(self) -> None:
        """
        Nothing is registered yet, so there is nothing to wait for.
        """
        self.supervise()
        self.supervision.signalled(TERM)
        self.assertEqual(self.events, ["start", "SIGTERM"])
        self.ends(143)
        self.assertEqual(self.successResultOf(self.done), 143)

    def test_others_are_passed_on(self) -> None:
        self.serving()
        for number in (HUP, QUIT, signal.SIGUSR1, signal.SIGWINCH):
            self.supervision.signalled(number)
        self.assertEqual(self.events, ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGWINCH"])
        self.supervision.signalled(TERM)
        self.supervision.signalled(HUP)
        self.assertEqual(self.events[4:], ["remove 8", "SIGHUP"])
        self.assertIs(self.supervision.phase, Phase.DRAINING)

    def test_suspended(self) -> None:
        self.serving()
        self.supervision.signalled(signal.SIGTSTP)
        self.assertEqual(self.events, ["suspend"])

    def test_ends_by_itself(self) -> None:
        self.serving()
        self.child.ended.callback(139)
        self.assertEqual(self.events, ["remove 0"])
        self.assertNoResult(self.done)
        self.removed(Removal.UNREACHABLE)
        self.assertEqual(self.successResultOf(self.done), 139)

    def test_ends_while_it_leaves(self) -> None:
        """
        The wait for requests in flight ends with the process that would answer them.
        """
        self.serving()
        self.supervision.signalled(TERM)
        self.ends(2)
        self.assertEqual(self.events, ["remove 8", "remove 0"])
        self.assertEqual(self.successResultOf(self.done), 2)

    def test_a_fault_of_ours(self) -> None:
        """
        The process gets its signal all the same, and the status is told.
        """
        self.serving()
        self.supervision.signalled(TERM)
        self.registration.removals[-1].errback(ValueError("fault"))
        self.assertEqual(self.events[-1], "SIGTERM")
        self.ends(0)
        self.assertEqual(self.successResultOf(self.done), 0)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_cancelled_keeping(self) -> None:
        self.serving()
        self.supervision.signalled(TERM)
        self.registration.kept.errback(CancelledError())
        self.assertIs(self.supervision.phase, Phase.DRAINING)

    def test_repr(self) -> None:
        self.serving()
        self.assertEqual(repr(self.supervision), "<Supervision serving>")


class WithoutCommandTests(SupervisionCase):
    def test_leaves_the_pool(self) -> None:
        for removal, status in (
            (Removal.DRAINED, 0),
            (Removal.NOT_DRAINED, 6),
            (Removal.UNREACHABLE, 3),
        ):
            self.serving(child=False)
            self.supervision.signalled(HUP)
            self.supervision.signalled(TERM)
            self.removed(removal)
            self.assertEqual(self.successResultOf(self.done), status)
            self.assertEqual(self.events, ["remove 8"])

    def test_second(self) -> None:
        self.serving(child=False)
        self.supervision.signalled(TERM)
        self.supervision.signalled(TERM)
        self.assertEqual(self.successResultOf(self.done), 143)
        self.removed()

    def test_before_it_accepts(self) -> None:
        self.supervise(child=False)
        self.supervision.signalled(INT)
        self.assertEqual(self.successResultOf(self.done), 130)

    def test_refused(self) -> None:
        self.serving(child=False)
        self.registration.kept.errback(CallRefused("401 token", 401))
        self.assertEqual(self.successResultOf(self.done), 1)
