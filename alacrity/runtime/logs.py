"""
The log of the process: one destination, chosen by C{twistd}, in plain text or as JSON
lines. The access log has lines of its own in the same place.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
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
)
from twisted.python.failure import Failure
from zope.interface import provider

from alacrity.config import LogSettings
from alacrity.process.owner import Owner
from alacrity.runtime.access_log import ACCESS
from alacrity.runtime.log_formats import as_json, as_text
from alacrity.runtime.logfile import LogFile, inside, why


class Output(Protocol):
    """
    A destination of the log: the part of a text file that is used.
    """

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> object:
        """Write out buffered text."""


class Plan(msgspec.Struct, frozen=True):
    """
    The format, level and file of the log.

    @ivar path: the file; L{None}: standard output.
    @ivar owner: the user that the node will run as; L{None}: the present one.
    @ivar inside: the file's path once the process is in a chroot, if it can be reached.
    """

    settings: LogSettings
    path: str | None
    owner: Owner | None
    inside: str | None


class _State:
    """
    The log's plan and file, global to the process.
    """

    plan: Plan
    file: LogFile | None = None


_state: Final = _State()


def configure(settings: LogSettings, twistd: Mapping[str, Any], owner: Owner | None = None) -> str:
    """
    Store the plan of the log for L{configured_observer}.

    @param twistd: its own options: C{logfile}, C{nodaemon}, C{debug} and C{chroot}.
    @return: the value for C{twistd --logger}: the name of the function that makes the
        observer. It takes nothing but a name, which is why the plan is global.
    @raise LogError: there is no such destination.
    """
    foreground = bool(twistd.get("nodaemon") or twistd.get("debug"))
    path = destination(twistd.get("logfile"), foreground=foreground)
    within = None if path is None else inside(path, twistd.get("chroot"))
    _state.plan = Plan(settings, path, owner, within)
    return f"{__name__}.{configured_observer.__name__}"


def configure_twist(settings: LogSettings, twist: MutableMapping[str, Any]) -> None:
    """
    Change the options of C{twist} so that its log is written as configured.

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
    # All that passes the filter of L{observer}.
    twist["logLevel"] = LogLevel.debug


def configured_observer() -> ILogObserver:
    """
    The observer for the plan that L{configure} stored.

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


def observer(settings: LogSettings, destination: Output) -> ILogObserver:
    """
    An observer that writes each event as configured, as a line or more.
    """
    form = as_json if settings.format == "json" else as_text

    @provider(ILogObserver)
    def write(event: LogEvent) -> None:
        text = form(event)
        if text:
            destination.write(text)
            destination.flush()

    important = LogLevelFilterPredicate(defaultLogLevel=LogLevel.lookupByName(settings.level))
    important.setLogLevelForNamespace(ACCESS, LogLevel.info)
    # It logs each connection that treq makes.
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
    Standard output without Python's buffer, which a signal handler cannot write to at any
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


class _ToTwisted(logging.Handler):
    """
    A handler that passes records of the standard library's logging to Twisted's log.
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
