"""
The phases of a client connection.

    IDLE ─▶ HEAD ─▶ EXCHANGE ─▶ IDLE
    IDLE ─▶ EXCHANGE            the head came in one piece
    EXCHANGE ─▶ TUNNEL          switched to another protocol
    any of IDLE, HEAD, EXCHANGE ─▶ LINGERING or CLOSING

GONE comes from any phase: the connection is lost, or was dropped.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class ClientPhase(Enum):
    """
    The phases of a client connection; see the top of this module.
    """

    IDLE = "idle"
    """No request has begun."""

    HEAD = "head"
    """A part of a request's head has come."""

    EXCHANGE = "exchange"
    """A request's head is read, and its response not yet written to the end."""

    TUNNEL = "tunnel"
    """Switched to another protocol."""

    LINGERING = "lingering"
    """
    Half-closed after the last response, and read from, so that no reset takes the response
    away.
    """

    CLOSING = "closing"
    """To be closed once all is written."""

    GONE = "gone"


IDLE: Final = ClientPhase.IDLE
HEAD: Final = ClientPhase.HEAD
EXCHANGE: Final = ClientPhase.EXCHANGE
TUNNEL: Final = ClientPhase.TUNNEL
LINGERING: Final = ClientPhase.LINGERING
CLOSING: Final = ClientPhase.CLOSING
GONE: Final = ClientPhase.GONE
