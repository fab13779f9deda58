"""
A leader's heartbeats while its disk is slow.

What a step sends is held back until the step is on disk. A heartbeat that says nothing
but what was said before needs no disk; without one, followers would take a leader for
dead whose disk takes half a second, and the next one has the same load to bear.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from alacrity.cluster.outbox import Outbox
from alacrity.cluster.raft.environment import RaftTiming
from alacrity.cluster.raft.messages import AppendEntries
from alacrity.cluster.raft.peer import Peer


class Heartbeats:
    """
    The heartbeats that the last step on disk allows, sent while the next one is written.
    """

    def __init__(self, outbox: Outbox, timing: RaftTiming) -> None:
        """
        @param timing: for how long a disk may be slow: longer than L{RaftTiming.fallback}, and
            the others are to find another leader.
        """
        self._outbox = outbox
        self._timing = timing
        self._allowed: tuple[tuple[Peer, AppendEntries], ...] = ()
        self._due = inf
        self._until = -inf

    def allow(self, heartbeats: Iterable[tuple[Peer, AppendEntries]]) -> None:
        """
        Send these from now on; none, unless the node leads.
        """
        self._allowed = tuple(heartbeats)

    def begin(self, now: float) -> None:
        """
        A step is on its way to the disk, from now on.
        """
        self._due = now + self._timing.heartbeat
        self._until = now + self._timing.fallback

    def end(self) -> None:
        """
        The step is on disk, or has failed.
        """
        self._due = inf

    def send_due(self, now: float) -> None:
        """
        Send the heartbeats, if it is time.
        """
        if self._due <= now < self._until:
            self._due = now + self._timing.heartbeat
            for peer, heartbeat in self._allowed:
                self._outbox.send_at_once(peer, heartbeat)
