"""
The leader's heartbeats while its disk is slow.

The messages of a step wait until the step is on disk. A heartbeat with nothing new need not
wait. Without it, a disk that takes half a second would make the followers elect another
leader, which then has the same load.
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
    While a step is being synced, repeats the heartbeats that the last synced step allows.
    """

    def __init__(self, outbox: Outbox, timing: RaftTiming) -> None:
        """
        @param timing: the interval, and with L{RaftTiming.fallback} the time that a disk may
            take; after that, the followers shall elect another leader.
        """
        self._outbox = outbox
        self._timing = timing
        self._allowed: tuple[tuple[Peer, AppendEntries], ...] = ()
        self._due = inf
        self._until = -inf

    def allow(self, heartbeats: Iterable[tuple[Peer, AppendEntries]]) -> None:
        """
        Set the heartbeats to send from now on; none, unless this node is the leader.
        """
        self._allowed = tuple(heartbeats)

    def begin(self, now: float) -> None:
        """
        Start sending: the sync of a step has begun.
        """
        self._due = now + self._timing.heartbeat
        self._until = now + self._timing.fallback

    def end(self) -> None:
        """
        Stop sending: the sync of the step has ended.
        """
        self._due = inf

    def send_due(self, now: float) -> None:
        """
        Send the heartbeats if they are due.
        """
        if self._due <= now < self._until:
            self._due = now + self._timing.heartbeat
            for peer, heartbeat in self._allowed:
                self._outbox.send_at_once(peer, heartbeat)
