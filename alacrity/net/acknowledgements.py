"""
Time limits on acknowledgements: connections to hosts that are gone.
"""

from __future__ import annotations

import socket
from typing import Any, Final

PROBE_INTERVAL: Final = 1
"""Seconds without data until a host is probed, and between two probes."""

_LATENESS: Final = 0.75
"""Seconds by which the system may end a connection late: it looks at the time limit when a probe
is due, and its timers of a second fire up to a sixth late."""


def set_acknowledgement_timeout(transport: Any, seconds: float) -> None:
    """
    Have the system break a TCP connection whose other end acknowledges nothing for so long: by
    default, that takes a quarter of an hour. The limit that is set is somewhat shorter, so that it
    holds in effect. The other end is probed while nothing is sent,
    or a host that goes between its acknowledgement and its response would not be noticed.

    To the system, a receiver that has no room for data is gone, too.

    @param transport: of a connection. One that has no socket is left as it is.
    @param seconds: 0: the system's own limit stays.
    """
    get_handle = getattr(transport, "getHandle", None)
    sock = None if get_handle is None or not seconds else get_handle()
    if sock is None or sock.family == socket.AF_UNIX:
        return
    limit = max(seconds - _LATENESS, seconds / 2)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(limit * 1000)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_INTERVAL)
    except (OSError, AttributeError):
        pass  # It is lost already, or the system has no such options.
