"""
Tests for L{alacrity.process.signals}. Those with a real process are in L{tests.system.test_node}.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.process.signals import IGNORED, REOPEN, STOP, SignalPhase, Signals


class FakeReactor:
    """
    The part of a reactor that is used.
    """

    _exitSignal: int | None = None

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []
        self.stops = 0

    def callWhenRunning(self, call: Callable[[], object]) -> None:
        self.waiting.append(call)

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        self.waiting.append(lambda: call(*arguments))

    def run(self) -> None:
        """Make the calls that wait."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class SignalsTestCase(SynchronousTestCase):
    """
    Handles signals, and leaves this process's as they were.
    """

    def setUp(self) -> None:
        for number in (*STOP, *REOPEN, *IGNORED):
            self.addCleanup(signal.signal, number, signal.getsignal(number) or signal.SIG_DFL)
            signal.signal(number, signal.SIG_DFL)
        self.done: list[object] = []
        self.signals = Signals(
            self.done.append,
            lambda: self.done.append("end"),
            kill=lambda pid, number: self.done.append((pid, number)),
            leave=self.done.append,
        )
        self.reactor = FakeReactor()
        self.signals.install()

    def serve(self) -> None:
        """Have the reactor run."""
        self.signals.serve(self.reactor)
        # As a reactor does when it starts.
        signal.signal(signal.SIGTERM, lambda *_: None)
        self.reactor.run()

    def sent(self, number: int) -> list[str]:
        """The log's lines once a signal was sent to this process."""
        with capturedLogs() as events:
            signal.raise_signal(number)
            self.reactor.run()
        return [formatEvent(event) for event in events]


class HarmlessTests(SignalsTestCase):
    """
    Signals that do not stop a node.
    """

    def test_reopen(self) -> None:
        """
        Some open the log anew, at any time.
        """
        for begin in (lambda: None, self.serve, lambda: self.sent(signal.SIGTERM)):
            begin()
            del self.done[:]
            self.sent(signal.SIGHUP)
            self.sent(signal.SIGUSR1)
            self.assertEqual(self.done, ["SIGHUP", "SIGUSR1"])

    def test_reload(self) -> None:
        """
        SIGHUP alone has the node read again what may change, in the reactor, while it serves.
        """
        self.signals.on_hangup(lambda: self.done.append("reload"))
        self.sent(signal.SIGHUP)
        self.serve()
        self.sent(signal.SIGUSR1)
        self.assertEqual(self.done, ["SIGHUP", "SIGUSR1"])
        self.sent(signal.SIGHUP)
        self.assertEqual(self.done[2:], ["SIGHUP", "reload"])
        self.sent(signal.SIGTERM)
        del self.done[:]
        self.sent(signal.SIGHUP)
        self.assertEqual(self.done, ["SIGHUP"])

    def test_ignored(self) -> None:
        """
        All others that would end a process are ignored, with a line.
        """
        self.serve()
        self.assertEqual(self.sent(signal.SIGUSR2), ["SIGUSR2 is ignored"])
        self.assertEqual(
            self.sent(signal.SIGRTMIN + 1), [f"signal {signal.SIGRTMIN + 1} is ignored"]
        )
        for number in IGNORED:
            (line,) = self.sent(number)
            self.assertTrue(line.endswith(" is ignored"), line)
        self.assertEqual((self.done, self.reactor.stops), ([], 0))

    def test_left_alone(self) -> None:
        """
        Signals that do not end a process, or report a fault in it, keep their handlers.
        """
        for name in ("TSTP", "CONT", "WINCH", "CHLD", "PIPE", "SEGV", "ABRT", "URG", "XCPU"):
            number = getattr(signal, f"SIG{name}")
            self.assertIsNot(signal.getsignal(number), self.signals.handle)
            self.assertNotIn(number, (*STOP, *REOPEN, *IGNORED))

    def test_handled_elsewhere(self) -> None:
        """
        A handler of somebody else's stays, and what a shell had ignored stays ignored; but
        for SIGHUP, which nohup ignores for our own reason.
        """
        other: Any = lambda *_: None  # noqa: E731
        signal.signal(signal.SIGUSR2, other)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.signals.install()
        self.assertIs(signal.getsignal(signal.SIGUSR2), other)
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        self.assertIs(signal.getsignal(signal.SIGQUIT), signal.SIG_IGN)
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.signals.handle)


class StopTests(SignalsTestCase):
    """
    Signals that stop a node.
    """

    def test_first(self) -> None:
        """
        The first has the reactor stop, which drains. C{twistd} ends by the same signal
        then, but for one that would leave a core.
        """
        for number, ends_by in (
            (signal.SIGTERM, signal.SIGTERM),
            (signal.SIGINT, signal.SIGINT),
            (signal.SIGQUIT, None),
        ):
            self.setUp()
            self.serve()
            (line,) = self.sent(number)
            self.assertRegex(line, r"^SIG\w+: stopping; a second one ends this node at once$")
            self.assertEqual((self.reactor.stops, self.reactor._exitSignal), (1, ends_by))
            self.assertIs(self.signals.phase, SignalPhase.STOPPING)
            self.assertEqual(self.done, [])

    def test_second(self) -> None:
        """
        The second ends the process at once, whichever of them it is, without a turn of the
        reactor.
        """
        for first in STOP:
            for second, ends_by in (
                (signal.SIGTERM, signal.SIGTERM),
                (signal.SIGINT, signal.SIGINT),
                (signal.SIGQUIT, signal.SIGTERM),
            ):
                self.setUp()
                self.serve()
                self.sent(first)
                with capturedLogs() as events:
                    signal.raise_signal(second)
                (event,) = events
                self.assertEqual(
                    formatEvent(event),
                    f"{second.name}: ended at once; what was in flight is cut off",
                )
                self.assertEqual(self.done, ["end", (os.getpid(), ends_by), 128 + ends_by])
                self.assertIs(signal.getsignal(ends_by), signal.SIG_DFL)

    def test_before_it_serves(self) -> None:
        """
        Before there is a service, there is nothing to finish.
        """
        with capturedLogs() as events:
            signal.raise_signal(signal.SIGINT)
        (event,) = events
        self.assertEqual(formatEvent(event), "SIGINT: ended before it served")
        self.assertEqual(self.done, ["end", (os.getpid(), signal.SIGINT), 130])

    def test_before_it_runs(self) -> None:
        """
        One that comes before the reactor runs stops it in order, once it does.
        """
        self.signals.serve(self.reactor)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual((self.done, self.reactor.stops), ([], 0))
        self.reactor.run()
        self.assertEqual((self.done, self.reactor.stops), ([], 1))

    def test_stopping_already(self) -> None:
        """
        A first signal while the reactor stops for another reason does no harm.
        """
        self.serve()
        self.reactor.stop()
        self.sent(signal.SIGTERM)
        self.assertEqual(self.done, [])
