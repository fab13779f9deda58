"""
Log events as text: classic lines, or JSON objects.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from twisted.logger import LogEvent, LogLevel, formatEvent, formatEventAsClassicLogText
from twisted.python.failure import Failure

from alacrity.runtime.access_log import ACCESS


def as_text(event: LogEvent) -> str | None:
    """
    The lines that Twisted writes for an event; L{None}: the event says nothing.
    """
    if event.get("log_namespace") == ACCESS:
        return formatEvent(event) + "\n"
    return formatEventAsClassicLogText(event)


_LEVEL: Final = LogLevel.info


def as_json(event: LogEvent) -> str:
    """
    One JSON object a line: C{time} (RFC 3339, UTC), C{level}, C{namespace}, C{message},
    the event's own plain values, and the C{traceback} of a failure. An access line
    that is an object itself stays as it is.
    """
    if event.get("log_namespace") == ACCESS and event.get("is_json"):
        return f"{event['line']}\n"
    document: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "level": (event.get("log_level") or _LEVEL).name,
        "namespace": event.get("log_namespace", ""),
        "message": formatEvent(event),
    }
    for key, value in event.items():
        if not key.startswith("log_") and isinstance(value, str | int | float | bool):
            document.setdefault(key, value)
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        document["traceback"] = failure.getTraceback()
    return msgspec.json.encode(document).decode() + "\n"
