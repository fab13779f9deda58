"""
The removal of a server that waits for its requests.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from alacrity.client.api import ApiClient
from alacrity.client.documents import Drain
from alacrity.client.errors import CallFailed, CallRefused
from alacrity.client.several import SeveralApis

UNREACHABLE: Final = 3.0
"""Seconds for which the removal is tried while no API carries it out. A supervisor that ends a
process after ten seconds would not let it be tried for much longer."""

SHORT: Final = 2.0
"""Seconds for a removal that does not wait for requests."""

SLICE: Final = 2.0
"""Seconds that one call waits at most: an API that hangs is given up after one of these and the
time limit of a call, and the removal goes on at another one."""

PAUSE: Final = 0.25
"""Seconds between two calls."""

GRACE: Final = 1.0
"""Seconds for other nodes to learn of a removal by an API that cannot wait for them, and to
finish short requests."""


class Removal(Enum):
    """
    The outcome of a removal.
    """

    DRAINED = "drained"
    """The server is removed, and no node has a request of it as far as the API can tell; or it was
    only to be removed."""
    NOT_DRAINED = "not drained"
    """It is removed, and requests of it may still be in flight."""
    ABSENT = "absent"
    """It was not registered."""
    REFUSED = "refused"
    """The API does not let it be removed."""
    UNREACHABLE = "unreachable"
    """No API carried the removal out in time."""


class Remover:
    """
    Removes one server from the pool, once.

    @ivar removed: whether an API has said that the server is removed.
    @ivar refusal: the refusal, if it was refused.
    """

    def __init__(
        self, apis: SeveralApis, id: str, clock: IReactorTime, say: Callable[[str], None]
    ) -> None:
        """
        @param say: prints a line for the user.
        """
        self._apis = apis
        self._id = id
        self._clock = clock
        self._say = say
        self.removed = False
        self.refusal: CallRefused | None = None

    async def remove(self, wait: float) -> Removal:
        """
        Remove it.

        @param wait: seconds for which its requests may finish; 0: they are not waited for.
        """
        begun = self._clock.seconds()
        deadline = begun + (wait or SHORT)
        patience = min(deadline, begun + UNREACHABLE)
        reported = False
        while True:
            left = deadline - self._clock.seconds()
            try:
                drain = await self._within(left, wait > 0)
            except CallRefused as refusal:
                if not wait or self.removed or not refusal.nodes:
                    return self._refused(refusal)
                # The cluster has a node of an earlier version.
                return await self._remove_and_look(deadline)
            except CallFailed as failure:
                if not self.removed and self._clock.seconds() + PAUSE >= patience:
                    self._say(f"cannot remove {self._id}: {failure}")
                    return Removal.UNREACHABLE
                if not reported:
                    reported = True
                    self._say(f"cannot remove {self._id} yet: {failure}")
            else:
                self.removed = True
                if drain is None:
                    return await self._look(deadline)
                if drain.drained:
                    return Removal.DRAINED
            if self._clock.seconds() + PAUSE >= deadline:
                return Removal.NOT_DRAINED
            await self._sleep(PAUSE)

    async def _remove_and_look(self, deadline: float) -> Removal:
        """
        Remove it by a cluster that cannot wait for its requests.
        """
        removal = await self.remove(0.0)
        return await self._look(deadline) if removal is Removal.DRAINED else removal

    async def _look(self, deadline: float) -> Removal:
        """
        Wait until the node that has removed it does not show it any more, which it does while it
        has requests of it; other nodes are given some time.
        """
        self._say(f"{self._id} is removed; this cluster can wait only for requests of one node")
        await self._sleep(min(GRACE, deadline - self._clock.seconds()))
        while self._clock.seconds() < deadline:
            try:
                await Deferred.fromCoroutine(
                    self._apis.call(lambda api: api.show_server(self._id))
                ).addTimeout(deadline - self._clock.seconds(), self._clock)
            except CallRefused as refusal:
                return Removal.DRAINED if refusal.status == 404 else Removal.NOT_DRAINED
            except (CallFailed, TimeoutError):
                return Removal.NOT_DRAINED
            await self._sleep(PAUSE)
        return Removal.NOT_DRAINED

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._clock, max(0.0, seconds))

    def _within(self, left: float, waits: bool) -> Deferred[Drain | None]:
        """
        One pass over the APIs.

        @param left: seconds until it fails.
        @param waits: whether the calls wait for the server's requests.
        """

        async def ask(api: ApiClient) -> Drain | None:
            if waits:
                # The answer takes its time, too.
                return await api.drain(self._id, round(max(min(SLICE, left - PAUSE), 0.1), 3))
            await api.deregister(self._id)
            return Drain(drained=True)

        async def attempt() -> Drain | None:
            try:
                return await called
            except TimeoutError:
                raise CallFailed(f"no answer in {left:.3g} s") from None

        called = Deferred.fromCoroutine(self._apis.call(ask)).addTimeout(left, self._clock)
        return Deferred.fromCoroutine(attempt())

    def _refused(self, refusal: CallRefused) -> Removal:
        if refusal.status == 404:
            return Removal.DRAINED if self.removed else Removal.ABSENT
        self.refusal = refusal
        self._say(f"cannot remove {self._id}: {refusal}")
        return Removal.REFUSED
