"""
What can be wrong with a message.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """
    A message that is malformed, ambiguous or over a limit.

    @ivar status: what to answer to a client that sent it. (A server that sent it
        costs its client a 502, whatever this says.)
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status
