"""
A leader's heartbeats while its disk is slow.

What a step sends is held back until the step is on disk. A heartbeat that says nothing
but what was said before needs no disk; without one, followers would take a leader for
dead whose disk takes half a second, and the next one has the same load to bear.
"""

from __future__ import annotations

from math import inf

from alacrity.cluster.raft.environment import RaftTiming
from alacrity.cluster.raft.messages import AppendEntries, plain
from alacrity.cluster.raft.outbox import Outbox
from alacrity.cluster.raft.peer import Peer


class Pulse:
    """
    Heartbeats beside the steps.

    @ivar signs: the heartbeats that the last step on disk allows; none, unless the node
        leads.
    """

    def __init__(self, outbox: Outbox, timing: RaftTiming) -> None:
        """
        @param timing: for how long a disk may be slow: longer than L{RaftTiming.fallback}, and
            the others are to find another leader.
        """
        self.signs: list[tuple[Peer, AppendEntries]] = []
        self._outbox = outbox
        self._timing = timing
        self._due = inf
        self._until = -inf

    def begin(self, now: float) -> None:
        """
        A step is on its way to the disk, from now on.
        """
        self._due = now + self._timing.heartbeat
        self._until = now + self._timing.fallback

    def end(self) -> None:
        """
        It is there, or has failed.
        """
        self._due = inf

    def beat(self, now: float) -> None:
        """
        Send what is due.
        """
        if self._due <= now < self._until:
            self._due = now + self._timing.heartbeat
            for peer, sign in self.signs:
                self._outbox.send_at_once(peer, plain(sign))
