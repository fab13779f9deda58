"""
Waiting for a condition outside of this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 20.0
"""Seconds that a process may take for anything."""


class Broken(AssertionError):
    """
    Something did not do its part; the message says what, in words for a person.
    """


def wait_until(
    met: Callable[[], bool], what: str, patience: float = PATIENCE, *, pause: float = 0.02
) -> float:
    """
    Wait until a condition holds.

    @param met: the condition; an L{OSError} means not yet.
    @param what: its description, for the error.
    @param patience: seconds to wait at most.
    @param pause: seconds between two looks.
    @return: the seconds that it took.
    @raise Broken: it took too long.
    """
    begun = time.monotonic()
    while True:
        try:
            if met():
                return time.monotonic() - begun
        except OSError:
            pass
        if time.monotonic() - begun > patience:
            raise Broken(f"not within {patience:g} s: {what}")
        time.sleep(pause)
