"""
The addresses of a client connection, as requests to servers name them.
"""

from __future__ import annotations

from typing import Any


def ip_of(peer: Any) -> str:
    """
    A client's IP address; empty where it has none, as on a Unix socket.
    """
    host = getattr(peer, "host", "")
    return host if isinstance(host, str) else ""


def authority_of(host: Any) -> bytes:
    """
    The address that a client connected to, as in a C{Host} field.
    """
    ip = getattr(host, "host", "")
    if not ip:
        return b"localhost"
    return (f"[{ip}]:{host.port}" if ":" in ip else f"{ip}:{host.port}").encode("ascii")
