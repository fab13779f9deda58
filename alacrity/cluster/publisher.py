"""
The effects of steps on this node: the pool that it shows, the proposals that end, whether it
leads.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from alacrity.cluster.format_raise import FormatRaise
from alacrity.cluster.leadership import Leadership
from alacrity.cluster.machine import PoolMachine
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
from alacrity.cluster.status import CatchUp, LeaderlessTime
from alacrity.pool import Outcome, PoolView


class Publisher:
    """
    Shows what steps bring forth, see L{StepClient <alacrity.cluster.steps.StepClient>}. No
    result holds a state: there may be as many as entries.

    @ivar leadership: whether this node leads, as it is told.
    @ivar catch_up: whether it has caught up.
    @ivar leaderless: for how long there was no leader.
    @ivar remembers: whether it started with the log of an earlier run.
    """

    def __init__(
        self,
        machine: PoolMachine,
        view: PoolView,
        proposals: Proposals,
        stepper: Stepper,
        format_raise: FormatRaise,
        clock: IReactorTime,
    ) -> None:
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
        self._clock = clock
        self._takes_part = False

    # Life

    def log_replayed(self) -> None:
        """
        Note that the log is replayed, and connections are made now.
        """
        self._takes_part = True
        self.remembers = self._engine.applied_index > FIRST_INDEX
        self.leaderless.begin(self._clock.seconds())

    def leave_service(self, reason: str) -> None:
        """
        Take no part in the cluster any more, or for a while: nobody is answered.
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
        Take the proposals that are to be made in this step.
        """
        return self._proposals.take_due(self._stepper.route)

    def release(self, effects: StepEffects) -> None:
        """
        Let a step take effect: it is on disk.
        """
        self.show(effects.results)
        self.catch_up.look(self._engine)
        self.leadership.tell(self._engine.is_leader and self._takes_part)
        if self.leadership.is_leader:
            self._format_raise.maybe_propose(self._engine.version_of_all)

    def step_over(self) -> None:
        """
        Look for a leader, once a step is on disk and released.
        """
        self.leaderless.look(self._clock.seconds(), has_quorum=self._engine.has_quorum)

    def show(self, results: tuple[StepResult, ...]) -> None:
        """
        Show the results of a step. Whoever is answered, reads what it is answered.
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
        Show another pool altogether.
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
        End the proposals that a snapshot contains.
        """
        for request_id in self._proposals.ids:
            outcome = outcome_of(self._machine.state, request_id)
            if outcome is not None:
                self._proposals.resolve(request_id, outcome)
        # The others may be in the snapshot as well, where they leave no trace.
        self._proposals.send_again()


def _new_outcomes(results: Iterable[StepResult]) -> list[Outcome]:
    """
    The outcomes of the commands that were applied now, and not at some time before.
    """
    return [
        each.result.outcome
        for each in results
        if isinstance(each, CommandApplied)
        and isinstance(each.result, Applied)
        and each.result.outcome is not None
        and not each.result.repeated
    ]
