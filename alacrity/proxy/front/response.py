"""
Writing of responses to an HTTP/1 client.
"""

from __future__ import annotations

from typing import Any, Final

from alacrity.http1.forwarding import chunk, last_chunk, response, switch
from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.http1.responses import own_response
from alacrity.proxy.deadlines import Deadlines

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response that says nothing new (RFC 9110 15.2.1)."""


class ResponseWriter:
    """
    Writes the responses of one client connection: heads, chunks, and whether the connection
    goes on.

    The head of a response is kept back until all of the packet that it came in is read:
    should the rest of that be at fault, the client has seen nothing of it yet.

    @ivar sent: bytes written of the body of the response that was started last.
    @ivar last: whether the connection is to be closed after this response, or the next one.
    """

    __slots__ = ("_deadlines", "_is_chunking", "_kept_back", "_transport", "_via", "last", "sent")

    def __init__(self, transport: Any, via: bytes, deadlines: Deadlines) -> None:
        """
        @param via: the proxy's own entry in C{Via}.
        @param deadlines: the source of the date.
        """
        self._transport = transport
        self._via = via
        self._deadlines = deadlines
        self._kept_back = b""
        self._is_chunking = False
        self.last = False
        self.sent = 0

    def make_last(self) -> None:
        """
        Close the connection after the next response that begins.
        """
        self.last = True

    # As a ResponseSink, for an exchange

    def inform(self, request: RequestHead, head: ResponseHead) -> None:
        """
        Write an interim response, but to no 1.0 client (RFC 9110 15.2).
        """
        if request.minor:
            self._transport.write(response(head, minor=1, keep_alive=True, via=self._via, date=b""))

    def start(self, request: RequestHead, head: ResponseHead, complete: bool) -> None:
        """
        Write the head of the final response.

        @param complete: whether the request has been read to its end.
        """
        length = head.length
        minor = request.minor
        self._is_chunking = length < 0 and minor > 0
        self.sent = 0
        if not self.last and (not request.keep_alive or not complete or (length < 0 and not minor)):
            # RFC 9112 9.6: said now; an early answer ends the connection.
            self.last = True
        self._kept_back = response(
            head,
            minor=minor,
            keep_alive=not self.last,
            via=self._via,
            date=self._deadlines.date,
        )

    def write(self, data: bytes) -> None:
        """
        Write a piece of the body.
        """
        self.sent += len(data)
        if self._is_chunking:
            data = chunk(data)
        if self._kept_back:
            self._kept_back += data
        else:
            self._transport.write(data)

    def finish(self, trailers: list[bytes]) -> None:
        """
        Write the end of the response.
        """
        if self._is_chunking:
            self._is_chunking = False
            self._kept_back += last_chunk(trailers)
        if self._kept_back:
            data, self._kept_back = self._kept_back, b""
            self._transport.write(data)

    def flush(self) -> None:
        """
        Write the part of the response that was kept back.
        """
        if self._kept_back:
            data, self._kept_back = self._kept_back, b""
            self._transport.write(data)

    def take_back(self) -> bool:
        """
        Discard the response that was started, if all of it was kept back.

        @return: whether it is discarded.
        """
        if not self._kept_back:
            return False
        self._kept_back = b""
        self._is_chunking = False
        return True

    def answer(self, request: RequestHead, status: int, complete: bool) -> None:
        """
        Write a whole response of the proxy's own.

        @param complete: whether the request has been read to its end.
        """
        self.sent = 0
        if not complete or not request.keep_alive:
            self.last = True
        self._write_own(status, bodiless=request.method == b"HEAD")

    # For the connection

    def refuse(self, status: int) -> None:
        """
        Write the last response of the connection: to no request, or to one that was not
        understood.
        """
        self.last = True
        self._write_own(status, bodiless=False)

    def _write_own(self, status: int, *, bodiless: bool) -> None:
        self._transport.write(
            own_response(
                status,
                date=self._deadlines.date,
                via=self._via,
                keep_alive=not self.last,
                bodiless=bodiless,
            )
        )

    def switch(self, head: ResponseHead, said: bytes) -> None:
        """
        Write the response that switches protocols.

        @param said: bytes that the server sent after it.
        """
        self._transport.write(switch(head, via=self._via, date=self._deadlines.date) + said)

    def probe(self, request: RequestHead, *, responding: bool) -> bool:
        """
        Write bytes without a meaning. The system of a client that is gone answers them with
        a reset.

        @param responding: whether the response has begun.
        @return: whether there are such bytes just now.
        """
        if not request.minor:
            return False
        if not responding:
            self._transport.write(CONTINUE)
            return True
        if not self._is_chunking or self._kept_back:
            return False
        # A leading zero of the size of the next chunk (RFC 9112 7.1).
        self._transport.write(b"0")
        return True
