"""
L{alacrity.pool.local}: a pool that is kept on this node's disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import LogLevel, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import (
    Command,
    Deregister,
    Deregistered,
    Outcome,
    Pool,
    PoolView,
    Register,
    Registered,
    Report,
    Reported,
    State,
    TcpCheck,
    Unknown,
)
from alacrity.pool.local import LocalLog, NotKept

ID = "10.0.0.7:1"


def register(port: int) -> Register:
    """
    The registration of a server.
    """
    return Register("10.0.0.7", port, TcpCheck(), weight=1, time=1.0)


class Disk:
    """
    Stands in for threads and a disk: writes end when the test says so.

    @ivar kept: the pools that were written.
    @ivar writing: the write under way.
    """

    def __init__(self) -> None:
        self.kept: list[Pool] = []
        self.begun = 0
        self.writing: tuple[Callable[[Pool], None], Pool, Deferred[None]] | None = None

    def save(self, pool: Pool) -> None:
        """
        Write a pool.
        """
        self.kept.append(pool)

    def run_in_thread(self, function: Callable[[Pool], None], pool: Pool) -> Deferred[None]:
        """
        Begin a write.
        """
        assert self.writing is None, "one at a time"
        done: Deferred[None] = Deferred()
        self.begun += 1
        self.writing = (function, pool, done)
        return done

    def end(self, error: Exception | None = None) -> None:
        """
        End the write under way.
        """
        assert self.writing is not None
        function, pool, done = self.writing
        self.writing = None
        if error is None:
            function(pool)
            done.callback(None)
        else:
            done.errback(error)


class LocalLogTests(SynchronousTestCase):
    """
    L{LocalLog}, with a slow disk.
    """

    def setUp(self) -> None:
        """
        An empty pool.
        """
        self.disk = Disk()
        self.view = PoolView()
        self.log = LocalLog(self.view, self.disk.save, self.disk.run_in_thread)

    def propose(self, command: Command) -> Deferred[Outcome]:
        """
        Propose a command.
        """
        return Deferred.fromCoroutine(self.log.propose(command))

    def test_applied_at_once_answered_when_kept(self) -> None:
        """
        The view changes at once; the outcome comes when it is on disk.
        """
        proposed = self.propose(register(1))
        self.assertEqual(list(self.view.pool.servers), [ID])
        self.assertNoResult(proposed)
        self.disk.end()
        self.assertIsInstance(self.successResultOf(proposed), Registered)
        self.assertEqual(self.disk.kept, [self.view.pool])

    def test_many_proposals_few_writes(self) -> None:
        """
        What is proposed during a write is covered by the next one, all together.
        """
        first = self.propose(register(1))
        others = [self.propose(register(port)) for port in range(2, 100)]
        self.disk.end()
        self.successResultOf(first)
        for other in others:
            self.assertNoResult(other)
        self.assertEqual(len(self.disk.kept[0].servers), 1)
        self.disk.end()
        for other in others:
            self.successResultOf(other)
        self.assertEqual(self.disk.kept[1:], [self.view.pool])
        self.assertIsNone(self.disk.writing)

    def test_nothing_to_write(self) -> None:
        """
        A command that changes no server costs no write.
        """
        proposed = self.propose(Deregister(ID, 1.0, "test"))
        self.assertEqual(self.successResultOf(proposed), Unknown(ID))
        self.assertEqual(self.disk.begun, 0)

    def test_nobody_waits_for_reports(self) -> None:
        """
        A report is answered at once, and written all the same.
        """
        self.propose(register(1))
        self.disk.end()
        reported = self.propose(Report(ID, 1, State.UP, "connected", 2.0))
        self.assertIsInstance(self.successResultOf(reported), Reported)
        self.disk.end()
        self.assertEqual(self.disk.kept[-1], self.view.pool)

    def test_failed_write(self) -> None:
        """
        Those whose commands were in it are told; it is logged once, until it works
        again.
        """
        full = OSError(28, "No space left on device")
        with capturedLogs() as logged:
            first = [self.propose(register(1))]
            second = [self.propose(register(port)) for port in (2, 3)]
            self.disk.end(full)
            self.failureResultOf(first[0], NotKept)
            self.disk.end(full)
            for proposed in second:
                self.failureResultOf(proposed, NotKept)
            third = self.propose(register(4))
            self.disk.end(full)
            self.failureResultOf(third, NotKept)
        self.assertIsNone(self.disk.writing)
        [event] = logged
        self.assertEqual(event["log_level"], LogLevel.error)
        self.assertIn("No space left on device", eventAsText(event))
        self.assertEqual(len(self.view.pool.servers), 4)

        with capturedLogs() as logged:
            again = self.propose(register(4))
            self.disk.end()
            self.successResultOf(again)
            fine = self.propose(register(5))
            self.disk.end()
            self.successResultOf(fine)
        self.assertEqual([event["log_level"] for event in logged], [LogLevel.info])
        self.assertEqual(self.disk.kept[-1], self.view.pool)

        with capturedLogs() as logged:
            worse = self.propose(register(6))
            self.disk.end(full)
            self.failureResultOf(worse, NotKept)
        self.assertEqual([event["log_level"] for event in logged], [LogLevel.error])

    def test_repeat_after_failure(self) -> None:
        """
        A command that comes to nothing the second time still waits for the disk.
        """
        self.propose(register(1))
        self.disk.end()
        with capturedLogs():
            removed = self.propose(Deregister(ID, 1.0, "test"))
            self.disk.end(OSError(5, "Input/output error"))
            self.failureResultOf(removed, NotKept)
            again = self.propose(Deregister(ID, 1.0, "test"))
            self.assertNoResult(again)
            self.disk.end()
        self.assertEqual(self.successResultOf(again), Unknown(ID))
        self.assertEqual(self.disk.kept[-1].servers, {})

    def test_failed_report(self) -> None:
        """
        A report that could not be written is written with the next proposal.
        """
        self.propose(register(1))
        self.disk.end()
        with capturedLogs():
            self.successResultOf(self.propose(Report(ID, 1, State.UP, "connected", 2.0)))
            self.disk.end(OSError(5, "Input/output error"))
            self.assertIsNone(self.disk.writing)
            self.propose(Report("nobody", 1, State.UP, "connected", 2.0))
            self.disk.end()
        self.assertEqual(self.disk.kept[-1].servers[ID].state, State.UP)

    def test_cancelled(self) -> None:
        """
        Who does not want to wait any longer harms no other, nor the write.
        """
        first, second = self.propose(register(1)), self.propose(register(2))
        first.cancel()
        second.cancel()
        third = self.propose(register(3))
        self.failureResultOf(first, CancelledError)
        self.failureResultOf(second, CancelledError)
        self.disk.end()
        self.disk.end()
        self.successResultOf(third)
        self.assertEqual(len(self.disk.kept[-1].servers), 3)

    def test_proposal_when_answered(self) -> None:
        """
        Who is answered may propose at once.
        """

        async def both() -> Outcome:
            await self.log.propose(register(1))
            return await self.log.propose(Deregister(ID, 2.0, "test"))

        outcome = Deferred.fromCoroutine(both())
        self.disk.end()
        self.assertNoResult(outcome)
        self.disk.end()
        self.assertIsInstance(self.successResultOf(outcome), Deregistered)

    def test_flush(self) -> None:
        """
        All that was proposed is on disk when it ends.
        """
        self.propose(register(1))
        self.propose(Report(ID, 1, State.UP, "connected", 2.0))
        flushed = Deferred.fromCoroutine(self.log.flush())
        self.disk.end()
        self.assertNoResult(flushed)
        self.disk.end()
        self.successResultOf(flushed)
        self.assertEqual(self.disk.kept[-1], self.view.pool)
        self.successResultOf(Deferred.fromCoroutine(self.log.flush()))
        self.assertEqual(self.disk.begun, 2)

    def test_flush_tries_again(self) -> None:
        """
        Should it fail, that is logged, and not raised.
        """
        with capturedLogs() as logged:
            lost = self.propose(register(1))
            self.disk.end(OSError(5, "Input/output error"))
            self.failureResultOf(lost, NotKept)
            flushed = Deferred.fromCoroutine(self.log.flush())
            self.disk.end(OSError(5, "Input/output error"))
            self.successResultOf(flushed)
        self.assertEqual(len(logged), 1)


class SynchronousLocalLogTests(SynchronousTestCase):
    """
    L{LocalLog}, with a disk that answers at once.
    """

    def test_kept_at_once(self) -> None:
        """
        Each proposal is written when it is made, also those that subscribers make.
        """
        kept: list[Pool] = []
        view = PoolView()

        def run(function: Callable[..., None], *args: Any) -> Deferred[None]:
            return maybeDeferred(function, *args)

        log = LocalLog(view, kept.append, run)

        def passes(change: Any) -> None:
            if change.after.state is State.PENDING:
                command = Report(ID, change.after.revision, State.UP, "connected", 2.0)
                self.successResultOf(Deferred.fromCoroutine(log.propose(command)))

        view.subscribe(passes)
        self.successResultOf(Deferred.fromCoroutine(log.propose(register(1))))
        self.assertEqual(kept[-1], view.pool)
        self.assertEqual(view.pool.servers[ID].state, State.UP)

    def test_save_raises(self) -> None:
        """
        A failure that comes at once is a failure like any other.
        """

        def full(_pool: Pool) -> None:
            raise OSError(28, "No space left on device")

        log = LocalLog(PoolView(), full, maybeDeferred)
        with capturedLogs() as logged:
            for port in (1, 2):
                proposed = Deferred.fromCoroutine(log.propose(register(port)))
                self.failureResultOf(proposed, NotKept)
        self.assertEqual(len(logged), 1)
