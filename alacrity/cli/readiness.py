"""
The wait until a port accepts connections.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

ATTEMPT: Final = 1.0
"""Seconds that one attempt to connect may take."""

FIRST_PAUSE: Final = 0.05
"""Seconds after the first round of attempts."""

LONGEST_PAUSE: Final = 0.5
"""Seconds after a round of attempts at most."""


async def wait_for_port(reactor: Any, hosts: Sequence[str], port: int) -> None:
    """
    Wait until a port accepts connections on one of several addresses. There is no end to it but
    cancellation.

    @param hosts: the addresses; they may become more while it waits.
    """
    pause = FIRST_PAUSE
    while True:
        for host in tuple(hosts):
            if await _accepts(reactor, host, port):
                return
        await deferLater(reactor, pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def _accepts(reactor: Any, host: str, port: int) -> bool:
    kind: Any = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    endpoint = kind(reactor, host, port, timeout=ATTEMPT)
    connected: Deferred[Any] = endpoint.connect(Factory.forProtocol(Protocol))
    try:
        protocol = await connected
    except ConnectingCancelledError:
        raise CancelledError from None
    except ConnectError:
        return False
    protocol.transport.loseConnection()
    return True


def own_addresses(
    urls: Iterable[str],
    resolve: Callable[..., Any] = socket.getaddrinfo,
) -> list[str]:
    """
    The addresses of this machine from which several URLs are called, which are those that the
    APIs see where no NAT is between. It blocks while names are resolved.
    """
    found: dict[str, None] = {}
    for url in urls:
        parts = urlsplit(url)
        try:
            known = resolve(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)
        except OSError:
            continue
        for family, kind, protocol, _, address in known:
            try:
                with socket.socket(family, kind, protocol) as probe:
                    # This sends nothing: it only asks for the route.
                    probe.connect(address)
                    found[probe.getsockname()[0]] = None
            except OSError:
                continue
    return list(found)
