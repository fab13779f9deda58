"""
The body of a request, on its way to a server.
"""

from __future__ import annotations

from math import inf
from typing import Final

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import without
from alacrity.http1.forwarding import chunk, last_chunk
from alacrity.http1.messages import CHUNKED, RequestHead

PACE_WINDOW: Final = 20.0
"""
Seconds over which the pace of a request body is averaged: what Apache's
mod_reqtimeout gives it by default, with the least rate.
"""

REPLAY_LIMIT: Final = 65536
"""Bytes of a request body that are kept, in case it has to be sent again."""


class RequestBody:
    """
    A request's body: frames it for the server, keeps it while it is short, and judges
    whether the client sends it at a fair pace.

    @ivar size: bytes that have come, as framed for the server.
    """

    # The time of the next check; since when the pace is measured, and from what size.
    _pace_due = 0.0
    _pace_since: float | None = None
    _pace_from = 0

    def __init__(self, request: RequestHead, rate: float) -> None:
        """
        @param rate: bytes a second that must come on average; 0: any.
        """
        self._request = request
        self._rate = rate
        self._kept: list[bytes] | None = []
        self.size = 0

    @property
    def is_kept(self) -> bool:
        """Whether all that has come can be sent again."""
        return self._kept is not None

    def piece(self, data: bytes) -> bytes:
        """
        Take a piece of the content.

        @return: the same, as it goes to a server.
        """
        if self._request.length == CHUNKED:
            data = chunk(data)
        self.size += len(data)
        if self._kept is not None:
            self._kept.append(data)
        return data

    def end(self, trailers: list[bytes]) -> bytes:
        """
        Take the end of the content, with trailer fields.

        @return: what goes to a server.
        """
        if self._request.length != CHUNKED:
            return b""
        # RFC 9110 7.6.1: what Connection names goes no further, here either.
        data = last_chunk(without(trailers, self._request.named))
        self.size += len(data)
        if self._kept is not None:
            self._kept.append(data)
        return data

    def drop(self) -> None:
        """
        Drop the copy that is kept: all that has come has been sent.
        """
        self._kept = None

    def kept(self) -> bytes:
        """
        All that has come, as it goes to a server. It must be kept still.
        """
        assert self._kept is not None
        return b"".join(self._kept)

    def check_pace(self, now: float, *, answered: bool) -> None:
        """
        Check that the body comes fast enough on average; most calls do nothing.

        @param now: by L{alacrity.proxy.deadlines.Deadlines}.
        @param answered: whether the response has begun: then the two may be talking.
        @raise ProtocolError: the client takes too long over it.
        """
        if now < self._pace_due:
            return
        if not self._rate or answered:
            self._pace_due = inf
            return
        since = self._pace_since
        if since is not None and self.size - self._pace_from < self._rate * (now - since):
            raise ProtocolError("the request body does not come in time", 408)
        self._pace_from = self.size
        self._pace_since = now
        self._pace_due = now + PACE_WINDOW

    def restart_pace(self) -> None:
        """
        Measure the pace anew, after a wait that the client did not cause.
        """
        self._pace_due, self._pace_since = 0.0, None
