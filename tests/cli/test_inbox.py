"""
L{alacrity.cli.inbox}: signals before and after there is somebody to tell.
"""

from __future__ import annotations

import signal

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cli.inbox import PASSED_ON, STOP, SignalInbox


class InboxTests(SynchronousTestCase):
    def restored(self, number: int) -> None:
        """Have the handler of a signal be put back."""
        self.addCleanup(signal.signal, number, signal.getsignal(number))

    def test_kept_until_there_is_somebody(self) -> None:
        self.restored(signal.SIGUSR1)
        inbox, got = SignalInbox(), list[int]()
        inbox.install([signal.SIGUSR1])
        signal.raise_signal(signal.SIGUSR1)
        inbox.deliver(got.append)
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(got, [signal.SIGUSR1] * 2)

    def test_ignored_signals_stay_ignored(self) -> None:
        """
        C{nohup} is not undone.
        """
        self.restored(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        SignalInbox().install([signal.SIGHUP])
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def test_what_is_not_passed_on(self) -> None:
        """
        Faults of this process, its children, pipes and terminal are its own.
        """
        for number in (
            *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT),
            *(signal.SIGCHLD, signal.SIGPIPE, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT),
            *(signal.SIGTSTP, signal.SIGTRAP, signal.SIGSYS, signal.SIGXCPU, signal.SIGKILL),
        ):
            self.assertNotIn(number, {*PASSED_ON, *STOP})
