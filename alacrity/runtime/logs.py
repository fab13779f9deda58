"""
The log: one destination, chosen by C{twistd}, in plain text or as JSON lines; and
the access log, lines of its own in the same place.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from twisted.logger import (
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
from zope.interface import provider

from alacrity.config import Log
from alacrity.process.owner import Owner
from alacrity.runtime.logfile import LogFile, inside, why

ACCESS: Final = "alacrity.access"
"""The namespace of the access log's events."""


class Output(Protocol):
    """
    The part of a text file that is used.
    """

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> object:
        """Have it written now."""


class Plan(msgspec.Struct, frozen=True):
    """
    How the log is to be written.

    @ivar path: the file; L{None}: standard output.
    @ivar owner: the user that the node will run as; L{None}: it stays who it is.
    @ivar inside: the file's path once the process is in a chroot, if it can be reached.
    """

    settings: Log
    path: str | None
    owner: Owner | None
    inside: str | None


class _State:
    """
    The log of this process.
    """

    plan: Plan
    file: LogFile | None = None


_state: Final = _State()


def configure(settings: Log, twistd: Mapping[str, Any], owner: Owner | None = None) -> str:
    """
    Take note of how the log is to be written.

    @param twistd: its own options: C{logfile}, C{nodaemon}, C{debug} and C{chroot}.
    @return: what C{twistd --logger} takes: the name of what makes the observer. It
        takes nothing but a name, which is why these settings are global.
    @raise LogError: there is no such destination.
    """
    foreground = bool(twistd.get("nodaemon") or twistd.get("debug"))
    path = destination(twistd.get("logfile"), foreground=foreground)
    within = None if path is None else inside(path, twistd.get("chroot"))
    _state.plan = Plan(settings, path, owner, within)
    return f"{__name__}.{configured_observer.__name__}"


def configure_twist(settings: Log, twist: MutableMapping[str, Any]) -> None:
    """
    Have C{twist} write its log as configured.

    @param twist: its own options, which are changed. Of those about the log, C{--log-file}
        counts; it cannot be told whether the others were given.
    @raise LogError: the file cannot be written.
    """
    file = twist["logFile"]
    output: Output
    if file is sys.stdout or file is sys.stderr:
        output = _standard(file)
    else:
        path = os.path.abspath(file.name)
        try:
            output = LogFile.open(path)
        except OSError as error:
            raise LogError(_unwritable(path, error)) from None
        file.close()
    if isinstance(output, LogFile):
        _state.file = output
    twist["logFile"] = output
    twist["fileLogObserverFactory"] = partial(observer, settings)
    # All that passes the filter of ours.
    twist["logLevel"] = LogLevel.debug


def configured_observer() -> ILogObserver:
    """
    The observer that L{configure} took note of.

    @raise SystemExit: the file cannot be written.
    """
    _route_standard_logging()
    if _state.plan.path is None:
        output = standard_output()
        _state.file = output if isinstance(output, LogFile) else None
        return observer(_state.plan.settings, output)
    try:
        _state.file = LogFile.open(
            _state.plan.path, None if _state.plan.owner is None else _state.plan.owner.acting()
        )
    except OSError as error:
        raise SystemExit(f"alacrity: {_unwritable(_state.plan.path, error)}") from None
    _state.file.path = _state.plan.inside
    return observer(_state.plan.settings, _state.file)


def reopen(cause: str) -> None:
    """
    Open the log's file anew by its name, if it has one.

    @param cause: the signal that asks for it.
    """
    if _state.file is None:
        Logger().info("{cause}: the log has no file that could be opened anew", cause=cause)
    else:
        _state.file.reopen(cause)


def descriptor() -> int | None:
    """
    The descriptor of the log's own file; L{None}: it has none.
    """
    return None if _state.file is None or _state.file.fileno() <= 2 else _state.file.fileno()


class LogError(Exception):
    """
    A log that cannot be written. The message is one line, for an operator.
    """


def observer(settings: Log, destination: Output) -> ILogObserver:
    """
    Writes events as configured, a line or more each.
    """
    form = _as_json if settings.format == "json" else _as_text

    @provider(ILogObserver)
    def write(event: LogEvent) -> None:
        text = form(event)
        if text:
            destination.write(text)
            destination.flush()

    important = LogLevelFilterPredicate(defaultLogLevel=LogLevel.lookupByName(settings.level))
    important.setLogLevelForNamespace(ACCESS, LogLevel.info)
    # It tells of each connection that treq makes.
    important.setLogLevelForNamespace("twisted.web.client", LogLevel.warn)
    return FilteringLogObserver(write, [important])


def destination(name: str | None, *, foreground: bool) -> str | None:
    """
    The file that C{twistd} would log to, from anywhere; L{None}: standard output.

    @raise LogError: a daemon cannot log to that.
    """
    if name == "-" or (foreground and not name):
        if not foreground:
            raise LogError(
                "--logfile: a daemon cannot log to standard output; name a file, or stay in the "
                "foreground with twistd -n"
            )
        return None
    return os.path.abspath(name or "twistd.log")


def standard_output() -> Output:
    """
    Standard output: not by Python's buffer, which a signal handler cannot write to at any
    time, and which fails once more when the process ends.
    """
    return LogFile(1) if sys.stdout is None else _standard(sys.stdout)


def _standard(stream: Any) -> Output:
    try:
        return LogFile(stream.fileno(), None, stream.encoding)
    except (AttributeError, OSError, ValueError):
        output: Output = stream
        return output


def _unwritable(path: str, error: OSError) -> str:
    return (
        f"the log {path} cannot be written: {why(error)}; name another with twistd's "
        "--logfile, or log to standard output with twistd -n"
    )


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
