"""
The effects of steps on this node: the visible pool, the outcomes of proposals, and the
leadership.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime

from alacrity.cluster.format_raise import FormatRaise
from alacrity.cluster.leadership import Leadership
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.moving import AddressWatch
from alacrity.cluster.naming import ClusterNaming
from alacrity.cluster.proposals import Proposals
from alacrity.cluster.raft.effects import (
    CommandApplied,
    CommandDenied,
    MembersChanged,
    StateRestored,
    StepEffects,
    StepResult,
)
from alacrity.cluster.raft.membership import FIRST_INDEX
from alacrity.cluster.raft.step import Stepper
from alacrity.cluster.state import Applied, Expired, outcome_of
from alacrity.cluster.status import AdviceLog, CatchUp, LeaderlessTime
from alacrity.pool import Outcome, PoolView


class Publisher:
    """
    Makes the results of steps visible, see L{StepClient <alacrity.cluster.steps.StepClient>}.
    A result holds no state, because there may be as many results as entries.

    @ivar leadership: whether this node is the leader, for subscribers.
    @ivar catch_up: whether this node has caught up.
    @ivar leaderless: the time without a leader.
    @ivar remembers: whether this node started with the log of an earlier run.
    """

    def __init__(
        self,
        machine: PoolMachine,
        view: PoolView,
        proposals: Proposals,
        stepper: Stepper,
        format_raise: FormatRaise,
        naming: ClusterNaming,
        addresses: AddressWatch,
        clock: IReactorTime,
        advise: Callable[[], str | None],
    ) -> None:
        """
        @param advise: gives the advice to an operator, see L{ClusterStatus.advice
            <alacrity.cluster.status.ClusterStatus.advice>}.
        """
        self.leadership = Leadership()
        self.catch_up = CatchUp()
        self.leaderless = LeaderlessTime()
        self.remembers = False
        self._machine = machine
        self._view = view
        self._proposals = proposals
        self._stepper = stepper
        self._engine = stepper.engine
        self._format_raise = format_raise
        self._naming = naming
        self._addresses = addresses
        self._clock = clock
        self._advise = advise
        self._takes_part = False
        self._advice = AdviceLog()

    # Life

    def log_replayed(self) -> None:
        """
        Note that the log is replayed, and that connections are made from now on.
        """
        self._takes_part = True
        self.remembers = self._engine.applied_index > FIRST_INDEX
        self.leaderless.begin(self._clock.seconds())

    def leave_service(self, reason: str) -> None:
        """
        Take no part in the cluster, for a while or for good: all proposals fail.
        """
        self._takes_part = False
        self._proposals.fail_all(reason)
        self.leadership.tell(False)

    def resume_service(self) -> None:
        """
        Take part in the cluster again.
        """
        self._takes_part = True
        self._proposals.send_again()

    # Steps

    def take_proposals(self) -> list[tuple[str, bytes]]:
        """
        Take the proposals to send in this step.
        """
        return self._proposals.take_due(self._stepper.route)

    def release(self, effects: StepEffects) -> None:
        """
        Make a step visible: it is on disk.
        """
        self.show(effects.results)
        self.catch_up.look(self._engine)
        self._naming.look()
        self.leadership.tell(self._engine.is_leader and self._takes_part)
        if self.leadership.is_leader:
            self._format_raise.maybe_propose(self._engine.version_of_all)
            self._naming.maybe_propose(self._engine.all_heard)
            self._addresses.maybe_propose(self._engine.settled_configuration)

    def step_over(self) -> None:
        """
        Count the time without a leader. Called after each step, when it is on disk and
        released.
        """
        self.leaderless.look(self._clock.seconds(), has_quorum=self._engine.has_quorum)
        self._advice.look(self.leaderless.seconds, self._advise)

    def show(self, results: tuple[StepResult, ...]) -> None:
        """
        Show the results of a step. The pool is shown before proposals end, so that a caller
        can read the change that it has made.
        """
        if not results:
            return
        if any(isinstance(each, StateRestored) for each in results):
            self.replace()
        elif outcomes := _new_outcomes(results):
            self._view.advance(self._machine.state.pool, *outcomes)
        for each in results:
            self._end_proposal(each)

    def replace(self) -> None:
        """
        Show the pool of a restored state.
        """
        self._view.replace(self._machine.state.pool)

    def _end_proposal(self, result: StepResult) -> None:
        proposals = self._proposals
        match result:
            case CommandApplied(Applied(request_id, outcome)):
                proposals.resolve(request_id, outcome)
            case CommandApplied(Expired(request_id)):
                proposals.expire(request_id)
            case MembersChanged(request_id):
                proposals.resolve(request_id, None)
            case CommandDenied(request_id, reason, final):
                proposals.denied(request_id, reason, final=final)
            case StateRestored():
                self._end_restored()

    def _end_restored(self) -> None:
        """
        End the proposals whose commands are contained in a restored snapshot.
        """
        for request_id in self._proposals.ids:
            outcome = outcome_of(self._machine.state, request_id)
            if outcome is not None:
                self._proposals.resolve(request_id, outcome)
        # The other commands may be contained in the snapshot too, without a trace there.
        self._proposals.send_again()


def _new_outcomes(results: Iterable[StepResult]) -> list[Outcome]:
    """
    The outcomes of the commands that were applied now, without repetitions of earlier ones.
    """
    return [
        each.result.outcome
        for each in results
        if isinstance(each, CommandApplied)
        and isinstance(each.result, Applied)
        and each.result.outcome is not None
        and not each.result.repeated
    ]
