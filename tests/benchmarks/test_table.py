"""
L{benchmarks.table}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.runs import Run
from benchmarks.table import table
from tests.benchmarks.examples import CASES, PROXIES, runs


def rows(*more: Run) -> list[dict[str, str]]:
    """
    The rows of the table, by head.
    """
    lines = table(runs(*more).results(), CASES, PROXIES).splitlines()
    heads, _, *cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    return [dict(zip(heads, each, strict=True)) for each in cells]


class TableTests(SynchronousTestCase):
    def test_cost_of_each_case(self) -> None:
        """
        Ratios and spread are of the value that the case is about.
        """
        nginx = Run("browser", "nginx", {"cpu_us": 10.0})
        found = rows(
            Run("browser", "alacrity", {"cpu_us": 25.0, "p99_ms": 9.0}),
            Run("open", "alacrity", {"cpu_us": 99.0, "p99_ms": 0.6}),
            Run("open", "alacrity", {"cpu_us": 99.0, "p99_ms": 0.4}),
            nginx,
        )
        ours, reference, paced, _ = found
        self.assertEqual((ours["x haproxy"], ours["x nginx"]), ("1.25", "2.50"))
        self.assertEqual((reference["CPU us/request"], reference["spread %"]), ("20.0", "400"))
        self.assertEqual((paced["x haproxy"], paced["x nginx"]), ("1.00", ""))
        self.assertEqual((paced["spread %"], paced["p99 ms"]), ("40", "0.50"))

    def test_columns_without_a_value_are_left_out(self) -> None:
        (row, _) = rows()
        self.assertNotIn("KiB/connection", row)
        self.assertNotIn("x caddy", row)
        self.assertEqual(row["faults"], "")

    def test_faults_once(self) -> None:
        fault = Run("browser", "alacrity", {}, "3 non-2xx")
        (row, *_) = rows(fault, fault, Run("browser", "alacrity", {}, "it has ended"))
        self.assertEqual(row["faults"], "3 non-2xx; it has ended")
        self.assertEqual((row["CPU us/request"], row["x haproxy"]), ("", ""))

    def test_titles(self) -> None:
        (row, *_) = rows(Run("browser", "alacrity-pure", {"cpu_us": 1.0}))
        self.assertEqual((row["case"], row["proxy"]), ("ten browser headers", "alacrity (pure)"))
