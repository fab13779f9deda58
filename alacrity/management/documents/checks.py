"""
The checks in registrations: reading and showing them.

L{alacrity.health.checks} describes how to add a type of check. Here, each function needs a case
for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import UNSET

from alacrity.http1.fields import valid_host
from alacrity.management.documents.addresses import read_port
from alacrity.management.documents.optional import none_if_unset, unset_if_none
from alacrity.management.documents.problems import shown
from alacrity.management.documents.schemas import (
    CHECK_DOCUMENTS,
    CheckDocument,
    HttpCheckDocument,
    NoCheckDocument,
    TcpCheckDocument,
)
from alacrity.management.documents.strict import fault
from alacrity.pool import Check, HttpCheck, NoCheck, TcpCheck
from alacrity.pool.model import SHORTEST_INTERVAL, SHORTEST_TIMEOUT

ALLOWED_CHECK: Final[Mapping[str, str]] = {
    "check": 'an object such as {"type": "tcp"} or {"type": "http", "path": "/health"}',
    "check.type": " or ".join(f'"{name}"' for name in CHECK_DOCUMENTS),
    "check.path": 'a string that starts with "/", of printable ASCII without spaces and "#"',
    "check.status": "two numbers, the lowest and the highest status that pass, from 100 to 599",
    "check.host": "a host name or an address, with or without a port",
    "check.interval": f"seconds, from {SHORTEST_INTERVAL} to 86400",
    "check.timeout": f"seconds, from {SHORTEST_TIMEOUT} to 86400, at most check.interval, or if "
    "that is missing, the node's health.interval",
    "check.rise": "a whole number from 1 to 100",
    "check.fall": "a whole number from 1 to 100",
    "check.port": "1 to 65535, as a number or a string",
}
"""The allowed values of each member of a check, in words, by the member's path."""


class _CommonMembers(NamedTuple):
    """
    The members that all types of checks have, in their order.
    """

    interval: float | None
    timeout: float | None
    rise: int | None
    fall: int | None
    port: int | None


def read_check(asked: CheckDocument, default_interval: float) -> Check:
    """
    Read the check of a registration.

    @param default_interval: seconds between checks, if the document names no interval.
    @raise Problem: the check is not valid.
    """
    if isinstance(asked, NoCheckDocument):
        return NoCheck()
    common = _read_common(asked, default_interval)
    match asked:
        case TcpCheckDocument():
            return TcpCheck(*common)
        case HttpCheckDocument():
            lowest, highest = asked.status
            if lowest > highest:
                reason = "the first is above the second"
                raise fault("check.status", [lowest, highest], ALLOWED_CHECK, reason=reason)
            host = none_if_unset(asked.host)
            if host is not None and not (host.isascii() and valid_host(host.encode("ascii"))):
                raise fault("check.host", host, ALLOWED_CHECK)
            return HttpCheck(asked.path, asked.status, host, *common)


def _read_common(
    asked: TcpCheckDocument | HttpCheckDocument, default_interval: float
) -> _CommonMembers:
    interval = none_if_unset(asked.interval)
    timeout = none_if_unset(asked.timeout)
    if timeout is not None and timeout > (default_interval if interval is None else interval):
        reason = (
            f"above health.interval of this node, {shown(default_interval)}, as check.interval "
            "is not given"
            if interval is None
            else f"above check.interval, {shown(interval)}"
        )
        raise fault("check.timeout", timeout, ALLOWED_CHECK, reason=reason)
    return _CommonMembers(
        interval,
        timeout,
        none_if_unset(asked.rise),
        none_if_unset(asked.fall),
        None if asked.port is UNSET else read_port("check.port", asked.port, ALLOWED_CHECK),
    )


def check_document(check: Check) -> CheckDocument:
    """
    The document of a check, with which it could be registered again.
    """
    interval = unset_if_none(check.interval)
    timeout = unset_if_none(check.timeout)
    rise = unset_if_none(check.rise)
    fall = unset_if_none(check.fall)
    port = UNSET if check.port is None else str(check.port)
    match check:
        case TcpCheck():
            return TcpCheckDocument(interval, timeout, rise, fall, port)
        case HttpCheck():
            host = unset_if_none(check.host)
            return HttpCheckDocument(
                check.path, check.status, host, interval, timeout, rise, fall, port
            )
        case NoCheck():
            return NoCheckDocument()
