"""
An HTTP server to try the proxy with: C{python -m alacrity.testserver --register URL}.

It answers with its name and the request that it received, fails or delays on demand,
registers itself with Alacrity, and deregisters itself when it is stopped.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import treq
from klein import Klein
from msgspec import UNSET
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.server import Request, Site

from alacrity.client import (
    ApiClient,
    CallError,
    CallFailed,
    CallRefused,
    HttpCheckRequest,
    RegistrationRequest,
    persist,
    treq_sender,
)
from alacrity.client.api import server_path
from alacrity.net.addresses import is_http_url
from alacrity.net.tokens import TokenError, read_token

ATTEMPT_INTERVAL: Final = 1.0
"""Seconds between a failed attempt to register and the next."""

ANSWER_TIMEOUT: Final = 3.0
"""Seconds to wait for an answer of the management API."""

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
                lambda seconds: task.deferLater(clock, seconds),
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


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"found {text!r}; allowed: a port from 0 to 65535")
    return int(text)


def _url(text: str) -> str:
    if not is_http_url(text):
        raise ArgumentTypeError(f"found {text!r}; allowed: a URL such as http://127.0.0.1:8687")
    return text


def _token(text: str) -> str:
    try:
        return read_token(Path(text)).decode("ascii")
    except TokenError as error:
        raise ArgumentTypeError(f"{text}: {error}") from None


def arguments(argv: Sequence[str]) -> Namespace:
    """
    Parse the command line.
    """
    parser = ArgumentParser(
        prog="python -m alacrity.testserver", description="A server to try Alacrity with."
    )
    parser.add_argument("--port", type=_port, default=0, help="the port to listen on; 0: any")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument(
        "--name", help="its name; by default made of the host name and the process id"
    )
    parser.add_argument("--register", type=_url, metavar="URL", help="Alacrity's management API")
    parser.add_argument(
        "--token-file",
        type=_token,
        metavar="FILE",
        dest="token",
        help="the file of that API's token",
    )
    return parser.parse_args(argv)


async def serve(reactor: Any, options: Namespace) -> None:
    """
    Listen, register, and serve until the process is told to stop.
    """
    server = TestServer(options.name or f"{socket.gethostname()}-{os.getpid()}", reactor)
    site = Site(server.app.resource())
    site.displayTracebacks = False
    endpoint: Any = TCP6ServerEndpoint if ":" in options.host else TCP4ServerEndpoint
    try:
        port: Any = await endpoint(reactor, options.port, interface=options.host).listen(site)
    except CannotListenError as error:
        raise SystemExit(f"cannot listen on {options.host}: {error.socketError}") from None
    server.listening(port.getHost().port)
    _say(f"{server.name} listens on {options.host}, port {server.port}")
    if options.register is not None:
        # Without an address, the API takes the one from which the call comes.
        is_wildcard = options.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        registration = Registration(
            ApiClient(
                treq_sender(treq, options.register, timeout=ANSWER_TIMEOUT, token=options.token)
            ),
            options.register,
            RegistrationRequest(
                ip=UNSET if is_wildcard else options.host,
                port=str(server.port),
                check=HttpCheckRequest("/health"),
            ),
            _say,
        )
        reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: Deferred.fromCoroutine(registration.deregister())
        )
        await registration.register(reactor)
    await Deferred()


def _say(text: str) -> None:
    print(text, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """
    The command.
    """
    options = arguments(sys.argv[1:] if argv is None else argv)

    def run(reactor: IReactorCore) -> Deferred[None]:
        return Deferred.fromCoroutine(serve(reactor, options))

    task.react(run)


if __name__ == "__main__":
    main()
