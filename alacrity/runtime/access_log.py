"""
The access log: a line for each request, in the combined format or as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from twisted.logger import Logger

from alacrity.config import LogSettings

ACCESS: Final = "alacrity.access"
"""The namespace of the access log's events."""


class AccessRecord(msgspec.Struct, frozen=True, gc=False):
    """
    One line of the access log. Parts of a request that could not be read keep their
    defaults.

    @ivar client: its IP address; empty on a Unix socket.
    @ivar time: the end of the request, in seconds since the epoch.
    @ivar status: of the response; 0: there was none.
    @ivar version: such as C{HTTP/1.1}.
    @ivar body_bytes: bytes of the response's body that were sent.
    @ivar complete: whether the response was sent to its end.
    @ivar duration: seconds since the head of the request was read.
    @ivar server: the id of the last server that it was sent to, if any.
    @ivar reason: the fault, if the answer is the proxy's own or was broken off.
    """

    client: str
    time: float
    status: int
    method: bytes = b"-"
    target: bytes = b"-"
    version: str = "-"
    body_bytes: int = 0
    complete: bool = True
    referer: bytes | None = None
    user_agent: bytes | None = None
    duration: float = 0.0
    server: str | None = None
    reason: str = ""


def access_log(settings: LogSettings) -> Callable[[AccessRecord], None] | None:
    """
    A function that writes a record to the access log; L{None}: it is off.
    """
    if settings.access == "off":
        return None
    form = combined if settings.access == "combined" else as_json
    log = Logger(namespace=ACCESS)

    def write(record: AccessRecord) -> None:
        log.info("{line}", line=form(record), is_json=form is as_json)

    return write


def combined(record: AccessRecord) -> str:
    """
    A record as a line in the combined log format of NCSA and Apache.
    """
    moment = datetime.fromtimestamp(record.time, UTC)
    return (
        f"{record.client or '-'} - - [{moment:%d/%b/%Y:%H:%M:%S +0000}] "
        f'"{_quoted(record.method)} {_quoted(record.target)} {record.version}" '
        f"{record.status or '-'} {record.body_bytes or '-'} "
        f'"{_quoted(record.referer)}" "{_quoted(record.user_agent)}"'
    )


def as_json(record: AccessRecord) -> str:
    """
    A record as a JSON object.
    """
    document = {
        "time": datetime.fromtimestamp(record.time, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "client": record.client,
        "method": record.method.decode("latin-1"),
        "target": record.target.decode("latin-1"),
        "version": record.version,
        "status": record.status,
        "body_bytes": record.body_bytes,
        "complete": record.complete,
        "duration": round(record.duration, 6),
        "server": record.server,
        "referer": None if record.referer is None else record.referer.decode("latin-1"),
        "user_agent": None if record.user_agent is None else record.user_agent.decode("latin-1"),
    }
    if record.reason:
        document["reason"] = record.reason
    return msgspec.json.encode(document).decode()


_ESCAPES: Final = {
    **{byte: f"\\x{byte:02x}" for byte in (*range(0x20), *range(0x7F, 0x100))},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def _quoted(value: bytes | None) -> str:
    """
    A value escaped for a place between quotes, so that no client can forge a line.
    """
    return "-" if value is None else value.decode("latin-1").translate(_ESCAPES)
