"""
The command C{python -m alacrity.testserver}.
"""

from __future__ import annotations

import os
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import treq
from msgspec import UNSET
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorCore
from twisted.web.server import Site

from alacrity.client import ApiClient, HttpCheckRequest, RegistrationRequest, treq_sender
from alacrity.net.tokens import TokenError, read_token
from alacrity.testserver.registration import Registration
from alacrity.testserver.resources import TestServer

ANSWER_TIMEOUT: Final = 3.0
"""Seconds to wait for an answer of the management API."""


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
