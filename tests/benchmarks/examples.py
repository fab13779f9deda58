"""
Results of a comparison.
"""

from __future__ import annotations

from benchmarks.runs import Run, Runs

CASES = {"browser": ("ten browser headers", "cpu_us"), "open": ("open loop", "p99_ms")}
PROXIES = {"alacrity": "alacrity", "alacrity-pure": "alacrity (pure)", "haproxy": "haproxy"}
MACHINE = {"date": "2026-11-27", "processor": "2 cores", "haproxy": "2.6.12", "alacrity": "1.0"}


def runs(*more: Run) -> Runs:
    """
    Three rounds of the reference in each case, and more.
    """
    reference = [
        Run("browser", "haproxy", {"cpu_us": each, "p99_ms": 1.0}) for each in (90.0, 20.0, 10.0)
    ]
    paced = Run("open", "haproxy", {"cpu_us": 33.0, "p99_ms": 0.5, "p999_ms": 0.75})
    return Runs(MACHINE, CASES, PROXIES, [*reference, paced, *more])
