"""
The documents that show servers and their counters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import UNSET

from alacrity.management.documents.checks import check_document
from alacrity.management.documents.problems import Problem, shown
from alacrity.management.documents.schemas import (
    AdministrationDocument,
    LastCheckDocument,
    RegisteredDocument,
    ServerCounterDocument,
    ServerDocument,
)
from alacrity.metrics.counters import Counter
from alacrity.pool import Server
from alacrity.pool.leases import Renewal


class LastCheck(Protocol):
    """
    The outcome of a server's latest check.
    """

    @property
    def passed(self) -> bool:
        """Whether the check passed."""

    @property
    def reason(self) -> str:
        """The reason why the check passed or failed, in a few words."""

    @property
    def at(self) -> float:
        """The time at which the check ended, in seconds since the epoch."""

    @property
    def duration(self) -> float:
        """The duration of the check, in seconds."""


def server_document(
    server: Server, last_check: LastCheck | None, *, draining: bool = False
) -> ServerDocument:
    """
    The document of a server.

    @param last_check: the outcome of the latest check on this node; L{None}: there was none.
    @param draining: whether the server was removed from the pool and finishes its requests.
    """
    return ServerDocument(**_members(server, last_check, draining=draining))


def registered_document(
    server: Server, last_check: LastCheck | None, renewal: Renewal | None
) -> RegisteredDocument:
    """
    The document of a server that was registered just now.

    @param last_check: see L{server_document}.
    @param renewal: its lease, as granted; L{None}: it has none.
    """
    members = _members(server, last_check)
    if renewal is not None:
        members["lease"] = renewal.lease
    return RegisteredDocument(
        **members, renew_after=UNSET if renewal is None else renewal.renew_after
    )


def _members(
    server: Server, last_check: LastCheck | None, *, draining: bool = False
) -> dict[str, Any]:
    administration, options = server.administration, server.options
    return {
        "id": server.id,
        "ip": server.ip,
        "port": str(server.port),
        "check": check_document(server.check),
        "weight": server.weight,
        "state": "draining" if draining else server.state.value,
        "reason": "removed; its last requests are being finished" if draining else server.reason,
        "since": _time(server.since),
        "registered": _time(server.registered),
        "last_check": None
        if last_check is None
        else LastCheckDocument(
            passed=last_check.passed,
            reason=last_check.reason,
            at=_time(last_check.at),
            duration=round(last_check.duration, 6),
        ),
        "version": server.version,
        "admin": AdministrationDocument(
            state=administration.state.value,
            weight=administration.weight,
            until=None if administration.until is None else _time(administration.until),
            reason=administration.reason,
        ),
        "effective_weight": server.effective_weight,
        "lease": options.lease,
        "suspect": server.condition.suspect,
        "disputed": server.condition.disputed,
        "max_requests": options.max_requests,
        "priority": options.priority,
        "group": options.group or None,
    }


def unknown_server(id: str) -> Problem:
    """
    The problem that there is no server of an id.
    """
    return Problem(404, f"there is no server {shown(id)}")


def counter_document(server: Server, counter: Counter | None) -> ServerCounterDocument:
    """
    The document of a server's counters.

    @param counter: the counter; L{None}: nothing was counted yet.
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
    Format a time in UTC by ISO 8601.

    @param seconds: the time, in seconds since the epoch.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
