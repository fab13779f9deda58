"""
The guard against mass loss: a limit on how many servers of a pool expire or are removed in a
window of time without anybody's asking. A network that breaks around the leader must not empty
the pool.

It limits the rate, and never stops it: each window begins with a new allowance. Failed checks
are not limited, nor removals that a caller asks for.

Time is that of the commands, which clocks that were set may take anywhere. So the functions here
are total: numbers that no configuration has (infinite, negative, NaN) neither raise an exception
nor close the guard for good.
"""

from __future__ import annotations

from math import floor

import msgspec


class GuardLimits(msgspec.Struct, frozen=True, gc=False):
    """
    The limits of the guard, as the proposing node is configured.

    @ivar share: the part of the servers that may be lost in a window; one server always may.
    @ivar window: the length of a window, in seconds.
    """

    share: float
    window: float


class GuardWindow(msgspec.Struct, frozen=True, gc=False):
    """
    A window and the losses in it.

    @ivar start: of the window, in seconds since the epoch, by the commands' times.
    @ivar servers: the number of servers in the pool at its start.
    @ivar used: servers lost in it so far.
    """

    start: float = 0.0
    servers: int = 0
    used: int = 0

    def allows(self, limits: GuardLimits) -> bool:
        """
        Whether one more server may be lost in this window.
        """
        # In this order, max gives 0 for NaN.
        share = min(1.0, max(0.0, limits.share))
        return self.used < max(1, floor(share * self.servers + 1e-9))

    def at(self, time: float, servers: int, limits: GuardLimits) -> GuardWindow:
        """
        The window at a time: this one, or a new one if this has passed. If the clock was set
        back by more than a window, the new one is spent, so that a wrong clock neither raises
        the rate nor stops it. (Less is no new window: commands may be applied in another order
        than that of their times.)

        @param servers: the number of servers in the pool now.
        """
        passed = time - self.start
        if passed >= limits.window:
            return GuardWindow(time, servers)
        if passed >= -limits.window:
            return self
        return spent_window(time, servers)

    def count(self) -> GuardWindow:
        """
        The same window with one loss more.
        """
        return GuardWindow(self.start, self.servers, self.used + 1)


def spent_window(time: float, servers: int) -> GuardWindow:
    """
    A window that begins without an allowance.
    """
    return GuardWindow(time, servers, max(1, servers))
