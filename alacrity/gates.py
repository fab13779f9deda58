"""
The proxy's connections, kept within their share of the file descriptors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from alacrity.proxy.client import ClientConnection
from alacrity.proxy.frontend import Frontend
from alacrity.proxy.server import ServerConnection, ServerFactory


class GatedFrontend(Frontend):
    """
    Closes connections from clients at once where even those that are told so are too
    many.
    """

    def __init__(self, *, refused: int, **more: Any) -> None:
        """
        @param refused: how many beyond C{limits.client_connections} get an answer.
        @param more: see L{Frontend}.
        """
        super().__init__(**more)
        self._most = self.limits.client_connections + refused

    def buildProtocol(self, addr: object) -> ClientConnection:
        if len(self._connections) >= self._most:
            return None  # type: ignore[return-value] # It means that there is to be none.
        return super().buildProtocol(addr)


class Slots:
    """
    Counts connections to servers, from the attempt to the end.

    @ivar taken: how many there are.
    """

    def __init__(self, most: int, make_room: Callable[[], object]) -> None:
        """
        @param most: how many there may be.
        @param make_room: closes those that are idle.
        """
        self.taken = 0
        self._most = most
        self._make_room = make_room

    def take(self) -> Slot:
        """
        Begin a connection. If there are too many, those that are idle are closed: the rest
        are as many as clients have requests, for which there is room.
        """
        if self.taken >= self._most:
            self._make_room()
        self.taken += 1
        return Slot(self)


class Slot:
    """
    One connection's place.
    """

    __slots__ = ("_slots",)

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    def release(self) -> None:
        """
        The connection has ended, or never was. Once is enough.
        """
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.taken -= 1

    def failed(self, failure: Failure) -> Failure:
        """
        It never was.
        """
        self.release()
        return failure


class CountedConnection(ServerConnection):
    """
    A connection that gives its place back.
    """

    def __init__(self, factory: ServerFactory, slot: Slot) -> None:
        super().__init__(factory)
        self._slot = slot

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._slot.release()
        super().connectionLost(reason)


class CountedServerFactory(ServerFactory):
    """
    Builds a connection that is counted.
    """

    def __init__(self, slot: Slot, *arguments: Any, **more: Any) -> None:
        """
        @param arguments: see L{ServerFactory}.
        @param more: likewise.
        """
        super().__init__(*arguments, **more)
        self._slot = slot

    def buildProtocol(self, addr: object) -> ServerConnection:
        return CountedConnection(self, self._slot)
