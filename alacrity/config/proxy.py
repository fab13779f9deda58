"""
The tables of the data path: C{[proxy]}, C{[timeouts]} and C{[limits]}.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from alacrity.config.endpoints import endpoints
from alacrity.config.readers import (
    UNIX,
    Network,
    array,
    choice,
    count,
    count_or_zero,
    duration_or_zero,
    limit,
    pseudonym,
    time_limit,
    trusted_peer,
    upgrade_protocol,
)
from alacrity.net.addresses import TrustedPeers

Reuse: TypeAlias = Literal["always", "safe", "never"]


class ProxySettings(msgspec.Struct, frozen=True):
    """
    C{[proxy]}

    @ivar listen: endpoint strings.
    @ivar via: the proxy's pseudonym in C{Via} (RFC 9110 7.6.3).
    @ivar trusted_proxies: networks whose C{X-Forwarded-} fields are kept; the word C{unix}
        for Unix sockets.
    @ivar reuse: the requests that may go over a server connection that other clients have
        used: all; all but the first of a client's connection; none.
    @ivar upgrades: the protocols, as in C{Upgrade}, that a connection may be switched to.
    """

    listen: Annotated[tuple[str, ...], endpoints] = ("tcp:8080",)
    via: Annotated[str, pseudonym] = "alacrity"
    trusted_proxies: Annotated[tuple[Network | str, ...], array(trusted_peer)] = ()
    reuse: Annotated[Reuse, choice(Reuse)] = "always"
    upgrades: Annotated[tuple[str, ...], array(upgrade_protocol)] = (
        "websocket",
        "connect-udp",
        "connect-ip",
    )

    @property
    def trusted_peers(self) -> TrustedPeers:
        """The peers that C{trusted_proxies} names."""
        networks = tuple(each for each in self.trusted_proxies if not isinstance(each, str))
        return TrustedPeers(networks, unix=UNIX in self.trusted_proxies)


class TimeoutSettings(msgspec.Struct, frozen=True):
    """
    C{[timeouts]}: in seconds.

    @ivar connect: for a connection to a server.
    @ivar server_response: for a server to begin its response, or to go on with it.
    @ivar client_header: for a client to complete the head of a request.
    @ivar client_idle: for a client to begin a request, to go on with a body, or to
        read on.
    @ivar server_idle: for an unused connection to a server, until it is closed.
    @ivar drain: for requests in flight to finish when the proxy stops.
    @ivar tunnel_idle: for an upgraded connection that carries nothing, until it is closed.
    """

    connect: Annotated[float, time_limit] = 3.0
    server_response: Annotated[float, time_limit] = 60.0
    client_header: Annotated[float, time_limit] = 10.0
    client_idle: Annotated[float, time_limit] = 60.0
    server_idle: Annotated[float, time_limit] = 30.0
    drain: Annotated[float, duration_or_zero] = 30.0
    tunnel_idle: Annotated[float, time_limit] = 3600.0


class LimitSettings(msgspec.Struct, frozen=True):
    """
    C{[limits]}: sizes in bytes.

    @ivar request_line: longest request line.
    @ivar header_bytes: largest header section, request line included.
    @ivar header_count: most header fields.
    @ivar body_bytes: largest request body; 0: any.
    @ivar client_connections: most connections from clients at once.
    @ivar connections_per_address: most of them from one address, an IPv6 network of 64
        bits counting as one; 0: any number. Those of trusted proxies are not counted.
    @ivar body_rate: the least bytes a second at which a request body must come, on
        average over 20 s; 0: any.
    @ivar response_rate: the least bytes a second at which a client must take a response
        that it does not take at once, on average; 0: any, if it takes some at all within
        C{client_idle}.
    @ivar idle_per_server: most unused connections that are kept to one server.
    @ivar requests_per_connection: most requests on a client's connection; 0: any.
    """

    request_line: Annotated[int, count] = 16384
    header_bytes: Annotated[int, count] = 32768
    header_count: Annotated[int, count] = 100
    body_bytes: Annotated[int, limit] = 0
    client_connections: Annotated[int, count] = 10000
    connections_per_address: Annotated[int, limit] = 0
    body_rate: Annotated[int, limit] = 500
    response_rate: Annotated[int, limit] = 500
    idle_per_server: Annotated[int, count_or_zero] = 32
    requests_per_connection: Annotated[int, limit] = 0
