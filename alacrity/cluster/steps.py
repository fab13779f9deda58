"""
The steps of a replica: from the inbox to the engine, to the disk, to the outbox.

A step takes the waiting mail, ticks and proposals. A thread syncs its changes to disk. Then its
messages leave the node, and the commands that it has applied become visible. Meanwhile the next
mail is queued, so that many proposals share one write. No crash can undo what anybody has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.cluster.heartbeats import Heartbeats
from alacrity.cluster.inbox import Inbox
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.notes import Notes
from alacrity.cluster.outbox import Outbox
from alacrity.cluster.raft.effects import StepEffects, StepResult
from alacrity.cluster.raft.mail import Connections, LogCompacted
from alacrity.cluster.raft.step import Stepper
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.cluster.wire.greeting import Greeting

RunInThread: TypeAlias = Callable[[Callable[[], object]], Deferred[Any]]
"""Calls a function in a thread, where it may block; fires with its result."""

_STALL: Final = 0.1
"""Seconds by which a tick must be late to count as a stall of this process."""

_CHECK_INTERVAL: Final = 1.0
"""Seconds without a write after which the log's file is looked for."""

_MOST_MAIL: Final = 64
"""Pieces of mail that one step takes at most, so that its sync is not delayed without limit."""


class NodeTransport(Protocol):
    """
    The methods of the transport that PySyncObj's interface lacks.
    """

    def start(self) -> Deferred[None] | None:
        """Start to listen and to connect."""

    def stop(self) -> Deferred[None] | None:
        """Close all connections, and make and accept no new ones until started again."""

    def last_contact(self, name: str) -> float | None:
        """Seconds since a peer was last heard; L{None}: it never was."""

    def greeting(self, name: str) -> Greeting | None:
        """The last greeting of a connected peer; L{None}: it has not greeted."""

    def fault(self, name: str) -> str | None:
        """The reason why there is no connection with a peer; L{None}: none is known."""

    def refused(self) -> dict[str, str]:
        """The reasons why nodes that are no peers were refused lately, by their names."""

    def greet_again(self) -> None:
        """Tell all connected peers what has changed in this node's greeting."""


class StepPhase(Enum):
    """
    Phases of a replica's part in the cluster::

        NEW -> RUNNING <-> SUSPENDED
               RUNNING, SUSPENDED -> HALTED
               any -> STOPPED
    """

    NEW = "new"
    RUNNING = "running"
    SUSPENDED = "suspended"
    """The disk cannot be written; the node tries again."""
    HALTED = "halted"
    """An operator has to repair the node."""
    STOPPED = "stopped"


class StepClient(Protocol):
    """
    The source of proposals, and the receiver of results.
    """

    def log_replayed(self) -> None:
        """Note that the log is replayed, and that connections are made from now on."""

    def take_proposals(self) -> Iterable[tuple[str, bytes]]:
        """Take the proposals to send in this step."""

    def show(self, results: tuple[StepResult, ...]) -> None:
        """Show the applied commands, and end their proposals."""

    def release(self, effects: StepEffects) -> None:
        """Make a step visible: it is on disk."""

    def step_over(self) -> None:
        """Called after each step, when it is on disk and released."""

    def leave_service(self, reason: str) -> None:
        """Take no part in the cluster, for a while or for good."""

    def resume_service(self) -> None:
        """Take part in the cluster again."""


class Steps:
    """
    Runs the steps, one at a time, and handles failures of the disk.

    @ivar phase: the phase of this node's part in the cluster.
    @ivar suspension: the reason why this node takes no part until its disk can be written;
        L{None}: it is not suspended.
    @ivar inbox: the mail for the next step.
    """

    _log = Logger()

    def __init__(
        self,
        stepper: Stepper,
        storage: Storage,
        transport: Any,
        connections: Connections,
        notes: Notes,
        client: StepClient,
        clock: IReactorTime,
        run_in_thread: RunInThread,
        settings: ReplicaSettings,
    ) -> None:
        """
        @param transport: a L{NodeTransport} that is a L{Transport} of PySyncObj's.
        @param notes: are given the messages that are notes.
        """
        self.phase = StepPhase.NEW
        self.suspension: str | None = None
        self.inbox = Inbox(transport, connections, notes, self.wake)
        self._stepper = stepper
        self._storage = storage
        self._transport = transport
        self._client = client
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._settings = settings
        self._outbox = Outbox(transport, connections)
        self._heartbeats = Heartbeats(self._outbox, settings.timing)
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = clock
        self._ticked_at = 0.0
        # Whether a step is due, and which slow operations are in progress.
        self._due = False
        self._stepping = False
        self._compacting = False
        self._recovering = False
        self._checking = False
        self._checked_at = 0.0
        self._waiting: list[Deferred[None]] = []

    def __repr__(self) -> str:
        doing = " stepping" if self._stepping else ""
        return f"<Steps {self.phase.value}{doing} {self._stepper.engine}>"

    # Life

    async def start(self) -> None:
        """
        Take part in the cluster. The entries that were known to be committed when this node
        stopped are visible at once.
        """
        engine = self._stepper.engine
        self.phase = StepPhase.RUNNING
        self._stepper.replay(self._client.show)
        if engine.halted is not None:
            self._halt(self._stepper.take_effects().results)
            return
        self._client.log_replayed()
        effects = self._stepper.take_effects()
        self._client.show(effects.results)
        self._outbox.release(effects.traffic)
        self._ticked_at = self._checked_at = self._clock.seconds()
        await maybeDeferred(self._transport.start)
        if self.phase is StepPhase.RUNNING:
            self._ticks.start(self._settings.tick)

    async def stop(self) -> None:
        """
        Take no part in the cluster any more.
        """
        self.phase = StepPhase.STOPPED
        if self._ticks.running:
            self._ticks.stop()
        self._client.leave_service("this node stops")
        await maybeDeferred(self._transport.stop)
        while self._stepping or self._compacting or self._recovering or self._checking:
            over: Deferred[None] = Deferred()
            self._waiting.append(over)
            await over
        await self._run_in_thread(self._storage.close)

    def wake(self) -> None:
        """
        Run a step now, or after the one that is running.
        """
        self._due = True
        if not self._stepping and self.phase is StepPhase.RUNNING:
            self._stepping = True
            Deferred.fromCoroutine(self._run()).addErrback(self.fail)

    # Steps

    def _tick(self) -> None:
        """
        Run one tick. After a stall of this process, the time of the stall does not count as
        silence of the peers: their messages have come in meanwhile, and are handled next.
        """
        now = self._clock.seconds()
        stalled = now - self._ticked_at - self._settings.tick
        self._ticked_at = now
        if stalled > _STALL:
            self._stepper.engine.discount_stall(stalled)
        self._heartbeats.send_due(now)
        if now - self._checked_at >= _CHECK_INTERVAL and not self._checking:
            self._checking = True
            Deferred.fromCoroutine(self._check_file()).addErrback(self.fail)
        self.wake()

    async def _run(self) -> None:
        raft = self._stepper.engine.raft
        try:
            while self._due and self.phase is StepPhase.RUNNING:
                self._due = False
                effects = self._stepper.step(
                    self.inbox.take(_MOST_MAIL), self._client.take_proposals
                )
                if effects.snapshot is not None:
                    self._compact(effects.snapshot)
                if raft.halted is not None:
                    self._halt(effects.results)
                    break
                if effects.persist and not await self._persist(effects):
                    break
                self._release(effects)
                self._client.step_over()
                if raft.applied_index < raft.commit_index or self.inbox:
                    # More work is left for another step. Other events come first.
                    self._due = True
                    await deferLater(self._clock, 0)
        finally:
            self._stepping = False
            self._tell_waiting()

    async def _persist(self, effects: StepEffects) -> bool:
        """
        Sync a step to disk.

        @return: whether the step is on disk; if not, this node is suspended.
        """
        self._heartbeats.begin(self._clock.seconds())
        try:
            await self._run_in_thread(self._storage.sync)
        except OSError as error:
            self._suspend(error, effects)
            return False
        finally:
            self._heartbeats.end()
        self._checked_at = self._clock.seconds()
        return True

    async def _check_file(self) -> None:
        """
        Check that the log's file is still there, when nothing was written for a while: each
        write checks that itself.
        """
        try:
            await self._run_in_thread(self._storage.check)
        except OSError as error:
            # A step that is running finds out by itself, when it is persisted.
            if not self._stepping and self.phase is StepPhase.RUNNING:
                self._suspend(error, StepEffects(persist=False))
        finally:
            self._checked_at = self._clock.seconds()
            self._checking = False
            self._tell_waiting()

    def _release(self, effects: StepEffects) -> None:
        effects = self._stepper.complete(effects)
        if self.phase is StepPhase.HALTED:
            effects = effects.without_messages()
        self._outbox.release(effects.traffic)
        self._heartbeats.allow(effects.heartbeats)
        self._client.release(effects)

    def _tell_waiting(self) -> None:
        """
        Wake L{stop}, which may wait for the end of an operation.
        """
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    # Compaction

    def _compact(self, snapshot: Snapshot) -> None:
        if not self._compacting:
            self._compacting = True
            Deferred.fromCoroutine(self._write_compacted(snapshot)).addErrback(self.fail)

    async def _write_compacted(self, snapshot: Snapshot) -> None:
        try:
            rewrite = self._storage.prepare(snapshot)
            await self._run_in_thread(rewrite.write)
        except OSError as error:
            self._log.warn(
                "the log cannot be compacted: {fault}", fault=error.strerror or str(error)
            )
        else:
            if self.phase is not StepPhase.STOPPED:
                self.inbox.put(LogCompacted(rewrite))
        finally:
            self._compacting = False
            self._tell_waiting()

    # Faults

    def _suspend(self, error: OSError, effects: StepEffects) -> None:
        """
        Take no part until the disk can be written again. The changes in memory may not be on
        disk, so nothing that depends on them may leave the node.
        """
        reason = f"this node cannot write its log: {error.strerror or error}"
        self._log.error("{reason}; it takes no part in the cluster", reason=reason)
        if self.phase is not StepPhase.RUNNING:
            return  # It does not take part any more, nor will.
        self.phase = StepPhase.SUSPENDED
        self.suspension = reason
        self._client.leave_service(reason)
        self._recovering = True
        held = self._stepper.complete(effects).without_messages()
        Deferred.fromCoroutine(self._recover(held)).addErrback(self.fail)

    async def _recover(self, held: StepEffects) -> None:
        try:
            await maybeDeferred(self._transport.stop)
            await self._rewrite()
        finally:
            self._recovering = False
            self._tell_waiting()
        if self.phase is not StepPhase.SUSPENDED:
            return
        self.suspension = None
        self.phase = StepPhase.RUNNING
        self._log.info("this node can write its log again, and takes part in the cluster")
        self._client.resume_service()
        self._release(held)
        await maybeDeferred(self._transport.start)
        self.wake()

    async def _rewrite(self) -> None:
        while self.phase is StepPhase.SUSPENDED:
            await deferLater(self._clock, self._settings.recovery)
            try:
                await self._run_in_thread(self._storage.rewrite)
            except OSError:
                continue
            return

    def _halt(self, results: tuple[StepResult, ...]) -> None:
        """
        Take no part until an operator has repaired this node. The commands that were applied
        before are shown.
        """
        reason = str(self._stepper.engine.halted)
        if self.phase is not StepPhase.STOPPED:
            self.phase = StepPhase.HALTED
        self._log.error(
            "this node stops serving the cluster, and continues with the pool it has: {reason}",
            reason=reason,
        )
        self._client.show(results)
        self._client.leave_service(reason)
        if self._ticks.running:
            self._ticks.stop()
        maybeDeferred(self._transport.stop).addErrback(self.fail)

    def fail(self, failure: Failure) -> None:
        """
        Halt the replica after a fault of the program: a node that takes no part is better than
        one that may corrupt the log.
        """
        self._log.failure("the replica has failed", failure=failure)
        engine = self._stepper.engine
        if engine.halted is None:
            engine.halt(f"this node has failed: {failure.getErrorMessage()}")
            self._halt(self._stepper.take_effects().results)
