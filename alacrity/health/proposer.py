"""
Proposals of the changes that result from checks.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.health.checks.verdict import Verdict
from alacrity.health.doubts import DOWN, Conclusion, Doubts
from alacrity.health.faults import FaultLog
from alacrity.health.loss_guard import LossGuard
from alacrity.health.removals import PendingRemovals
from alacrity.health.watch import Watch
from alacrity.pool import (
    AdminState,
    Deregister,
    Deregistered,
    Kept,
    PoolView,
    Propose,
    Report,
    Server,
    State,
)


class StateProposer:
    """
    Proposes changes of state and removals, one at a time for each registration.

    @ivar in_flight: the proposals that are not decided. Each fires with L{None}.
    """

    def __init__(
        self,
        view: PoolView,
        propose: Propose,
        guard: LossGuard,
        *,
        has_format_2: Callable[[], bool],
        clock: IReactorTime,
        wall: Callable[[], float],
        log: Logger,
        faults: FaultLog,
        doubts: Doubts | None = None,
    ) -> None:
        """
        @param doubts: asks the other members about servers that fail; L{None}: they are not
            asked.
        @param guard: proposes removals, in format 2.
        @param clock: the clock of the L{Watch}.
        @param wall: gives the seconds since the epoch.
        """
        self.in_flight: set[Deferred[None]] = set()
        self._view = view
        self._propose = propose
        self._guard = guard
        self._has_format_2 = has_format_2
        self._clock = clock
        self._wall = wall
        self._log = log
        self._faults = faults
        self._doubts = doubts
        # Servers that fail, and about which the other members are being asked.
        self._in_doubt: set[Watch] = set()
        self._removals = PendingRemovals()
        self._proposing: set[Watch] = set()
        self._spared: set[Watch] = set()
        # When the removal of a server may be proposed again, after the guard has kept it.
        self._kept_until: dict[Watch, float] = {}

    def restart(self) -> None:
        """
        Start again, because this node has become the leader again.
        """
        self._removals.restart()
        self._guard.restart()

    def forget(self, watch: Watch) -> None:
        """
        Forget that a server was kept as the last one, and what was said of it, because its
        state has changed or it was removed. So it is logged again when the server is kept again.
        """
        self._spared.discard(watch)
        self._kept_until.pop(watch, None)
        if self._doubts is not None:
            self._doubts.forget(watch)

    def log_dispute(self, before: Server, after: Server) -> None:
        """
        Log that a server has come into dispute, or that this is over.
        """
        if after.condition.disputed == before.condition.disputed:
            return
        if after.condition.disputed:
            text = "server {server} is disputed: {reason}"
        else:
            text = "server {server} is not disputed any more: {reason}"
        self._log.warn(text, server=after.id, reason=after.reason)

    def conclude(self, watch: Watch, verdict: Verdict, now: float) -> None:
        """
        Propose the change that results from the outcomes so far, if there is one.

        @param verdict: the latest outcome.
        @param now: the time on the clock of the L{Watch}.
        """
        if watch in self._proposing:
            return
        server = watch.server
        wanted = watch.wanted
        if wanted is State.DOWN and not verdict.passed:
            self._ask_others(watch, verdict)
        elif wanted is not server.state or (server.condition.disputed and not watch.failed):
            self._report(watch, verdict, Conclusion(wanted))
        if watch not in self._proposing and wanted is server.state:
            self._remove_if_due(watch, verdict, now)

    def _ask_others(self, watch: Watch, verdict: Verdict) -> None:
        """
        Ask the other members about a server that fails its checks here, and propose what
        follows.
        """
        if self._doubts is None:
            if watch.server.state is not State.DOWN:
                self._report(watch, verdict, DOWN)
        elif watch not in self._in_doubt:
            self._in_doubt.add(watch)
            asking = self._doubts.ask(watch)
            asking.addCallback(self._concluded, watch, verdict)
            asking.addErrback(self._not_concluded, watch)

    def _concluded(self, conclusion: Conclusion | None, watch: Watch, verdict: Verdict) -> None:
        self._in_doubt.discard(watch)
        server = watch.server
        # Its checks go on while others are asked, and may pass by now.
        if conclusion is None or not watch.failed or watch.is_gone or watch in self._proposing:
            return
        if (conclusion.state, conclusion.disputed) != (server.state, server.condition.disputed):
            self._report(watch, verdict, conclusion)

    def _not_concluded(self, failure: Failure, watch: Watch) -> None:
        self._in_doubt.discard(watch)
        self._log.failure("the other nodes cannot be asked about servers", failure)

    def _report(self, watch: Watch, verdict: Verdict, conclusion: Conclusion) -> None:
        """
        Propose that a server is in a state.

        @param verdict: the latest outcome.
        """
        server, state = watch.server, conclusion.state
        self.begin(
            watch,
            Report(
                id=server.id,
                revision=server.revision,
                state=state,
                reason=verdict.reason + conclusion.remark,
                time=self._wall(),
                answered=(verdict.answered and state is State.DOWN and self._has_format_2()),
                disputed=conclusion.disputed,
            ),
        )

    def _remove_if_due(self, watch: Watch, verdict: Verdict, now: float) -> None:
        """
        Propose to remove a server that has been down for long.

        @param verdict: the latest outcome.
        @param now: the time on the clock of the L{Watch}.
        """
        server = watch.server
        limit = watch.deregister_after
        down = now - watch.down_since
        if server.condition.lease_expired or server.administration.state is not AdminState.READY:
            # The keeper of leases removes the one; with the other, an operator's decision would
            # be lost.
            return
        if server.state is State.DOWN and not verdict.passed and 0 < limit <= down:
            if now < self._kept_until.get(watch, now):
                return
            reason = f"down for {down:.0f} s: {verdict.reason}"
            if self._removals.would_empty(self._view.pool, server):
                self._spare(watch, reason)
                return
            guard = self._guard.limits if self._has_format_2() else msgspec.UNSET
            self.begin(
                watch, Deregister(server.id, self._wall(), reason, server.revision, guard=guard)
            )

    def begin(self, watch: Watch, command: Report | Deregister) -> None:
        """
        Propose a command about a registration.
        """
        self._proposing.add(watch)
        proposal = Deferred.fromCoroutine(self._decide(watch, command))
        if not proposal.called:
            self.in_flight.add(proposal)
            proposal.addBoth(lambda _: self.in_flight.discard(proposal))

    def _spare(self, watch: Watch, reason: str) -> None:
        """
        Keep the last server, and log this once. If the server recovers, its checks notice that;
        a removed server would be lost until it registers again.
        """
        if watch not in self._spared:
            self._spared.add(watch)
            self._log.warn(
                "server {server} is kept though {reason}: it is the last one",
                server=watch.server.id,
                reason=reason,
            )

    def _keep(self, watch: Watch, reason: str) -> None:
        """
        Note that the guard keeps a server, and log this once. The removal is proposed again in
        the next window.
        """
        is_new = watch not in self._kept_until
        self._kept_until[watch] = self._clock.seconds() + self._guard.opens_in()
        if is_new:
            self._log.warn(
                "server {server} is kept as suspect though {reason}: the guard against mass loss "
                "allows no more removals now",
                server=watch.server.id,
                reason=reason,
            )

    async def _decide(self, watch: Watch, command: Report | Deregister) -> None:
        """
        Propose a command, and wait for its outcome. If the proposal fails, the next check leads
        to the same proposal again.
        """
        before = self._removals.begin(command)
        try:
            if isinstance(command, Deregister) and command.guard is not msgspec.UNSET:
                outcome = await self._guard.propose(command)
            else:
                outcome = await self._propose(command)
        except Exception as error:
            self._removals.failed(command)
            self._faults.error(
                "the checks of {server} require a change, but the pool cannot be changed: {error}",
                server=command.id,
                error=str(error) or type(error).__name__,
            )
        else:
            self._removals.applied(command, before)
            if isinstance(outcome, Deregistered):
                self._log.warn(
                    "server {server} is removed: {reason}", server=command.id, reason=command.reason
                )
            elif isinstance(outcome, Kept):
                assert isinstance(command, Deregister)
                self._keep(watch, command.reason)
        finally:
            self._proposing.discard(watch)
