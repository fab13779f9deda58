"""
The times and bounds of a replica.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.raft.environment import RaftLimits, RaftTiming


class ReplicaSettings(msgspec.Struct, frozen=True):
    """
    A replica's times, in seconds, and bounds.

    @ivar tick: the interval between ticks of the engine.
    @ivar timeout: the time after which a proposal without an outcome fails. If there has been
        no leader for that time, a new proposal fails at once.
    @ivar member_timeout: the timeout of a membership change; a new member first has to be
        reached, and to catch up.
    @ivar retry: the time after which a denied proposal is sent again.
    @ivar recovery: the time between a failed write and the next attempt.
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
