"""
What is counted: plain integers, incremented where it happens.
"""

from __future__ import annotations


class Counter:
    """
    Successes and failures of one thing, since the process started.
    """

    __slots__ = ("failed", "success")

    def __init__(self) -> None:
        self.success = 0
        self.failed = 0

    def document(self) -> dict[str, int]:
        """As the API shows it."""
        return {"success": self.success, "failed": self.failed}


class Stats:
    """
    The counters of one node.

    @ivar client: requests that clients made. Success: a complete response with a
        status below 500 reached the client. Failed: any other answer, and
        responses broken off. A client that goes away itself counts as neither.
    @ivar server: attempts on servers. Success: a complete response with a status
        below 500. Failed: refused, timed out, broken off, malformed, 5xx.
    @ivar tunnels: connections that are switched to another protocol just now. The
        switch itself counts as a success, with client and server.
    """

    __slots__ = ("client", "server", "tunnels")

    def __init__(self) -> None:
        self.client = Counter()
        self.server = Counter()
        self.tunnels = 0
