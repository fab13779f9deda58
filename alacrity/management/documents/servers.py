"""
The documents that show servers and their counters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from alacrity.management.documents.checks import check_document
from alacrity.management.documents.schemas import (
    LastCheckDocument,
    ServerCounterDocument,
    ServerDocument,
)
from alacrity.metrics.counters import Counter
from alacrity.pool import Server


class LastCheck(Protocol):
    """
    The outcome of a server's latest check.
    """

    @property
    def passed(self) -> bool:
        """True if the check passed."""

    @property
    def reason(self) -> str:
        """Why it passed or failed, in a few words."""

    @property
    def at(self) -> float:
        """The time at which it ended, in seconds since the epoch."""

    @property
    def duration(self) -> float:
        """In seconds."""


def server_document(
    server: Server, last_check: LastCheck | None, *, draining: bool = False
) -> ServerDocument:
    """
    A server, as the API shows it.

    @param last_check: on this node; L{None}: there was none.
    @param draining: whether it has left the pool and is finishing its requests.
    """
    return ServerDocument(
        id=server.id,
        ip=server.ip,
        port=str(server.port),
        check=check_document(server.check),
        weight=server.weight,
        state="draining" if draining else server.state.value,
        reason="removed; its last requests are being finished" if draining else server.reason,
        since=_time(server.since),
        registered=_time(server.registered),
        last_check=None
        if last_check is None
        else LastCheckDocument(
            passed=last_check.passed,
            reason=last_check.reason,
            at=_time(last_check.at),
            duration=round(last_check.duration, 6),
        ),
    )


def counter_document(server: Server, counter: Counter | None) -> ServerCounterDocument:
    """
    A server's counters, as the API shows them.

    @param counter: L{None}: nothing was counted yet.
    """
    return ServerCounterDocument(
        id=server.id,
        ip=server.ip,
        port=str(server.port),
        **(Counter() if counter is None else counter).document(),
        state=server.state.value,
        weight=server.weight,
    )


def _time(seconds: float) -> str:
    """
    A time in UTC as ISO 8601 writes it.

    @param seconds: since the epoch.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
