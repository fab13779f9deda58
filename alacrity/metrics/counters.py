"""
Counters of requests and attempts: plain integers.
"""

from __future__ import annotations


class Counter:
    """
    Successes and failures of one thing, since the process started.
    """

    __slots__ = ("failed", "success")

    def __init__(self, success: int = 0, failed: int = 0) -> None:
        self.success = success
        self.failed = failed

    def count(self, succeeded: bool) -> None:
        """Count one more."""
        if succeeded:
            self.success += 1
        else:
            self.failed += 1

    @property
    def total(self) -> int:
        """Successes and failures together."""
        return self.success + self.failed

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
    @ivar tunnels: open connections that were switched to another protocol. The
        switch itself counts as a success, with client and server.
    """

    __slots__ = ("client", "server", "tunnels")

    def __init__(self) -> None:
        self.client = Counter()
        self.server = Counter()
        self.tunnels = 0

    def tunnel_opened(self) -> None:
        """Count one tunnel more."""
        self.tunnels += 1

    def tunnel_closed(self) -> None:
        """Count one tunnel less."""
        self.tunnels -= 1
