"""
The times and bounds of a replica.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.raft.environment import RaftLimits, RaftTiming


class ReplicaSettings(msgspec.Struct, frozen=True):
    """
    A replica's times, in seconds, and bounds.

    @ivar tick: the engine's clock ticks so often.
    @ivar timeout: a proposal that has no outcome by then fails; where there was no leader
        for so long, it fails at once.
    @ivar member_timeout: likewise for a change of the members; a new one first has to
        be reached, and to catch up.
    @ivar retry: a proposal that was denied is tried again.
    @ivar recovery: after a failed write, a new attempt is made.
    @ivar proposals: the number of proposals that may wait at a time.
    """

    timing: RaftTiming = RaftTiming()
    limits: RaftLimits = RaftLimits()
    tick: float = 0.05
    timeout: float = 5.0
    member_timeout: float = 15.0
    retry: float = 0.1
    recovery: float = 1.0
    proposals: int = 512
