"""
The life of a registered server: its process and its registration, as signals and their ends
drive them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.cli.status import SIGNALLED, ExitStatus, status_of_refusal
from alacrity.client import CallRefused, Removal

KILL_AFTER: Final = 10.0
"""Seconds after which a process that this program has decided to end is killed, as nobody else
would do it."""


class Phase(Enum):
    """
    The life of a supervised server.
    """

    WAITING = "waiting"
    """Its port does not accept connections yet, and nothing is registered."""
    SERVING = "serving"
    """It is registered, or registers."""
    DRAINING = "draining"
    """It was asked to stop, and leaves the pool."""
    STOPPING = "stopping"
    """Its process has been told to end."""
    LEAVING = "leaving"
    """Its process has ended, and it leaves the pool."""
    ENDED = "ended"


_STARTED: Final = {Phase.WAITING, Phase.SERVING}


class Patience(msgspec.Struct, frozen=True):
    """
    The times for which things are waited for.

    @ivar drain: seconds for the requests in flight when the server is asked to stop.
    @ivar ready: seconds for the port to accept connections; L{None}: for as long as the process
        runs.
    """

    drain: float
    ready: float | None


class SupervisedProcess(Protocol):
    """
    L{Child<alacrity.cli.child.Child>}.
    """

    ended: Deferred[int]

    def start(self) -> None: ...

    def signal(self, number: int) -> None: ...

    def suspend(self) -> None: ...


class Kept(Protocol):
    """
    L{KeptRegistration<alacrity.client.kept.KeptRegistration>}.
    """

    def keep(self) -> Deferred[None]: ...

    def remove(self, wait: float) -> Deferred[Removal]: ...


class Supervision:
    """
    Starts a server's process, registers it once it accepts connections, and takes it out of the
    pool before it is told to stop.

    @ivar phase: where it is in its life.
    """

    _log = Logger()

    def __init__(
        self,
        child: SupervisedProcess | None,
        registration: Kept,
        ready: Callable[[], Deferred[None]],
        clock: IReactorTime,
        patience: Patience,
        stop_signals: frozenset[int],
        say: Callable[[str], None],
    ) -> None:
        """
        @param child: its process; L{None}: somebody else runs it.
        @param ready: waits until its port accepts connections.
        @param stop_signals: signals that it leaves the pool for, before they are passed on.
        @param say: prints a line for the user.
        """
        self._child = child
        self._registration = registration
        self._ready = ready
        self._clock = clock
        self._patience = patience
        self._stop_signals = stop_signals
        self._say = say
        self._done: Deferred[int] = Deferred()
        self._becoming_ready: Deferred[None] = succeed(None)
        self._given_up: ExitStatus | None = None
        self._killing: Any = None
        self.phase = Phase.WAITING

    def __repr__(self) -> str:
        return f"<Supervision {self.phase.value}>"

    def run(self) -> Deferred[int]:
        """
        Start it.

        @return: fires with the exit status of this program, once all has ended.
        """
        if self._child is not None:
            try:
                self._child.start()
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                self._say(f"cannot execute the command: {error.strerror}: {error.filename}")
                self.phase = Phase.ENDED
                return succeed(ExitStatus.NO_SUCH_COMMAND if missing else ExitStatus.CANNOT_EXECUTE)
            self._child.ended.addCallback(self._child_ended)
        self._becoming_ready = self._ready()
        if self._patience.ready is not None:
            self._becoming_ready.addTimeout(self._patience.ready, self._clock)
        self._becoming_ready.addCallbacks(self._is_ready, self._is_not_ready)
        return self._done

    def signalled(self, number: int) -> None:
        """
        Handle a signal that this program got.
        """
        if number == signal.SIGTSTP:
            if self._child is not None:
                self._child.suspend()
        elif number not in self._stop_signals:
            self._pass_on(number)
        elif self.phase is Phase.SERVING:
            self.phase = Phase.DRAINING
            name = signal.Signals(number).name
            self._say(
                f"{name}: leaving the pool, for up to {self._patience.drain:g} s; "
                "a second one ends this wait"
            )
            self._start(self._drain(number))
        else:
            self._stop(number)

    def _stop(self, number: int) -> None:
        """
        Tell the process to end; without one, end.
        """
        waited = self.phase in {Phase.WAITING, Phase.DRAINING}
        if self.phase is Phase.WAITING:
            self.phase = Phase.STOPPING
            self._becoming_ready.cancel()
        elif self.phase is Phase.DRAINING:
            self.phase = Phase.STOPPING
        self._pass_on(number)
        if self._child is None and waited:
            self._end(SIGNALLED + number)

    def _pass_on(self, number: int) -> None:
        if self._child is not None:
            self._child.signal(number)

    def _is_ready(self, _: None) -> None:
        if self.phase is not Phase.WAITING:
            return
        self.phase = Phase.SERVING
        self._registration.keep().addErrback(self._is_refused)

    def _is_not_ready(self, failure: Failure) -> None:
        if self.phase is not Phase.WAITING:
            return
        self._say(
            f"the port accepts no connections within {self._patience.ready:g} s: giving up"
            if self._patience.ready is not None and failure.check(TimeoutError)
            else f"cannot wait for the port: {failure.value}"
        )
        self._give_up(ExitStatus.UNHEALTHY)

    def _is_refused(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return  # It is being removed.
        if failure.check(CallRefused) is None:
            self._log.failure("the registration has failed", failure)
        if self.phase is not Phase.SERVING:
            return
        self._say(f"the registration is refused: {failure.value}")
        status = getattr(failure.value, "status", 500)
        self._give_up(status_of_refusal(status))

    def _give_up(self, status: ExitStatus) -> None:
        """
        End, without having been asked to.
        """
        self._given_up = status
        self.phase = Phase.STOPPING
        if self._child is None:
            self._end(status)
        else:
            self._child.signal(signal.SIGTERM)
            self._killing = self._clock.callLater(KILL_AFTER, self._child.signal, signal.SIGKILL)

    async def _drain(self, number: int) -> None:
        try:
            removal = await self._registration.remove(self._patience.drain)
        except CancelledError:
            return  # The process has ended meanwhile.
        if removal is Removal.DRAINED:
            self._say("left the pool; no request is in flight")
        elif removal is Removal.NOT_DRAINED:
            self._say("left the pool; requests may still be in flight")
        if self.phase is not Phase.DRAINING:
            return
        self.phase = Phase.STOPPING
        self._pass_on(number)
        if self._child is None:
            self._end(_STATUS_OF_REMOVAL[removal])

    def _child_ended(self, status: int) -> None:
        before, self.phase = self.phase, Phase.LEAVING
        if before is Phase.WAITING:
            self._becoming_ready.cancel()
        if before in _STARTED:
            self._say(f"the command has ended with status {status}")
        self._start(self._leave(status))

    async def _leave(self, status: int) -> None:
        """
        Leave the pool, which may have been done before.
        """
        await self._registration.remove(0.0)
        self._end(status if self._given_up is None else self._given_up)

    def _start(self, coroutine: Any) -> None:
        Deferred.fromCoroutine(coroutine).addErrback(self._has_failed)

    def _has_failed(self, failure: Failure) -> None:
        """
        Go on after a fault in this program, as if all had been done: the process must get its
        signal, and this program must end with it.
        """
        self._log.failure("leaving the pool has failed", failure)
        if self.phase is Phase.DRAINING:
            self.phase = Phase.STOPPING
            self._pass_on(signal.SIGTERM)
            if self._child is None:
                self._end(ExitStatus.REFUSED)
        elif self.phase is Phase.LEAVING:
            self._end(ExitStatus.REFUSED)

    def _end(self, status: int) -> None:
        if self.phase is not Phase.ENDED:
            self.phase = Phase.ENDED
            if self._killing is not None and self._killing.active():
                self._killing.cancel()
            self._done.callback(status)


_STATUS_OF_REMOVAL: Final = {
    Removal.DRAINED: ExitStatus.DONE,
    Removal.ABSENT: ExitStatus.DONE,
    Removal.NOT_DRAINED: ExitStatus.NOT_DRAINED,
    Removal.REFUSED: ExitStatus.REFUSED,
    Removal.UNREACHABLE: ExitStatus.UNREACHABLE,
}
