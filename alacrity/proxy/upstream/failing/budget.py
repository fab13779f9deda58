"""
The budget of retries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from alacrity.config import RetrySettings

SAMPLES: Final = 20
"""Samples of the number of requests in a window."""


class RetryBudget:
    """
    Limits retries to a part of the requests of the last seconds. Counting costs a request
    nothing: the number of all requests is looked at a few times in a window.
    """

    def __init__(
        self,
        settings: RetrySettings,
        requests: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        """
        @param requests: gives the number of requests that have ended so far.
        @param monotonic: a clock, in seconds.
        """
        self._settings = settings
        self._requests = requests
        self._monotonic = monotonic
        self._samples = deque([(monotonic(), requests())])
        self._retries: deque[float] = deque()

    def look(self) -> None:
        """
        Take a sample, if one is due. To be called more often than that.
        """
        now, window = self._monotonic(), self._settings.budget_window
        samples = self._samples
        if now - samples[-1][0] >= window / SAMPLES:
            samples.append((now, self._requests()))
        # The first is the last one before the window.
        while len(samples) > 1 and samples[1][0] <= now - window:
            samples.popleft()

    @property
    def allowed(self) -> int:
        """Retries that are allowed in the present window."""
        self.look()
        settings = self._settings
        recent = self._requests() - self._samples[0][1]
        return max(settings.budget_minimum, int(settings.budget * recent))

    @property
    def spent(self) -> int:
        """Retries in the present window."""
        begin = self._monotonic() - self._settings.budget_window
        retries = self._retries
        while retries and retries[0] <= begin:
            retries.popleft()
        return len(retries)

    def has_room(self) -> bool:
        """
        Whether another retry is allowed.
        """
        return self.spent < self.allowed

    def spend(self) -> None:
        """
        Count a retry, be it allowed or not.
        """
        self._retries.append(self._monotonic())
