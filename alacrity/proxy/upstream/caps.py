"""
Caps: the most requests that a server may have at a time.
"""

from __future__ import annotations

from alacrity.pool import Server


def registered_cap(server: Server, default: int) -> int:
    """
    The cap of a server, as it was registered, or else as configured; 0: there is none.

    @param default: the configured one.
    """
    registered = server.options.max_requests
    return default if registered is None else registered
