"""
The log: one destination, chosen by C{twistd}, in plain text or as JSON lines; and
the access log, lines of its own in the same place.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Final, TextIO

import msgspec
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from alacrity.config import Log

ACCESS: Final = "alacrity.access"
"""The namespace of the access log's events."""


_settings: Log
_twistd: Mapping[str, Any]


def configure(settings: Log, twistd: Mapping[str, Any]) -> str:
    """
    Take note of how the log is to be written.

    @param twistd: its own options: C{logfile} and C{nodaemon}.
    @return: what C{twistd --logger} takes: the name of what makes the observer. It
        takes nothing but a name, which is why these settings are global.
    """
    global _settings, _twistd
    _settings, _twistd = settings, twistd
    return f"{__name__}.{configured_observer.__name__}"


def configured_observer() -> ILogObserver:
    """
    The observer that L{configure} took note of.
    """
    _route_standard_logging()
    destination = _destination(_twistd.get("logfile"), bool(_twistd.get("nodaemon")))
    return observer(_settings, destination)


def observer(settings: Log, destination: TextIO) -> ILogObserver:
    """
    Writes events as configured, a line or more each.
    """
    write = FileLogObserver(destination, _as_json if settings.format == "json" else _as_text)
    important = LogLevelFilterPredicate(defaultLogLevel=LogLevel.lookupByName(settings.level))
    important.setLogLevelForNamespace(ACCESS, LogLevel.info)
    # It tells of each connection that treq makes.
    important.setLogLevelForNamespace("twisted.web.client", LogLevel.warn)
    return FilteringLogObserver(write, [important])


def _destination(name: str | None, nodaemon: bool) -> TextIO:
    """
    Where C{twistd} would log to: standard output in the foreground, else a file
    that is rotated as it grows, and upon SIGUSR1.
    """
    if name == "-" or (nodaemon and not name):
        if not nodaemon:
            raise SystemExit("alacrity: a daemon cannot log to standard output")
        return sys.stdout
    file: Any = LogFile.fromFullPath(name or "twistd.log")

    def rotate(number: int, frame: FrameType | None) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

    if signal.getsignal(signal.SIGUSR1) in {None, signal.SIG_DFL}:
        signal.signal(signal.SIGUSR1, rotate)
    destination: TextIO = file
    return destination


def _as_text(event: LogEvent) -> str | None:
    if event.get("log_namespace") == ACCESS:
        return formatEvent(event) + "\n"
    return formatEventAsClassicLogText(event)


_LEVEL: Final = LogLevel.info


def _as_json(event: LogEvent) -> str | None:
    """
    One object a line: C{time} (RFC 3339, UTC), C{level}, C{namespace}, C{message},
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


class _ToTwisted(logging.Handler):
    """
    Takes what libraries say through the standard library's logging.
    """

    def emit(self, record: logging.LogRecord) -> None:
        level = LogLevel.lookupByName(
            {"WARNING": "warn", "ERROR": "error", "CRITICAL": "critical"}.get(
                record.levelname, "info" if record.levelno >= logging.INFO else "debug"
            )
        )
        failure = {}
        if record.exc_info is not None and record.exc_info[1] is not None:
            failure["log_failure"] = Failure(record.exc_info[1])
        Logger(namespace=record.name).emit(level, "{text}", text=record.getMessage(), **failure)


def _route_standard_logging() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _ToTwisted) for handler in root.handlers):
        root.addHandler(_ToTwisted())


# The access log


class AccessRecord(msgspec.Struct, frozen=True, gc=False):
    """
    One request, and what became of it; what could not be understood of it is left
    out.

    @ivar client: its address.
    @ivar time: when it ended, in seconds since the epoch.
    @ivar status: of the response; 0: there was none.
    @ivar version: such as C{HTTP/1.1}.
    @ivar body_bytes: how much of the response's body was sent.
    @ivar complete: whether the response was, to its end.
    @ivar duration: in seconds, since the head of the request was read.
    @ivar server: the id of the server that it went to last, if any.
    @ivar reason: what was wrong, if the answer is the proxy's own or broke off.
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


def access_log(settings: Log) -> Callable[[AccessRecord], None] | None:
    """
    What writes the access log; L{None}: it is off.
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
    A line in the combined log format of NCSA and Apache.
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
    A JSON object.
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
    Fit to stand between quotes: what a client sends cannot forge a line.
    """
    return "-" if value is None else value.decode("latin-1").translate(_ESCAPES)
