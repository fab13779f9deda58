"""
The time that a server's host has to acknowledge what it is sent.
"""

from __future__ import annotations

from typing import Any, Final

from alacrity.net.acknowledgements import set_acknowledgement_timeout

PROMPT_BODY: Final = 32768
"""
Bytes of a request's body that any host takes at once, though its server does not read. Of a
longer body, the system cannot tell a server that is slow to read from a host that is gone.
"""


class Patience:
    """
    Gives a server's host more time within a long body, and in a tunnel.
    """

    __slots__ = ("_is_patient", "_long", "_sent", "_short", "_transport")

    def __init__(self, transport: Any, short: float, long: float) -> None:
        """
        @param transport: of the connection, which has the short limit.
        @param short: seconds to acknowledge; 0: as many as the system gives.
        @param long: likewise, while the server may be slow to read.
        """
        self._transport = transport
        self._short = short
        self._long = long
        self._sent = 0
        self._is_patient = False

    def count(self, size: int) -> None:
        """
        So many bytes more of a body are to be sent.
        """
        self._sent += size
        if self._sent > PROMPT_BODY and not self._is_patient:
            self.begin()

    def begin(self) -> None:
        """
        Let the server be slow to read.
        """
        self._is_patient = True
        set_acknowledgement_timeout(self._transport, self._long)

    def end(self) -> None:
        """
        The server has read all.
        """
        self._sent = 0
        if self._is_patient:
            self._is_patient = False
            set_acknowledgement_timeout(self._transport, self._short)
