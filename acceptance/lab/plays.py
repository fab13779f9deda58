"""
One scenario of failures, played with one proxy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from acceptance.lab.clients import Clients
from acceptance.lab.origins import Origin
from acceptance.lab.outcomes import Bar, Figures, Outcome, median
from acceptance.lab.rivals import Count, Rival, Setting

SILENCE: Final = 2.0
"""Seconds of the default C{ejection.silence}."""

SLACK: Final = 0.3
"""Seconds that a busy machine may take longer."""

_LOOK: Final = 0.02


class Lengths(NamedTuple):
    """
    Seconds that a scenario takes before and after its fault, and for which clients wait.
    """

    before: float
    after: float
    patience: float


class Play:
    """
    A proxy with its servers and clients, while one scenario is played.

    @ivar fault: the moment at which something failed.
    @ivar outcomes: of all requests, once the clients are done.
    @ivar ratio: requests to servers for each of a client, since the fault.
    @ivar early: the same in the first seconds, if they were looked at.
    @ivar tries: the failed attempts on the first server, each time they were looked up.
    """

    def __init__(self, rival: Rival, origins: Sequence[Origin], lengths: Lengths) -> None:
        self.rival = rival
        self.origins = origins
        self.lengths = lengths
        self.outcomes: list[Outcome] = []
        self.fault = math.inf
        self.ratio = self.early = math.nan
        self._before = Count(0, 0)
        self.tries: list[tuple[float, int]] = []

    def run(self, act: Callable[[Play], None]) -> None:
        """
        Have clients ask while something fails.
        """
        clients = Clients([self.rival.address], patience=self.lengths.patience)
        self.rival.serve([(each.host, port) for each in self.origins for port in each.ports])
        clients.start()
        try:
            time.sleep(self.lengths.before)
            self._before = self.rival.count()
            self.fault = time.monotonic()
            act(self)
            time.sleep(max(0.0, self.fault + self.lengths.after - time.monotonic()))
        finally:
            clients.stop()
        self.ratio = self.ratio_so_far()
        self.outcomes = clients.outcomes

    def ratio_so_far(self) -> float:
        """
        Requests to servers for each of a client, since the fault; NaN if there was none.
        """
        now = self.rival.count()
        asked = now.clients - self._before.clients
        return (now.attempts - self._before.attempts) / asked if asked else math.nan

    def watch(self) -> None:
        """
        Look up how many attempts on the first server fail, for the first second.
        """
        server = (self.origins[0].host, self.origins[0].port)
        while time.monotonic() < self.fault + 1.5:
            self.tries.append((time.monotonic(), self.rival.failures(server)))
            time.sleep(_LOOK)

    @property
    def later(self) -> float:
        """
        Seconds of the scenario after the time for noticing silence.
        """
        return self.lengths.after - SILENCE

    def usual(self) -> float:
        """
        The median that a request took before the fault.
        """
        return median(each.took for each in self.outcomes if each.begun < self.fault - 0.1)


class Scenario(NamedTuple):
    """
    A scenario that is played with both proxies.

    @ivar act: makes something fail, and waits as long as it needs to.
    @ivar bars: that the figures are held to.
    @ivar setting: wishes for the proxies.
    @ivar servers: number of them in each process; one process fails.
    @ivar apart: whether each server is on a host of its own.
    @ivar notice: seconds that the proxy has to notice.
    """

    act: Callable[[Play], None]
    bars: Callable[[Play, Figures], tuple[Bar, ...]]
    setting: Setting = Setting()
    servers: tuple[int, ...] = (1, 1, 1)
    apart: bool = False
    notice: float = SILENCE + SLACK
