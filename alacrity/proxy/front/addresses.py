"""
The addresses of a client connection, as requests to servers name them.
"""

from __future__ import annotations

from functools import lru_cache
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
    return _authority(ip, host.port) if ip else b"localhost"


@lru_cache(64)
def _authority(ip: str, port: int) -> bytes:
    return (f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}").encode("ascii")
