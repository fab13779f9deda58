"""
Tests for L{alacrity.runtime.logs}.
"""

from __future__ import annotations

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.logger import (
    Logger,
    LogLevel,
    LogPublisher,
    capturedLogs,
    formatEvent,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import LogSettings
from alacrity.runtime import logs


class ObserverTests(SynchronousTestCase):
    """
    The log's lines.
    """

    def written(self, settings: LogSettings, emit: object) -> str:
        """
        The text for an event.
        """
        destination = StringIO()
        publisher = LogPublisher(logs.observer(settings, destination))
        emit(Logger(namespace="here", observer=publisher))  # type: ignore[operator]
        return destination.getvalue()

    def test_text(self) -> None:
        """
        Plain text is as Twisted writes it.
        """
        line = self.written(LogSettings(), lambda log: log.info("server {id} is up", id="a"))
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+ \[here#info\] server a is up\n$")

    def test_level(self) -> None:
        """
        Events below the level are left out.
        """
        settings = LogSettings(level="warn")
        self.assertEqual(self.written(settings, lambda log: log.info("a")), "")
        self.assertIn("[here#warn] a", self.written(settings, lambda log: log.warn("a")))
        self.assertEqual(self.written(LogSettings(), lambda log: log.debug("a")), "")

    def test_json(self) -> None:
        """
        JSON has the message, and the values that it was made of.
        """
        line = self.written(
            LogSettings(format="json"),
            lambda log: log.error("{n} of {what}", n=2, what="x\ny", o=object()),
        )
        document = json.loads(line)
        self.assertRegex(document.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            document,
            {"level": "error", "namespace": "here", "message": "2 of x\ny", "n": 2, "what": "x\ny"},
        )
        self.assertEqual(line.count("\n"), 1)

    def test_failure(self) -> None:
        """
        A failure comes with its traceback, in JSON within the one line.
        """

        def fail(log: Logger) -> None:
            log.failure("it broke", Failure(ZeroDivisionError("by nought")))

        self.assertIn("ZeroDivisionError: by nought", self.written(LogSettings(), fail))
        document = json.loads(self.written(LogSettings(format="json"), fail))
        self.assertEqual(document["message"], "it broke")
        self.assertIn("ZeroDivisionError: by nought", document["traceback"])

    def test_standard_logging(self) -> None:
        """
        Records of the standard library's logging are in the log.
        """
        self.patch(logging.root, "handlers", [])
        logs._route_standard_logging()
        logs._route_standard_logging()
        self.assertEqual(len(logging.root.handlers), 1)
        with capturedLogs() as events:
            logging.getLogger("a.library").warning("%d %% {x}", 5)
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertEqual((event["log_namespace"], formatEvent(event)), ("a.library", "5 % {x}"))

    def test_destination(self) -> None:
        """
        A file is known by its whole path; a daemon has no standard output.
        """
        cases: list[tuple[str | None, bool, str | None]] = [
            ("log", True, str(Path.cwd() / "log")),
            ("log", False, str(Path.cwd() / "log")),
            (None, False, str(Path.cwd() / "twistd.log")),
            (None, True, None),
            ("-", True, None),
        ]
        for name, foreground, expected in cases:
            self.assertEqual(logs.destination(name, foreground=foreground), expected)
        with self.assertRaisesRegex(logs.LogError, "a daemon cannot log to standard output"):
            logs.destination("-", foreground=False)

    def test_twist(self) -> None:
        """
        C{twist} is given our observer, and a file that can be opened anew.
        """
        self.patch(logs, "_state", logs._State())
        path = Path(self.mktemp())
        twist: dict[str, Any] = {"logFile": path.open("a"), "logLevel": LogLevel.info}
        logs.configure_twist(LogSettings(level="warn", format="json"), twist)
        output = twist["logFile"]
        self.addCleanup(output.close)
        publisher = LogPublisher(twist["fileLogObserverFactory"](output))
        log = Logger(namespace="here", observer=publisher)
        log.info("not said")
        log.warn("said")
        self.assertEqual(json.loads(path.read_text())["message"], "said")
        self.assertIs(twist["logLevel"], LogLevel.debug)
        path.rename(f"{path}.1")
        logs.reopen("SIGHUP")
        self.assertTrue(path.exists())

    def test_nothing_to_reopen(self) -> None:
        """
        Where the log is not written by us, that is said.
        """
        self.patch(logs, "_state", logs._State())
        with capturedLogs() as events:
            logs.reopen("SIGHUP")
        (event,) = events
        self.assertEqual(
            formatEvent(event), "SIGHUP: the log has no file that could be opened anew"
        )
