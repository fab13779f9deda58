"""
The pace of a client that reads slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alacrity.proxy.deadlines import Deadlines

RECEIVER_STEP: Final = 98304
"""
Bytes that a receiver's kernel may take at once and then announce no more room for, until
its program has read as many: 95 KB were seen on loopback, a few segments elsewhere. A
program that reads 1 kB/s seems to take nothing for that many thousandths of a second.
"""


class ReaderPace:
    """
    Judge of whether a client still takes what is sent to it, as far as the kernel
    tells: by what it has not acknowledged.
    """

    __slots__ = ("_deadlines", "_idle", "_rate", "_since", "_unsent", "_unsent_then")

    def __init__(
        self,
        deadlines: Deadlines,
        unsent: Callable[[], int | None],
        *,
        idle: float,
        rate: float,
    ) -> None:
        """
        @param deadlines: the clock.
        @param unsent: bytes that the client has not acknowledged; L{None}: unknown.
        @param idle: seconds for which it may take nothing.
        @param rate: bytes a second that it must take on average; 0: any. The lower it
            is, the longer must a pause be to prove that it is not kept.
        """
        self._deadlines = deadlines
        self._unsent = unsent
        self._idle = idle
        self._rate = rate
        self._since = deadlines.now
        self._unsent_then = unsent()

    def allowance(self) -> float:
        """
        Look at what the client has taken since the last time that it was found steady.

        @return: seconds until it is to be looked at again; 0: it takes too little.
        """
        before, now = self._unsent_then, self._unsent()
        if before is None or not now:
            return 0.0
        elapsed = self._deadlines.now - self._since
        taken = before - now
        if taken > 0:
            if taken < self._rate * elapsed:
                return 0.0
            self._since += elapsed
            self._unsent_then = now
            return self._idle
        return self._idle if self._rate and elapsed * self._rate < RECEIVER_STEP else 0.0
