"""
The ends of administrative states that an operator has limited in time.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from alacrity.health.faults import FaultLog
from alacrity.pool import Administer, AdminState, Change, PoolView, Propose


class StateEndings:
    """
    Proposes the end of each state that is over, by the time of day.

    The ends are in the pool. So they are not lost with a leader, and one that was proposed in
    vain is proposed again.

    @ivar in_flight: the proposals that are not decided, by server id. Each fires with L{None}.
    """

    def __init__(
        self, view: PoolView, propose: Propose, wall: Callable[[], float], faults: FaultLog
    ) -> None:
        """
        @param wall: gives the seconds since the epoch.
        """
        self.in_flight: dict[str, Deferred[None]] = {}
        self._view = view
        self._propose = propose
        self._wall = wall
        self._faults = faults
        self._ends: dict[str, float] = {}

    def changed(self, change: Change) -> None:
        """
        Note a change of the pool.
        """
        server = change.after or change.before
        assert server is not None
        until = None if change.after is None else server.administration.until
        if until is None:
            self._ends.pop(server.id, None)
        else:
            self._ends[server.id] = until

    def clear(self) -> None:
        """
        Forget all states.
        """
        self._ends.clear()

    def propose_due(self) -> None:
        """
        Propose the ends of the states that are over.
        """
        now = self._wall()
        for id, until in list(self._ends.items()):
            if until <= now and id not in self.in_flight:
                ending = Deferred.fromCoroutine(self._end(id))
                if not ending.called:
                    self.in_flight[id] = ending
                    ending.addBoth(self._ended, id)

    def _ended(self, result: None, id: str) -> None:
        del self.in_flight[id]

    async def _end(self, id: str) -> None:
        server = self._view.pool.servers.get(id)
        if server is None:
            return
        try:
            # An operator may decide anew meanwhile: that is another version.
            await self._propose(
                Administer(id, self._wall(), state=AdminState.READY, version=server.version)
            )
        except Exception as error:
            self._faults.error(
                "the administrative state of {server} is over, but cannot be ended: {error}",
                server=id,
                error=str(error) or type(error).__name__,
            )
