"""
A registration that is kept: made, renewed, made again if it is lost, and removed in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Final

from msgspec import UNSET
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from alacrity.client.documents import (
    NEWER_MEMBERS,
    RegisteredServer,
    RegistrationRequest,
    Renewal,
)
from alacrity.client.errors import CallError, CallFailed, CallRefused
from alacrity.client.removal import SHORT, Removal, Remover
from alacrity.client.several import SeveralApis

FIRST_RETRY: Final = 0.5
"""Seconds after the first failed call; doubled by each further one."""

LONGEST_RETRY: Final = 5.0
"""Seconds after a failed call at most."""

REPEAT: Final = 30.0
"""Seconds after which a registration without a lease is made again, as it may be gone."""


class RegistrationPhase(Enum):
    """
    The life of a registration.
    """

    NEW = "new"
    REGISTERING = "registering"
    """It is being made, for the first time or again."""
    REGISTERED = "registered"
    REFUSED = "refused"
    """The first attempt was refused. It ends here."""
    REMOVING = "removing"
    REMOVED = "removed"
    """It ends here, whether the removal succeeded or not."""


class KeptRegistration:
    """
    Registers a server, renews its lease, and registers it again when it is gone.

    A cluster whose nodes are not all of a version that knows leases registers it without one;
    then the registration is repeated every L{REPEAT} seconds, with the lease first.

    @ivar phase: where it is in its life.
    @ivar id: the server's id; L{None}: no API has told it yet.
    """

    def __init__(
        self,
        apis: SeveralApis,
        document: RegistrationRequest,
        clock: IReactorTime,
        random: Random,
        say: Callable[[str], None],
    ) -> None:
        """
        @param document: the server.
        @param random: spreads the calls of many servers.
        @param say: prints a line for the user; called when something changes.
        """
        self._apis = apis
        self._document = document
        self._clock = clock
        self._random = random
        self._say = say
        self._said: str | None = None
        self._leased = False
        self._pace = REPEAT
        self._failures = 0
        self._pause: Deferred[None] | None = None
        self._keeping: Deferred[None] | None = None
        self._remover: Remover | None = None
        self._removing: Deferred[Removal] | None = None
        self.phase = RegistrationPhase.NEW
        self.id: str | None = None

    def __repr__(self) -> str:
        return f"<KeptRegistration {self.id} {self.phase.value}>"

    def keep(self) -> Deferred[None]:
        """
        Register the server, and keep it registered until it is removed.

        @return: fires once that ends; fails with L{CallRefused} if the first attempt is refused.
        """
        self.phase = RegistrationPhase.REGISTERING
        self._keeping = Deferred.fromCoroutine(self._keep())
        kept: Deferred[None] = Deferred()
        self._keeping.chainDeferred(kept)
        return kept

    def remove(self, wait: float) -> Deferred[Removal]:
        """
        End the registration. If it is being removed already, that removal is cut short, and its
        L{Deferred} fails with L{CancelledError}.

        @param wait: seconds for which the server's requests may finish; 0: they are not waited
            for.
        """
        if self._removing is not None:
            self._removing.cancel()
        self._removing = Deferred.fromCoroutine(self._remove(wait))
        return self._removing

    @property
    def _is_kept(self) -> bool:
        return self.phase in {RegistrationPhase.REGISTERING, RegistrationPhase.REGISTERED}

    async def _keep(self) -> None:
        while self._is_kept:
            try:
                pause = await self._step()
            except CallRefused as refusal:
                if self._is_kept and self.id is None:
                    self.phase = RegistrationPhase.REFUSED
                    raise
                # A token that was changed, say. The server itself is well: it goes on.
                self._report(refusal)
                pause = self._pace
            except CallFailed as failure:
                self._report(failure)
                pause = min(FIRST_RETRY * 2**self._failures, LONGEST_RETRY, self._pace)
                self._failures = min(self._failures + 1, 10)
            else:
                self._failures = 0
            if self._is_kept:
                await self._rest(pause)

    async def _step(self) -> float:
        """
        Make the call that is due.

        @return: the seconds until the next one is.
        """
        if self.phase is RegistrationPhase.REGISTERED and self._leased:
            return await self._renew()
        return await self._register()

    async def _renew(self) -> float:
        id = self.id
        assert id is not None
        try:
            renewal = await self._apis.call(lambda api: api.renew(id))
        except CallRefused as refusal:
            if refusal.status not in {404, 409}:
                raise
            if self._is_kept:
                self.phase = RegistrationPhase.REGISTERING
            self._tell(f"{id} is not registered any more ({refusal}); registering again")
            return 0.0
        self._tell(f"{id} is registered with {self._apis.url}, {_lease(renewal.lease)}")
        return self._paced(renewal)

    async def _register(self) -> float:
        server, held_up = await self._post()
        self.id = server.id
        self._leased = held_up is None and self._document.lease is not UNSET
        if self._is_kept:
            self.phase = RegistrationPhase.REGISTERED
        lease = self._document.lease if server.lease is None else server.lease
        if held_up is not None:
            self._tell(
                f"{server.id} is registered with {self._apis.url}, without its lease or "
                f"other newer options for now: {held_up}"
            )
        elif isinstance(lease, float):
            self._tell(f"{server.id} is registered with {self._apis.url}, {_lease(lease)}")
            return self._paced(Renewal(lease, server.renew_after or lease / 3))
        else:
            self._tell(f"{server.id} is registered with {self._apis.url}")
        self._pace = REPEAT
        return REPEAT

    async def _post(self) -> tuple[RegisteredServer, CallRefused | None]:
        """
        Register it, without what the cluster does not know yet if need be.

        @return: besides the server, the reason for which it was left out.
        """
        document = self._document
        try:
            return await self._apis.call(lambda api: api.register(document)), None
        except CallRefused as refusal:
            if not _too_new(refusal):
                raise
            plain = document.without_newer_members()
            if plain is None:
                # Once all nodes are of this version, it will be taken.
                raise CallFailed(str(refusal)) from None
            if plain == document:
                raise
            return await self._apis.call(lambda api: api.register(plain)), refusal

    def _paced(self, renewal: Renewal) -> float:
        self._pace = max(renewal.renew_after, FIRST_RETRY)
        return self._pace

    async def _rest(self, seconds: float) -> None:
        self._pause = deferLater(self._clock, seconds * self._random.uniform(0.9, 1.0))
        try:
            await self._pause
        except CancelledError:
            if self._is_kept:
                raise
        finally:
            self._pause = None

    async def _remove(self, wait: float) -> Removal:
        begun = self._clock.seconds()
        self.phase = RegistrationPhase.REMOVING
        await self._settle()
        try:
            if self.id is None:
                return Removal.ABSENT
            if self._remover is None:
                self._remover = Remover(self._apis, self.id, self._clock, self._say)
            elif self._remover.removed:
                return Removal.NOT_DRAINED
            left = wait - (self._clock.seconds() - begun)
            return await self._remover.remove(max(left, 0.5) if wait else 0.0)
        finally:
            self.phase = RegistrationPhase.REMOVED

    async def _settle(self) -> None:
        """
        Wait until the call that is being made ends, as a registration that is answered late would
        undo the removal. One that takes too long is given up.
        """
        keeping = self._keeping
        if keeping is None:
            return
        if self._pause is not None:
            self._pause.cancel()
        limit = self._clock.callLater(SHORT, keeping.cancel)
        ended: Deferred[None] = Deferred()

        def end(_: object) -> None:
            if not ended.called:
                ended.callback(None)

        keeping.addBoth(end)
        try:
            await ended
        finally:
            if limit.active():
                limit.cancel()

    def _report(self, error: CallError) -> None:
        doing = "renew" if self.phase is RegistrationPhase.REGISTERED and self._leased else "make"
        self._tell(f"cannot {doing} the registration yet: {error}")

    def _tell(self, line: str) -> None:
        """
        Say something, unless it was said last.
        """
        if line != self._said:
            self._said = line
            self._say(line)


def _lease(seconds: float) -> str:
    return f"with a lease of {seconds:g} s"


def _too_new(refusal: CallRefused) -> bool:
    """
    Whether a cluster may have refused a registration because it does not know all of its
    members: a node of an earlier version does not know their names, and a cluster that has such
    a node does not take them.
    """
    if refusal.status == 400:
        return refusal.field in {*NEWER_MEMBERS, "check.type"}
    return bool(refusal.nodes)
