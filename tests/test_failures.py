"""
L{acceptance.lab.outcomes}: the figures that are made of what clients saw, and
L{acceptance.lab.origins}: what servers write down.
"""

from __future__ import annotations

import math
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.origins import Line, content_length, journal_of
from acceptance.lab.outcomes import (
    HARM,
    Bar,
    Figures,
    Outcome,
    Row,
    figures,
    is_harmed,
    median,
    sent_twice,
    table,
    tries_after,
)

USUAL: Final = 0.02


def outcome(begun: float, took: float = USUAL, *, method: str = "GET", fault: str = "") -> Outcome:
    """A request of a client."""
    return Outcome(begun, took, method, fault, 1)


def sum_up(*outcomes: Outcome, notice: float = math.inf) -> Figures:
    """The figures of a fault at 10 s."""
    return figures(outcomes, 10.0, usual=USUAL, notice=notice)


class FiguresTests(SynchronousTestCase):
    """
    The figures of a scenario.
    """

    def test_only_after_the_fault(self) -> None:
        """
        Requests that ended before the fault do not count; those in hand do.
        """
        found = sum_up(outcome(9.0, fault="503"), outcome(9.9, 0.2), outcome(11.0))
        self.assertEqual((found.requests, found.failed, found.longest), (2, 0, 0.2))

    def test_methods_apart(self) -> None:
        """
        POSTs that failed are counted apart, and each kind of failure is named.
        """
        found = sum_up(
            outcome(11, fault="503"),
            outcome(12, fault="503", method="POST"),
            outcome(13, fault="no answer", took=8.0),
        )
        self.assertEqual((found.failed, found.posts), (2, 1))
        self.assertEqual(found.faults, "2 x 503, 1 x no answer")
        self.assertTrue(math.isnan(found.median))

    def test_harm(self) -> None:
        """
        The median is that of the unharmed; the scenario is clean after the last harmed one,
        failed or late.
        """
        waited = outcome(13.5, USUAL + HARM + 0.1)
        found = sum_up(outcome(11, 0.01), outcome(12, 0.03), outcome(12.5, fault="502"), waited)
        self.assertEqual((found.median, found.clean), (0.03, 3.5))
        self.assertEqual(sum_up(outcome(11)).clean, 0.0)

    def test_late(self) -> None:
        """
        Those that began after the proxy had time to notice are late, of them some failed.
        """
        found = sum_up(
            outcome(11.9, 3.0),
            outcome(12.1, 3.0),
            outcome(12.2, 3.0, fault="504"),
            outcome(12.3, 3.0, method="POST"),
            outcome(12.4),
            notice=2.0,
        )
        self.assertEqual((found.late, found.late_failed), (3, 1))

    def test_nothing(self) -> None:
        """
        There may be no request at all.
        """
        found = sum_up()
        self.assertEqual((found.requests, found.faults, found.clean), (0, "", 0.0))
        self.assertTrue(math.isnan(found.longest))

    @given(st.lists(st.floats(0, 1e6), min_size=1))
    def test_median(self, values: list[float]) -> None:
        """
        As many values are below the median as above it.
        """
        middle = median(values)
        self.assertIn(middle, values)
        self.assertLessEqual(sum(value < middle for value in values), len(values) / 2)
        self.assertLessEqual(sum(value > middle for value in values), len(values) / 2)

    def test_failed_is_harmed(self) -> None:
        """
        A failure harms however fast it is.
        """
        self.assertTrue(is_harmed(outcome(1, 0.0, fault="503"), USUAL))
        self.assertFalse(is_harmed(outcome(1, USUAL + HARM), USUAL))


class CountingTests(SynchronousTestCase):
    """
    Counts of what proxies and servers did.
    """

    def test_tries(self) -> None:
        """
        A counter's rise is counted in a span that begins with its first rise.
        """
        tries = [(0.0, 5), (0.1, 5), (0.2, 7), (0.25, 8), (0.35, 8), (0.5, 9), (0.9, 9), (1.5, 20)]
        self.assertEqual(tries_after(tries, 0.1, 0.8), 1)
        self.assertEqual(tries_after(tries, 0.4, 0.8), 0)
        self.assertEqual(tries_after(tries[:2], 0.1, 0.8), 0)
        self.assertEqual(tries_after([], 0.1, 0.8), 0)

    def test_journal(self) -> None:
        """
        A server that was killed may have left half a line.
        """
        text = "1.5 8001 GET /1\n2.5 8002 POST /2\n3.5 80"
        self.assertEqual(
            journal_of(text), [Line(1.5, 8001, "GET", "/1"), Line(2.5, 8002, "POST", "/2")]
        )

    def test_sent_twice(self) -> None:
        """
        POSTs that came again are counted once each; other methods may come again.
        """
        journal = [
            Line(number, 1, method, path)
            for number, (method, path) in enumerate(
                [("GET", "/1"), ("GET", "/1"), *[("POST", "/2")] * 3, ("POST", "/3")]
            )
        ]
        self.assertEqual(sent_twice(journal), 1)

    def test_content_length(self) -> None:
        """
        The length of a body stands in its head, in any case.
        """
        self.assertEqual(content_length(b"POST / HTTP/1.1\r\ncontent-LENGTH: 12"), 12)
        self.assertEqual(content_length(b"GET / HTTP/1.1\r\nHost: a"), 0)


class TableTests(SynchronousTestCase):
    """
    The table of all scenarios.
    """

    def row(self, *bars: Bar) -> Row:
        """A scenario that was played."""
        return Row("killed", "alacrity", sum_up(outcome(11), outcome(12)), math.nan, bars)

    def test_bars(self) -> None:
        """
        A row is met if all of its bars are; one whose figure is not known is not.
        """
        self.assertTrue(self.row(Bar("failed", 0, 0), Bar("waited", 3, 3.0)).met)
        self.assertEqual(self.row(Bar("failed", 0, 0)).verdict, "met")
        missed = self.row(Bar("failed", 2, 0), Bar("waited", 3, 3.0), Bar("p50", math.nan, 1))
        self.assertFalse(missed.met)
        self.assertEqual(missed.verdict, "MISSED: failed: 2 of at most 0; p50: nan of at most 1")

    def test_not_played(self) -> None:
        """
        A scenario that could not be played says why, and is not met.
        """
        row = Row("deploy", "alacrity", None, math.nan, (), "there is no command alacrity")
        self.assertFalse(row.met)
        self.assertTrue(table([row]).endswith("| not played: there is no command alacrity |"))

    def test_cells(self) -> None:
        """
        Each line has as many cells as the head.
        """
        empty = Row("deploy", "haproxy", None, math.nan, ())
        lines = table([self.row(Bar("failed", 0, 0)), empty]).splitlines()
        self.assertEqual({line.count("|") for line in lines}, {11})
        self.assertEqual(
            lines[2], "| killed | alacrity | 2 | 0 | 0 | 0.02 | 20.0 | 0.0 | - | met |"
        )
