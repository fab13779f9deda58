"""
The phases of an exchange.

    NEW ─▶ CONNECTING ─▶ SENT ─▶ ENDED      the usual way
    NEW ─▶ SENT                             over a connection that is kept
    NEW ─▶ QUEUED ─▶ CONNECTING, SENT       once one of the servers, all full, has room
    CONNECTING ─▶ CONNECTING                another server, as nothing was sent
    SENT ─▶ CONNECTING                      sent again, as the client has seen nothing
    CONNECTING, SENT ─▶ QUEUED              the same, if the other servers are full
    SENT ─▶ TUNNEL ─▶ ENDED                 switched to another protocol

ENDED comes from any phase: by an answer of the proxy's own, by breaking the response off, or
as the client has gone. How far the response has come is a matter of the attempt.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class ExchangePhase(Enum):
    """
    The phases of an exchange; see the top of this module.
    """

    NEW = "new"
    """The request's head is read, and no server has been looked for."""

    QUEUED = "queued"
    """The servers that could take it are full."""

    CONNECTING = "connecting"
    SENT = "sent"
    """The request is on its way to a server, or its response comes back."""

    TUNNEL = "tunnel"
    ENDED = "ended"


NEW: Final = ExchangePhase.NEW
QUEUED: Final = ExchangePhase.QUEUED
CONNECTING: Final = ExchangePhase.CONNECTING
SENT: Final = ExchangePhase.SENT
TUNNEL: Final = ExchangePhase.TUNNEL
ENDED: Final = ExchangePhase.ENDED
