"""
Tests for L{alacrity.runtime.access_log}.
"""

from __future__ import annotations

import json
from io import StringIO

from twisted.logger import (
    globalLogPublisher,
)
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import LogSettings
from alacrity.runtime import logs
from alacrity.runtime.access_log import AccessRecord, access_log, as_json, combined

RECORD = AccessRecord(
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


class AccessTests(SynchronousTestCase):
    """
    The access log's lines.
    """

    def test_off(self) -> None:
        """
        Off, there is nothing to call.
        """
        self.assertIsNone(access_log(LogSettings()))

    def test_combined(self) -> None:
        """
        Bytes of a client cannot end a line, or a quoted string in it.
        """
        self.assertEqual(
            combined(RECORD),
            '203.0.113.9 - - [14/Nov/2023:22:13:20 +0000] "GET /a\\"b\\\\ HTTP/1.1" 200 5 '
            '"http://x/\\x0a\\xff" "curl"',
        )
        self.assertEqual(
            combined(AccessRecord(client="", time=0.0, status=0)),
            '- - - [01/Jan/1970:00:00:00 +0000] "- - -" - - "-" "-"',
        )

    def test_json(self) -> None:
        """
        An object with all there is to say.
        """
        self.assertEqual(
            json.loads(as_json(RECORD)),
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
        for access, line in (("combined", combined(RECORD)), ("json", as_json(RECORD))):
            for form in ("text", "json"):
                settings = LogSettings(level="error", format=form, access=access)  # type: ignore[arg-type]
                destination = StringIO()
                observe = logs.observer(settings, destination)
                globalLogPublisher.addObserver(observe)
                self.addCleanup(globalLogPublisher.removeObserver, observe)
                write = access_log(settings)
                assert write is not None
                write(RECORD)
                globalLogPublisher.removeObserver(observe)
                written = destination.getvalue()
                if (access, form) == ("combined", "json"):
                    self.assertEqual(json.loads(written)["line"], line)
                else:
                    self.assertEqual(written, line + "\n")
