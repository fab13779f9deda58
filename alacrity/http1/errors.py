"""
Errors in messages.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """
    A message that is malformed, ambiguous or over a limit.

    @ivar status: of the response to a client that sent it. (If a server sent it, its
        client is answered 502, whatever this is.)
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status
