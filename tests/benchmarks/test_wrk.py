"""
L{benchmarks.wrk} and L{benchmarks.requests}: what the tools are given, and what they say.
"""

from __future__ import annotations

import re

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.waiting import Broken
from benchmarks.pacer import Pacing
from benchmarks.requests import BROWSER, CHUNKED, FROM_BROWSER, POSTED, VARIES, Request
from benchmarks.wrk import WrkSummary, outcome, paced_outcome, summary

NO_ERRORS = {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}
DONE = WrkSummary(1000, 2_000_000, 500_000, 750.0, 1500.0, NO_ERRORS)
PACED = Pacing(1000, 499.0, 0.00025, 0.0005, 0.001, 0.00005, {})


class SummaryTests(SynchronousTestCase):
    def test_report_after_other_lines(self) -> None:
        said = (
            "Running 2s test @ http://127.0.0.1:1/100\n  1000 requests in 2.00s\n\n"
            'REPORT {"requests": 1000, "duration": 2000000, "bytes": 500000, "p50": 750.000000,'
            ' "p99": 1500.000000, "errors": {"connect": 0, "read": 0, "write": 0, "timeout": 0,'
            ' "status": 0}}\n'
        )
        self.assertEqual(summary(said), DONE)

    def test_no_report(self) -> None:
        error = self.assertRaises(Broken, summary, "unable to connect\n")
        self.assertIn("wrk printed no report: unable to connect", str(error))


class OutcomeTests(SynchronousTestCase):
    def test_values(self) -> None:
        result = outcome(DONE, FROM_BROWSER, cpu=0.5, wall=2.5)
        self.assertEqual(
            result.values,
            {"cpu_us": 500.0, "rps": 500.0, "p50_ms": 0.75, "p99_ms": 1.5, "core": 20.0},
        )
        self.assertEqual(result.fault, "")

    def test_faults(self) -> None:
        done = WrkSummary(1000, 2_000_000, 99_999, 1.0, 1.0, {**NO_ERRORS, "status": 3, "read": 1})
        self.assertEqual(
            outcome(done, FROM_BROWSER, 1.0, 1.0).fault,
            "1 read errors, 3 non-2xx, bodies too short: 99999 bytes in all",
        )

    def test_nothing_was_answered(self) -> None:
        done = WrkSummary(0, 1, 0, 0.0, 0.0, {"timeout": 32})
        self.assertRaises(Broken, outcome, done, FROM_BROWSER, 1.0, 1.0)
        pacing = Pacing(0, 0.0, 0.0, 0.0, 0.0, 0.0, {"unanswered": 9})
        self.assertRaises(Broken, paced_outcome, pacing, 9.0, 1.0)

    def test_paced(self) -> None:
        result = paced_outcome(PACED, 500.0, cpu=0.1)
        values = {name: round(value, 6) for name, value in result.values.items()}
        self.assertEqual(
            values,
            {
                "cpu_us": 100.0,
                "rps": 499.0,
                "core": 4.99,
                "p50_ms": 0.25,
                "p99_ms": 0.5,
                "p999_ms": 1.0,
                "late_ms": 0.05,
            },
        )
        self.assertEqual(result.fault, "")

    def test_a_load_that_cannot_keep_up_is_a_fault(self) -> None:
        self.assertEqual(paced_outcome(PACED, 600.0, 0.1).fault, "499 of 600 requests/s")
        late = msgspec.structs.replace(PACED, late=0.0003)
        self.assertEqual(paced_outcome(late, 500.0, 0.1).fault, "the load was late: 0.30 ms")


class RequestTests(SynchronousTestCase):
    def test_head(self) -> None:
        lines = FROM_BROWSER.head().decode().split("\r\n")
        self.assertEqual(lines[:2], ["GET /100 HTTP/1.1", "Host: 127.0.0.1"])
        self.assertEqual(len(lines), 2 + len(BROWSER) + 2)

    def test_script_of_a_body(self) -> None:
        script = POSTED.script()
        self.assertIn('wrk.method = "POST"', script)
        self.assertIn(f'wrk.body = "{"0" * 1024}"', script)
        self.assertIn("wrk.body = nil", FROM_BROWSER.script())
        self.assertIn("REPORT", script)

    def test_script_of_heads_that_vary(self) -> None:
        """
        The format has as many places as it is given values.
        """
        script = VARIES.script()
        self.assertIn("REPORT", script)
        head = re.search(r'format\("(.*)", (number,.*?)\)\nend', script, re.DOTALL)
        assert head is not None
        values = re.sub(r"random\([^)]*\)", "random", head[2]).split(",")
        self.assertEqual(len(re.findall(r"%0?8?[dx]", head[1])), len(values))
        self.assertEqual(head[1].count("Cookie: "), 1)
        self.assertIn("theme=dark", head[1])
        self.assertTrue(head[1].endswith(r"\r\n\r\n"))

    def test_percent_signs_stay(self) -> None:
        script = Request("/varying", {"Referer": "a%20b"}, varies=True).script()
        self.assertIn("Referer: a%%20b", script)

    def test_sizes(self) -> None:
        self.assertTrue(FROM_BROWSER.accepts(100))
        self.assertFalse(FROM_BROWSER.accepts(101))
        self.assertTrue(VARIES.accepts(150))
        self.assertFalse(VARIES.accepts(99))
        self.assertTrue(CHUNKED.is_chunked)
        self.assertTrue(CHUNKED.accepts(16384))
