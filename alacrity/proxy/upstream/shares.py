"""
The shares of servers in the requests: by their weights, their groups, and slow start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from alacrity.proxy.upstream.server import UpstreamServer


class Shares:
    """
    The eligible servers of one priority, and the weights by which they are chosen.

    A group's servers have its weight between them. As long as there is one group, there is
    nothing to be divided, and a server's weight is its own: then no server that comes or goes
    changes the weight of another.

    @ivar moved: whether weights have changed other than that of the server that was put or
        dropped, since L{settle}.
    """

    def __init__(self, groups: Mapping[str, int]) -> None:
        """@param groups: the weights of groups; others have 1."""
        self._groups = groups
        self._members: dict[UpstreamServer, tuple[str, float]] = {}
        # The sums of the weights by group, and the numbers of servers.
        self._sums: dict[str, tuple[float, int]] = {}
        self._ramping: set[UpstreamServer] = set()
        self.moved = False

    def __len__(self) -> int:
        return len(self._members)

    @property
    def members(self) -> Collection[UpstreamServer]:
        """The servers."""
        return self._members.keys()

    def put(self, upstream: UpstreamServer, group: str, weight: float, *, ramping: bool) -> None:
        """
        Add a server, or change it.

        @param weight: its own.
        @param ramping: whether it is in its slow start.
        """
        had_warm = self._has_warm
        self._count(upstream, group, weight)
        if ramping:
            self._ramping.add(upstream)
        else:
            self._ramping.discard(upstream)
        self._compare(had_warm)

    def drop(self, upstream: UpstreamServer) -> None:
        """
        Remove a server.
        """
        had_warm = self._has_warm
        self._ramping.discard(upstream)
        self._count(upstream, "", None)
        self._compare(had_warm)

    def _count(self, upstream: UpstreamServer, group: str, weight: float | None) -> None:
        before = self._members.pop(upstream, None)
        after = None if weight is None else (group, weight)
        if after is not None:
            self._members[upstream] = after
        if before == after:
            return
        groups_before = len(self._sums)
        for member, sign in ((before, -1), (after, 1)):
            if member is not None:
                total, count = self._sums.get(member[0], (0.0, 0))
                if count + sign:
                    self._sums[member[0]] = (total + sign * member[1], count + sign)
                else:
                    del self._sums[member[0]]
        if groups_before > 1 or len(self._sums) > 1:
            self.moved = True

    @property
    def _has_warm(self) -> bool:
        return len(self._ramping) < len(self._members)

    def _compare(self, had_warm: bool) -> None:
        if self._ramping and had_warm is not self._has_warm:
            self.moved = True

    def weight(self, upstream: UpstreamServer, part: float) -> float:
        """
        The weight by which a server is chosen.

        @param part: the part of its weight that its slow start has come to. It does not count
            while all servers are in theirs.
        """
        group, weight = self._members[upstream]
        if self._ramping and self._has_warm:
            weight *= part
        if len(self._sums) > 1:
            weight *= self._groups.get(group, 1) / self._sums[group][0]
        return weight

    def settle(self) -> None:
        """
        The weights of all are known.
        """
        self.moved = False
