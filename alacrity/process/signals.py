"""
Signal handling. No signal ends a node that serves without a drain, except a second one that
asks it to stop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any, Final

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Signals that stop the node after a drain; the second ends it at once. SIGQUIT is nginx's."""

REOPEN: Final = (signal.SIGHUP, signal.SIGUSR1)
"""Signals that reopen the log's file. SIGHUP also has the node read again what may change."""

IGNORED: Final = (
    *(
        getattr(signal, name)
        for name in (
            *("SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF"),
            *("SIGIO", "SIGPWR", "SIGSTKFLT"),
        )
        if hasattr(signal, name)
    ),
    *(range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else ()),
)
"""All others that would end the process, except those that report a fault in it."""


class SignalPhase(Enum):
    """
    The life of a process as signals see it: without a reactor, with one that runs or is about
    to, or asked to stop.
    """

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


class Signals:
    """
    The signal handlers of the process. They run in the middle of whatever the main thread
    does, also when the reactor does not run yet, or is blocked.

    @ivar phase: before L{serve}, and from the first signal that asks it to stop, a signal
        that does ends the process at once.
    """

    _log = Logger()

    def __init__(
        self,
        reopen: Callable[[str], None],
        end: Callable[[], None],
        *,
        kill: Callable[[int, int], object] = os.kill,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        """
        @param reopen: reopens the log; it is given the signal's name.
        @param end: tidies up before the process ends at once.
        @param kill: sends a signal to a process.
        @param leave: ends this process with a status.
        """
        self._reopen = reopen
        self._end = end
        self._kill = kill
        self._leave = leave
        self._reactor: Any = None
        self._reload: Callable[[], object] | None = None
        self.phase = SignalPhase.STARTING

    def install(self) -> None:
        """
        Install handlers for all signals that have none, except those that a shell lets a
        background process ignore.
        """
        for number in (*STOP, *REOPEN, *IGNORED):
            handler = signal.getsignal(number)
            usual = handler in {signal.SIG_DFL, signal.default_int_handler}
            # nohup ignores SIGHUP, to the same end.
            if usual or (handler is signal.SIG_IGN and number in REOPEN):
                signal.signal(number, self.handle)

    def serve(self, reactor: Any) -> None:
        """
        Let signals stop a reactor from now on; one that does not run yet, once it does.
        """
        self._reactor = reactor
        self.phase = SignalPhase.SERVING
        # The reactor puts a handler of its own there, which fails the second time.
        reactor.callWhenRunning(lambda: signal.signal(signal.SIGTERM, self.handle))

    def on_hangup(self, reload: Callable[[], object]) -> None:
        """
        Have a function called in the reactor at each SIGHUP, while the node serves.
        """
        self._reload = reload

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """
        Handle a signal.
        """
        name = _name(number)
        if number in REOPEN:
            self._reopen(name)
            serves = self.phase is SignalPhase.SERVING
            if number == signal.SIGHUP and serves and self._reload is not None:
                self._reactor.callFromThread(self._reload)
        elif number not in STOP:
            self._log.info("{signal} is ignored", signal=name)
        elif self.phase is SignalPhase.SERVING:
            self.phase = SignalPhase.STOPPING
            self._log.info("{signal}: stopping; a second one ends this node at once", signal=name)
            self._reactor.callFromThread(self._stop, number)
        else:
            self._end_at_once(number, name)

    def _stop(self, number: int) -> None:
        if number != signal.SIGQUIT:
            # twistd then ends by the same signal. SIGQUIT would leave a core.
            self._reactor._exitSignal = number  # noqa: SLF001
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # It stops already, for another reason.

    def _end_at_once(self, number: int, name: str) -> None:
        self._log.warn(
            "{signal}: ended at once; what was in flight is cut off"
            if self.phase is SignalPhase.STOPPING
            else "{signal}: ended before it served",
            signal=name,
        )
        self._end()
        number = signal.SIGTERM if number == signal.SIGQUIT else number
        signal.signal(number, signal.SIG_DFL)
        self._kill(os.getpid(), number)
        # The first process of a container is not ended by that.
        self._leave(128 + number)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
