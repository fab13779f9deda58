"""
The log of this node's faults that prevent checks. Each fault is logged once a minute, not at
each check.
"""

from __future__ import annotations

from math import inf
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.health.checks.verdict import CannotCheck

REPEAT_INTERVAL: Final = 60.0
"""Seconds for which a fault is not logged again."""


class FaultLog:
    """
    A logger that does not repeat recent lines.
    """

    def __init__(self, log: Logger, clock: IReactorTime) -> None:
        self._log = log
        self._clock = clock
        self._logged: dict[str, float] = {}

    def error(self, format: str, **values: object) -> None:
        """
        Log a fault, unless one with the same format was logged within L{REPEAT_INTERVAL}.
        """
        now = self._clock.seconds()
        if now - self._logged.get(format, -inf) >= REPEAT_INTERVAL:
            self._logged[format] = now
            self._log.error(format, **values)

    def cannot_check(self, failure: Failure) -> None:
        """
        Log the reason why a check has no verdict.
        """
        if failure.check(CannotCheck):
            self.error("servers cannot be checked: {error}", error=failure.getErrorMessage())
        else:
            self.error("a check has raised", log_failure=failure)
