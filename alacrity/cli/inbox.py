"""
The signals that this process gets, kept until the reactor runs.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Final

STOP: Final = (signal.SIGTERM, signal.SIGINT)
"""Signals that stop the server: it leaves the pool before it gets the signal."""

PASSED_ON: Final = (
    *(signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGURG),
    *(
        getattr(signal, name)
        for name in ("SIGPWR", "SIGSTKFLT")
        if hasattr(signal, name)  # Linux has them.
    ),
    *(range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else ()),
)
"""Signals that are passed on as they are. The others concern this process alone: those that
report a fault in it or a limit that it reached, its children, its own pipes and its use of the
terminal."""


class SignalInbox:
    """
    Handles signals from the first moment on: the first process of a container would otherwise
    lose those that come before the reactor runs.
    """

    def __init__(self) -> None:
        self._pending: list[int] = []
        self._deliver: Callable[[int], object] = self._pending.append

    def install(self, numbers: Iterable[int]) -> None:
        """
        Handle signals, except those that this process was started to ignore (by C{nohup}, or by a
        shell for a process in the background); the child ignores these, too.
        """
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def deliver(self, to: Callable[[int], object]) -> None:
        """
        Deliver the signals from now on, and those that came before.

        @param to: called in the middle of whatever the main thread does.
        """
        self._deliver = to
        for number in self._pending:
            to(number)
        self._pending.clear()

    def reap(self, reap: Callable[[], object]) -> None:
        """
        Be told from now on that a process has ended; several ends may be told once.
        """
        signal.signal(signal.SIGCHLD, lambda number, frame: reap())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._deliver(number)
