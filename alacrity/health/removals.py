"""
The count of proposed removals that may still be applied, so that together they never empty a
pool.
"""

from __future__ import annotations

from alacrity.pool import Deregister, Pool, Server


class PendingRemovals:
    """
    Counts proposed removals until it is certain whether they were applied.

    A proposal of unknown outcome may be applied later. So it counts until a command that was
    proposed later is applied: a leader's commands are applied in the order in which the leader
    has proposed them.
    """

    def __init__(self) -> None:
        self._in_flight: set[Deregister] = set()
        self._doubtful: set[Deregister] = set()

    def would_empty(self, pool: Pool, server: Server) -> bool:
        """
        Whether the pool would be empty without a server, once all pending removals are applied.
        """
        servers = pool.servers
        leaving = {
            each.id
            for each in self._in_flight | self._doubtful
            if each.id in servers and servers[each.id].revision == each.revision
        }
        return len(servers) - len(leaving - {server.id}) <= 1

    def begin(self, command: object) -> frozenset[Deregister]:
        """
        Note that a command is proposed.

        @return: the removals of unknown outcome that are decided once this command is applied;
            to be passed to L{applied}.
        """
        before = frozenset(self._doubtful)
        if isinstance(command, Deregister):
            self._in_flight.add(command)
        return before

    def applied(self, command: object, before: frozenset[Deregister]) -> None:
        """
        Note that a command was applied, whatever its outcome.

        @param before: the value that L{begin} returned.
        """
        self._in_flight.discard(command)
        self._doubtful -= before

    def failed(self, command: object) -> None:
        """
        Note that the outcome of a command is unknown.
        """
        if isinstance(command, Deregister):
            self._in_flight.discard(command)
            self._doubtful.add(command)

    def restart(self) -> None:
        """
        Start again, because this node has become the leader again. A new leader has applied all
        earlier proposals, except those that are still in flight.
        """
        self._doubtful.clear()
