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
    globalLogPublisher,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import Log
from alacrity.runtime import logs

RECORD = logs.AccessRecord(
    client="203.0.113.9",
    time=1700000000.25,
    status=200,
    method=b"GET",
    target=b'/a"b\\',
    version="HTTP/1.1",
    body_bytes=5,
    referer=b"http://x/\n\xff",
    user_agent=b"curl",
    duration=0.0012345678,
    server="10.0.0.7:80",
)


class ObserverTests(SynchronousTestCase):
    """
    The log's lines.
    """

    def written(self, settings: Log, emit: object) -> str:
        """
        What comes of an event.
        """
        destination = StringIO()
        publisher = LogPublisher(logs.observer(settings, destination))
        emit(Logger(namespace="here", observer=publisher))  # type: ignore[operator]
        return destination.getvalue()

    def test_text(self) -> None:
        """
        Plain text is as Twisted writes it.
        """
        line = self.written(Log(), lambda log: log.info("server {id} is up", id="a"))
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+ \[here#info\] server a is up\n$")

    def test_level(self) -> None:
        """
        What is less important than the level is left out.
        """
        settings = Log(level="warn")
        self.assertEqual(self.written(settings, lambda log: log.info("a")), "")
        self.assertIn("[here#warn] a", self.written(settings, lambda log: log.warn("a")))
        self.assertEqual(self.written(Log(), lambda log: log.debug("a")), "")

    def test_json(self) -> None:
        """
        JSON has the message, and the values that it was made of.
        """
        line = self.written(
            Log(format="json"), lambda log: log.error("{n} of {what}", n=2, what="x\ny", o=object())
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

        self.assertIn("ZeroDivisionError: by nought", self.written(Log(), fail))
        document = json.loads(self.written(Log(format="json"), fail))
        self.assertEqual(document["message"], "it broke")
        self.assertIn("ZeroDivisionError: by nought", document["traceback"])

    def test_standard_logging(self) -> None:
        """
        What libraries say through the standard library's logging is heard.
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
        logs.configure_twist(Log(level="warn", format="json"), twist)
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


class AccessTests(SynchronousTestCase):
    """
    The access log's lines.
    """

    def test_off(self) -> None:
        """
        Off, there is nothing to call.
        """
        self.assertIsNone(logs.access_log(Log()))

    def test_combined(self) -> None:
        """
        What a client sends cannot end a line, or a quoted string in it.
        """
        self.assertEqual(
            logs.combined(RECORD),
            '203.0.113.9 - - [14/Nov/2023:22:13:20 +0000] "GET /a\\"b\\\\ HTTP/1.1" 200 5 '
            '"http://x/\\x0a\\xff" "curl"',
        )
        self.assertEqual(
            logs.combined(logs.AccessRecord(client="", time=0.0, status=0)),
            '- - - [01/Jan/1970:00:00:00 +0000] "- - -" - - "-" "-"',
        )

    def test_json(self) -> None:
        """
        An object with all there is to say.
        """
        self.assertEqual(
            json.loads(logs.as_json(RECORD)),
            {
                "time": "2023-11-14T22:13:20.250Z",
                "client": "203.0.113.9",
                "method": "GET",
                "target": '/a"b\\',
                "version": "HTTP/1.1",
                "status": 200,
                "body_bytes": 5,
                "complete": True,
                "duration": 0.001235,
                "server": "10.0.0.7:80",
                "referer": "http://x/\n\xff",
                "user_agent": "curl",
            },
        )

    def test_written(self) -> None:
        """
        Each record is a line of its own, whatever the log's format and level.
        """
        for access, line in (("combined", logs.combined(RECORD)), ("json", logs.as_json(RECORD))):
            for form in ("text", "json"):
                settings = Log(level="error", format=form, access=access)  # type: ignore[arg-type]
                destination = StringIO()
                observe = logs.observer(settings, destination)
                globalLogPublisher.addObserver(observe)
                self.addCleanup(globalLogPublisher.removeObserver, observe)
                write = logs.access_log(settings)
                assert write is not None
                write(RECORD)
                globalLogPublisher.removeObserver(observe)
                written = destination.getvalue()
                if (access, form) == ("combined", "json"):
                    self.assertEqual(json.loads(written)["line"], line)
                else:
                    self.assertEqual(written, line + "\n")
