"""
The resources of the test server.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from klein import Klein
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.server import Request

PIECE: Final = b"0123456789abcdef" * 4096
"""The content of C{/bytes}, which is written a piece at a time."""

LARGEST: Final = 1 << 40
"""The largest number of bytes or lines that may be asked for."""


class TestServer:
    """
    The resources of the test server.

    @ivar name: the name that it gives in its answers.
    @ivar port: the port that it listens on; 0: it does not listen yet.
    """

    __test__ = False

    app = Klein()

    def __init__(self, name: str, clock: IReactorTime) -> None:
        self.name = name
        self.port = 0
        self._clock = clock

    def listening(self, port: int) -> None:
        """
        Note the port that the server listens on.
        """
        self.port = port

    @app.route("/", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def root(self, request: IRequest) -> bytes:
        """
        The server's name and port, and the request that it received.
        """
        return _answer(request, {"name": self.name, "port": self.port, **_request(request)})

    @app.route("/headers")
    def headers(self, request: IRequest) -> bytes:
        """
        The header fields of the request, as pairs of name and value.
        """
        return _answer(request, _request(request)["headers"])

    @app.route("/echo", methods=["POST", "PUT", "PATCH"])
    def echo(self, request: IRequest) -> bytes:
        """
        The body of the request, unchanged.
        """
        (kind,) = request.requestHeaders.getRawHeaders(b"content-type") or [
            b"application/octet-stream"
        ]
        request.setHeader(b"content-type", kind)
        content: bytes = request.content.read()
        return content

    @app.route("/status/<int:code>")
    def status(self, request: IRequest, code: int) -> bytes:
        """
        A response with a status from 200 to 599.
        """
        if not 200 <= code <= 599:
            return _refuse(request, "a status from 200 to 599")
        request.setResponseCode(code)
        return b"" if code in {204, 304} else f"{code}\n".encode()

    @app.route("/delay/<seconds>")
    def delay(self, request: IRequest, seconds: str) -> bytes | Deferred[bytes]:
        """
        A response that is delayed by at most an hour.
        """
        try:
            wait = float(seconds)
        except ValueError:
            wait = -1
        if not 0 <= wait <= 3600:
            return _refuse(request, "seconds from 0 to 3600")
        return task.deferLater(
            self._clock, wait, lambda: _answer(request, {"name": self.name, "delay": wait})
        )

    @app.route("/bytes/<int:size>")
    def send_bytes(self, request: Request, size: int) -> Any:
        """
        A body of the given size, with a C{Content-Length}.
        """
        if size > LARGEST:
            return _refuse(request, f"at most {LARGEST} bytes")
        request.setHeader(b"content-type", b"application/octet-stream")
        request.setHeader(b"content-length", b"%d" % size)
        return _produce(
            request,
            size,
            lambda left: PIECE if left >= len(PIECE) else PIECE[:left],
            len,
        )

    @app.route("/stream/<int:lines>")
    def send_lines(self, request: Request, lines: int) -> Any:
        """
        A chunked body with the given number of JSON lines.
        """
        if lines > LARGEST:
            return _refuse(request, f"at most {LARGEST} lines")
        request.setHeader(b"content-type", b"application/x-ndjson")
        return _produce(
            request,
            lines,
            lambda left: (
                b'{"name": %b, "line": %d}\n' % (json.dumps(self.name).encode(), lines - left)
            ),
            lambda _: 1,
        )

    @app.route("/health")
    def health(self, request: IRequest) -> bytes:
        """
        The resource that health checks ask for.
        """
        return _answer(request, {"status": "ok"})


def _produce(
    request: Request, total: int, piece: Callable[[int], bytes], count: Callable[[bytes], int]
) -> Deferred[None]:
    """
    Write a body piece by piece, as fast as the client takes it.

    @param total: the size of the body, in whatever unit C{count} counts.
    @param piece: makes the next piece, from what is left.
    @param count: measures a piece.
    """
    left = total
    resumed: Deferred[None] | None = None

    class Producer:
        """Waits while the client's buffers are full."""

        def pauseProducing(self) -> None:
            nonlocal resumed
            if resumed is None:
                resumed = Deferred()

        def resumeProducing(self) -> None:
            nonlocal resumed
            waiting, resumed = resumed, None
            if waiting is not None:
                waiting.callback(None)

        stopProducing = resumeProducing

    async def write() -> None:
        nonlocal left
        gone = False

        def lost(_: object) -> None:
            nonlocal gone
            gone = True

        request.notifyFinish().addErrback(lost)
        request.registerProducer(Producer(), True)
        while left and not gone:
            data = piece(left)
            left -= count(data)
            request.write(data)
            if resumed is not None:
                await resumed
        if not gone:
            request.unregisterProducer()

    return Deferred.fromCoroutine(write())


def _request(request: IRequest) -> dict[str, Any]:
    content: Any = request.content
    return {
        "method": request.method.decode("latin-1"),
        "target": request.uri.decode("latin-1"),
        "headers": [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ],
        "body_bytes": len(content.read()),
    }


def _answer(request: IRequest, document: object) -> bytes:
    request.setHeader(b"content-type", b"application/json")
    return json.dumps(document).encode() + b"\n"


def _refuse(request: IRequest, allowed: str) -> bytes:
    request.setResponseCode(400)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return f"allowed: {allowed}\n".encode()
