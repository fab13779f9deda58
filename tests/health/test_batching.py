"""
L{alacrity.health.batching}: changes of state, sent together.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.batching import (
    BATCH_SIZE,
    BATCHES_IN_FLIGHT,
    SINGLES_IN_FLIGHT,
    ProposalBatcher,
    Undecided,
)
from alacrity.pool import (
    Command,
    Deregister,
    Deregistered,
    Done,
    ExpireLease,
    GuardLimits,
    Judged,
    Outcome,
    Pool,
    Register,
    Report,
    Reported,
    ReviveLease,
    SpendGuard,
    Stale,
    State,
    TcpCheck,
    Unknown,
    Verdicts,
    apply,
)


def report(port: int, revision: int | None = None) -> Report:
    return Report(f"10.0.0.7:{port}", revision or port, State.UP, "connected", 2.0)


class ProposalBatcherTests(SynchronousTestCase):
    """
    With a log that decides when a test says so.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = Pool()
        for port in range(1, 2001):
            self.pool, _ = apply(self.pool, Register("10.0.0.7", port, TcpCheck(), 1, 1.0))
        self.together = True
        self.proposed: list[Command] = []
        self.deciding: list[Deferred[Outcome]] = []
        self.batcher = ProposalBatcher(self.propose, lambda: self.together, self.clock)

    def propose(self, command: Command) -> Deferred[Outcome]:
        self.proposed.append(command)
        self.deciding.append(Deferred())
        return self.deciding[-1]

    def decide(self) -> None:
        """
        Decide all that is proposed by now.
        """
        deciding, self.deciding = self.deciding, []
        for command, waiting in zip(self.proposed[-len(deciding) :], deciding, strict=True):
            self.pool, outcome = apply(self.pool, command)
            waiting.callback(outcome)

    def ask(self, *ports: int) -> list[Deferred[Outcome]]:
        return [self.batcher.propose(report(port)) for port in ports]

    def test_one_alone_goes_as_it_is_and_at_once(self) -> None:
        [asked] = self.ask(7)
        self.clock.advance(0)
        self.assertEqual(self.proposed, [report(7)])
        self.decide()
        self.assertIsInstance(self.successResultOf(asked), Reported)

    def test_those_of_a_moment_go_together(self) -> None:
        """
        Of one turn of the loop, or while the ones before are decided; each hears its own.
        """
        asked = self.ask(1, 2)
        asked.append(self.batcher.propose(report(3, revision=99)))
        asked.append(self.batcher.propose(report(9000)))
        asked.append(self.batcher.propose(Deregister("10.0.0.7:4", 2.0, "down", 4)))
        self.clock.advance(0)
        [command] = self.proposed
        assert isinstance(command, Verdicts)
        self.assertEqual(len(command.verdicts), 5)
        later = self.ask(5, 6, 7)
        self.clock.advance(1)
        self.assertEqual(len(self.proposed), 1)
        self.decide()
        kinds = [type(self.successResultOf(each)) for each in asked]
        self.assertEqual(kinds, [Reported, Reported, Stale, Unknown, Deregistered])
        self.assertEqual(self.proposed[1], Verdicts((report(5), report(6), report(7))))
        self.decide()
        servers = [getattr(self.successResultOf(each), "server", None) for each in later]
        self.assertEqual([each and each.port for each in servers], [5, 6, 7])

    def test_a_storm(self) -> None:
        """
        A storm is a few commands, of bounded size and number in flight, and in order.
        """
        asked = self.ask(*range(1, 2001))
        self.clock.advance(0)
        self.assertLessEqual(len(self.deciding), BATCHES_IN_FLIGHT)
        while self.deciding:
            self.decide()
        self.assertEqual(len(self.proposed), 2000 // BATCH_SIZE)
        ids: list[str] = []
        for command in self.proposed:
            assert isinstance(command, Verdicts)
            ids += [each.id for each in command.verdicts]
        self.assertEqual(ids, [report(port).id for port in range(1, 2001)])
        for each in asked:
            self.assertIsInstance(self.successResultOf(each), Reported)

    def test_one_by_one_while_not_all_understand(self) -> None:
        self.together = False
        asked = self.ask(*range(1, 501))
        self.clock.advance(0)
        self.assertEqual(len(self.deciding), SINGLES_IN_FLIGHT)
        while self.deciding:
            self.decide()
        self.assertEqual(self.proposed, [report(port) for port in range(1, 501)])
        for each in asked:
            self.assertIsInstance(self.successResultOf(each), Reported)

    def test_refused(self) -> None:
        """
        All of a command hear that it is; the next ones are proposed all the same.
        """
        asked = self.ask(1, 2)
        self.clock.advance(0)
        later = self.ask(3)
        self.deciding.pop().errback(ZeroDivisionError())
        for each in asked:
            self.failureResultOf(each, ZeroDivisionError)
        self.decide()
        self.assertIsInstance(self.successResultOf(later[0]), Reported)

    def test_what_became_of_it_is_forgotten(self) -> None:
        asked = self.ask(1, 2)
        self.clock.advance(0)
        self.deciding.pop().callback(Judged(()))
        for each in asked:
            self.failureResultOf(each, Undecided)

    def test_an_impatient_caller(self) -> None:
        asked: list[Any] = self.ask(1, 2)
        asked[0].cancel()
        self.failureResultOf(asked[0])
        self.clock.advance(0)
        self.decide()
        self.assertIsInstance(self.successResultOf(asked[1]), Reported)

    def test_what_is_no_verdict_goes_by_itself(self) -> None:
        first = self.batcher.propose(report(1))
        alone = self.batcher.propose(SpendGuard(1.0))
        self.assertEqual(self.proposed, [SpendGuard(1.0)])
        self.deciding[0].callback(Done())
        self.assertEqual(self.successResultOf(alone), Done())
        self.assertNoResult(first)
        self.clock.advance(0)
        self.assertEqual(len(self.proposed), 2)

    def test_verdicts_of_leases_go_together(self) -> None:
        limits = GuardLimits(0.2, 60.0)
        for port in (1, 2, 3):
            self.batcher.propose(ExpireLease(f"10.0.0.7:{port}", port, 1.0, limits))
        self.batcher.propose(ReviveLease("10.0.0.7:4", 4, 1.0))
        self.clock.advance(0)
        ((together),) = self.proposed
        assert isinstance(together, Verdicts)
        self.assertEqual(len(together.verdicts), 4)
