"""
A server's failures, as far as they are not over.
"""

from __future__ import annotations

from typing import Protocol

from alacrity.proxy.events import Cause
from alacrity.proxy.upstream.failing.periods import Period
from alacrity.proxy.upstream.standing import Standing


class Probe(Protocol):
    """
    An attempt that tries a server that is aside, or ejected.
    """

    @property
    def awaits_head(self) -> bool:
        """Whether the request was sent whole, and the server has begun no response since."""

    @property
    def may_repeat(self) -> bool:
        """Whether the request may be sent again."""

    def fell_silent(self, cause: Cause) -> None:
        """The server does not answer: fail, so that the request is sent elsewhere."""


class TroubleOwner(Protocol):
    """
    The judge of a server: is told of its answers.
    """

    def head_came(self, trouble: Trouble) -> None:
        """The head of a response has come, or an interim response."""


class Trouble:
    """
    The failures of one server since it last was in order. A server in order has none, so that a
    request that succeeds has nothing to do here.

    @ivar id: the server's.
    @ivar failures: in a row.
    @ivar aside: the present time aside; L{None}: it is not aside.
    @ivar is_silent: whether it is aside for its silence, also when one of its requests was lost
        meanwhile.
    @ivar ejection: the present ejection; L{None}: it is not ejected.
    @ivar is_probed: whether a request tries it, or was chosen to.
    @ivar probe: the attempt that tries it; L{None}: there is none.
    """

    __slots__ = (
        "_owner",
        "_probe_since",
        "aside",
        "ejection",
        "failures",
        "id",
        "is_probed",
        "is_silent",
        "probe",
    )

    def __init__(self, id: str, owner: TroubleOwner) -> None:
        self._owner = owner
        self.id = id
        self.failures = 0
        self.aside: Period | None = None
        self.is_silent = False
        self.ejection: Period | None = None
        self.is_probed = False
        self.probe: Probe | None = None
        # Since when it waits for an answer, once that was seen.
        self._probe_since: float | None = None

    def __repr__(self) -> str:
        return f"<Trouble {self.id} failures={self.failures} {self.standing.name}>"

    @property
    def standing(self) -> Standing:
        """The standing that follows."""
        if self.ejection is not None:
            return Standing.EJECTED
        return Standing.GOOD if self.aside is None else Standing.ASIDE

    @property
    def is_over(self) -> bool:
        """Whether the server is in order again."""
        return not self.failures and self.aside is None and self.ejection is None

    def is_due(self, now: float) -> bool:
        """
        Whether a request is to try the server. One that is both ejected and aside is tried
        when both are over.
        """
        periods = [each for each in (self.aside, self.ejection) if each is not None]
        return bool(periods) and not self.is_probed and all(now >= each.until for each in periods)

    # Changes, by its judge

    def count_failure(self) -> None:
        """One more in a row."""
        self.failures += 1

    def count_success(self) -> None:
        """The row ends."""
        self.failures = 0

    def put_aside(self, period: Period, *, is_silent: bool) -> None:
        """Put it aside for a time."""
        self.aside = period
        self.is_silent = is_silent or self.is_silent

    def end_aside(self) -> None:
        """It answers. An ejected one is tried until it answers well."""
        self.aside = None
        self.is_silent = False
        if self.ejection is None:
            self.release_probe()

    def eject(self, period: Period) -> None:
        """Eject it for a time."""
        self.ejection = period

    def end_ejection(self) -> None:
        """It answers well."""
        self.ejection = None

    def choose(self) -> None:
        """A request was chosen to try it."""
        self.is_probed = True

    def take_probe(self, probe: Probe) -> None:
        """An attempt tries the server."""
        self.is_probed, self.probe, self._probe_since = True, probe, None

    def release_probe(self) -> None:
        """No attempt tries it any more."""
        self.is_probed, self.probe, self._probe_since = False, None, None

    def probe_waits(self, now: float) -> float:
        """
        Look whether the probe waits for an answer.

        @return: seconds for which it has been seen to wait.
        """
        if self.probe is None or not self.probe.awaits_head:
            self._probe_since = None
            return 0.0
        if self._probe_since is None:
            self._probe_since = now
        return now - self._probe_since

    def head_came(self) -> None:
        """The head of a response has come, or an interim response."""
        self._owner.head_came(self)
