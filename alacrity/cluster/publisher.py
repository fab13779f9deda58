"""
What a step has applied, shown: to the view of the pool first, and then to those that wait
for an outcome.
"""

from __future__ import annotations

from collections.abc import Iterable

from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.proposals import Proposals
from alacrity.cluster.raft.step import (
    CommandApplied,
    CommandDenied,
    MembersChanged,
    StateRestored,
    StepResult,
)
from alacrity.cluster.state import Applied, Expired, outcome_of
from alacrity.pool import Outcome, PoolView


class Publisher:
    """
    Shows results. None of them holds a state: there may be as many as entries.
    """

    def __init__(self, machine: PoolMachine, view: PoolView, proposals: Proposals) -> None:
        self._machine = machine
        self._view = view
        self._proposals = proposals

    def show(self, results: Iterable[StepResult]) -> None:
        """
        Show the results of a step. Whoever is answered, reads what it is answered.
        """
        results = list(results)
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
