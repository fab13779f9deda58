"""
A server to try the proxy with: C{python -m alacrity.testserver --register URL}.

It says who it is and what it got, misbehaves on demand, registers itself with
Alacrity, and deregisters itself when it is stopped.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import treq
from klein import Klein
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IRequest
from twisted.web.server import Request, Site

from alacrity.net.tokens import TokenError, read_token

REPETITION: Final = 1.0
"""How many seconds pass before registration is tried again."""

PATIENCE: Final = 3.0
"""For how many seconds an answer of the management API is awaited."""

PIECE: Final = b"0123456789abcdef" * 4096
"""What C{/bytes} is made of, written a piece at a time."""

LARGEST: Final = 1 << 40
"""The most bytes or lines that may be asked for."""


class TestServer:
    """
    What the test server serves.

    @ivar name: how it calls itself.
    @ivar port: where it listens, once it does.
    """

    __test__ = False

    app = Klein()

    def __init__(self, name: str, clock: IReactorTime) -> None:
        self.name = name
        self.port = 0
        self._clock = clock

    @app.route("/", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def root(self, request: IRequest) -> bytes:
        """
        Who this is, and what it got.
        """
        return _answer(request, {"name": self.name, "port": self.port, **_request(request)})

    @app.route("/headers")
    def headers(self, request: IRequest) -> bytes:
        """
        The header fields, name and value each, as they came.
        """
        return _answer(request, _request(request)["headers"])

    @app.route("/echo", methods=["POST", "PUT", "PATCH"])
    def echo(self, request: IRequest) -> bytes:
        """
        The body, back.
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
        A response after a while, at most an hour.
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
        So many bytes, with a C{Content-Length}.
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
        So many lines of JSON, in chunks.
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
        For checks.
        """
        return _answer(request, {"status": "ok"})


def _produce(
    request: Request, total: int, piece: Callable[[int], bytes], count: Callable[[bytes], int]
) -> Deferred[None]:
    """
    Write piece after piece, as fast as the client takes them.

    @param piece: the next one, when so much is left.
    @param count: how much of what is left a piece is.
    """
    left = total
    resumed: Deferred[None] | None = None

    class Producer:
        """Knows whether the client takes more."""

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
    Has a server in Alacrity's pool for as long as it runs.

    @ivar location: what it is called there; L{None}: it is not there.
    """

    def __init__(
        self,
        http: Any,
        url: str,
        document: dict[str, Any],
        say: Callable[[str], None],
        token: str | None = None,
    ) -> None:
        """
        @param http: L{treq}, or what looks like it.
        @param url: of the management API.
        @param document: for C{POST /servers}.
        @param token: what the API wants to know of its callers.
        """
        self._http = http
        self._url = url.rstrip("/")
        self._document = document
        self._say = say
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.location: str | None = None

    async def register(self, clock: IReactorTime) -> None:
        """
        Register, and try again for as long as nobody answers.

        @raise SystemExit: the registration is refused.
        """
        said = False
        while True:
            try:
                response = await self._http.post(
                    f"{self._url}/servers",
                    json=self._document,
                    headers=self._headers,
                    timeout=PATIENCE,
                )
                text = await response.text()
            except Exception as error:
                if not said:
                    self._say(f"cannot register with {self._url} yet: {_why(error)}")
                    said = True
            else:
                if response.code in {200, 201}:
                    self.location = f"/servers/{json.loads(text)['id']}"
                    self._say(f"registered with {self._url} as {self.location}")
                    return
                if response.code < 500:
                    raise SystemExit(f"registration refused: {response.code} {text.strip()}")
                if not said:
                    self._say(f"cannot register with {self._url} yet: {response.code}")
                    said = True
            await task.deferLater(clock, REPETITION, lambda: None)

    async def deregister(self) -> None:
        """
        Leave the pool, if we are in it.
        """
        location, self.location = self.location, None
        if location is None:
            return
        try:
            response = await self._http.delete(
                f"{self._url}{location}", headers=self._headers, timeout=PATIENCE
            )
        except Exception as error:
            self._say(f"cannot deregister: {_why(error)}")
        else:
            self._say(f"deregistered: {response.code}")


def _why(error: Exception) -> str:
    if isinstance(error, ResponseNeverReceived) and error.reasons:
        return str(error.reasons[0].value)
    return str(error) or type(error).__name__


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"found {text!r}; allowed: a port from 0 to 65535")
    return int(text)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ArgumentTypeError(f"found {text!r}; allowed: a URL such as http://127.0.0.1:8687")
    return text


def _token(text: str) -> str:
    try:
        return read_token(Path(text)).decode("ascii")
    except TokenError as error:
        raise ArgumentTypeError(f"{text}: {error}") from None


def arguments(argv: Sequence[str]) -> Namespace:
    """
    Understand the command line.
    """
    parser = ArgumentParser(
        prog="python -m alacrity.testserver", description="A server to try Alacrity with."
    )
    parser.add_argument("--port", type=_port, default=0, help="where to listen; 0: anywhere")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--name", help="how to call it; else by host name and process id")
    parser.add_argument("--register", type=_url, metavar="URL", help="Alacrity's management API")
    parser.add_argument(
        "--token-file", type=_token, metavar="FILE", dest="token", help="the token of that API"
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
    server.port = port.getHost().port
    _say(f"{server.name} listens on {options.host}, port {server.port}")
    if options.register is not None:
        document = {
            "port": str(server.port),
            "check": {"type": "http", "path": "/health"},
        }
        if options.host not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            document["ip"] = options.host
        registration = Registration(treq, options.register, document, _say, options.token)
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
