"""
The removals that were proposed and may still be applied, so that they never empty a pool
together.
"""

from __future__ import annotations

from alacrity.pool import Deregister, Pool, Server


class Removals:
    """
    Counts proposed removals until it is certain whether they were applied.

    A proposal of unknown outcome may be applied later, so it goes on counting until a
    command that was proposed after it is applied: one leader's commands are applied in the
    order in which it proposed them.
    """

    def __init__(self) -> None:
        self._in_flight: set[Deregister] = set()
        self._doubtful: set[Deregister] = set()

    def would_empty(self, pool: Pool, server: Server) -> bool:
        """
        Whether the pool would have no server left without this one, once all of them are
        applied.
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
        A command is proposed.

        @return: the removals that are decided once it is applied; for L{applied}.
        """
        before = frozenset(self._doubtful)
        if isinstance(command, Deregister):
            self._in_flight.add(command)
        return before

    def applied(self, command: object, before: frozenset[Deregister]) -> None:
        """
        A command was applied, whatever it came to.

        @param before: what L{begin} gave.
        """
        self._in_flight.discard(command)
        self._doubtful -= before

    def failed(self, command: object) -> None:
        """
        It is not known whether a command is applied.
        """
        if isinstance(command, Deregister):
            self._in_flight.discard(command)
            self._doubtful.add(command)

    def restart(self) -> None:
        """
        This node leads anew. A leader has applied what was proposed before, except for
        what is still in flight.
        """
        self._doubtful.clear()
