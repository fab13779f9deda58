"""
The test server's registration in a pool.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from alacrity.client import (
    ApiClient,
    CallError,
    CallFailed,
    CallRefused,
    RegistrationRequest,
    persist,
)
from alacrity.client.api import server_path

ATTEMPT_INTERVAL: Final = 1.0
"""Seconds between a failed attempt to register and the next."""


class Registration:
    """
    Registers a server in Alacrity's pool, and removes it again.

    @ivar id: the server's id in the pool; L{None}: it is not registered.
    """

    def __init__(
        self, api: ApiClient, url: str, document: RegistrationRequest, say: Callable[[str], None]
    ) -> None:
        """
        @param url: the API's, for messages.
        @param document: the server to register.
        @param say: prints a line for the user.
        """
        self._api = api
        self._url = url.rstrip("/")
        self._document = document
        self._say = say
        self.id: str | None = None

    async def register(self, clock: IReactorTime) -> None:
        """
        Register the server, and repeat that until the API answers.

        @raise SystemExit: the registration is refused.
        """
        reported = False

        def report(failure: CallFailed) -> None:
            nonlocal reported
            if not reported:
                reported = True
                self._say(f"cannot register with {self._url} yet: {failure}")

        try:
            server = await persist(
                lambda: self._api.register(self._document),
                repeat(ATTEMPT_INTERVAL),
                lambda seconds: deferLater(clock, seconds),
                report,
            )
        except CallRefused as refusal:
            raise SystemExit(f"registration refused: {refusal}") from None
        self.id = server.id
        self._say(f"registered with {self._url} as {server_path(server.id)}")

    async def deregister(self) -> None:
        """
        Remove the server from the pool, if it is registered. There is one attempt only, as
        the process is about to end.
        """
        id, self.id = self.id, None
        if id is None:
            return
        try:
            await self._api.deregister(id)
        except CallError as error:
            self._say(f"cannot deregister: {error}")
        else:
            self._say("deregistered")
