"""
One mutant, in a process of its own::

    python -m tests.mutations.one vote-forgotten seeds 0-299
    python -m tests.mutations.one vote-forgotten tests

The last line of the output says what has found it: C{killed: ...}, or C{survived}.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Final

from tests.mutations import patching
from tests.mutations.catalogue import CATALOGUE

TESTS: Final = (
    "tests/cluster/raft",
    "tests/cluster/test_replica.py",
    "tests/cluster/log",
    "tests/cluster/test_naming.py",
    "tests/cluster/test_state.py",
    "tests/cluster/test_membership_changes.py",
    "tests/cluster/wire",
    "tests/pool",
    "tests/health/test_leases.py",
    "tests/health/test_lease_keeper.py",
    "tests/health/test_opinions.py",
    "tests/health/test_inquiry.py",
    "tests/health/test_doubts.py",
    "tests/health/test_witness.py",
    "tests/node/test_witnesses.py",
    "tests/node/test_leases.py",
    "tests/simulation/test_leases.py",
)
"""The unit tests that a mutant meets."""

LONGEST: Final = 60
"""Seconds that a seed may take before the mutant is taken to run for ever."""


class _TooLong(BaseException):
    """
    A run has not ended in time.
    """


def _alarm(number: int, frame: object) -> None:
    raise _TooLong


def by_seeds(first: int, last: int, scenario: str | None) -> str | None:
    """
    What the simulation says of this process's mutant; L{None}: nothing is wrong.
    """
    from tests.simulation.clock import patched
    from tests.simulation.run import play
    from tests.simulation.scenarios import SCENARIOS

    names = [scenario] if scenario else list(SCENARIOS)
    signal.signal(signal.SIGALRM, _alarm)
    for seed in range(first, last + 1):
        name = names[seed % len(names)]
        signal.alarm(LONGEST)
        try:
            with patched():
                violations = play(seed, name).violations
        except _TooLong:
            violations = [f"no end within {LONGEST} s"]
        except Exception as error:
            violations = [f"{type(error).__name__}: {error}"]
        finally:
            signal.alarm(0)
        if violations:
            return f"seed {seed}, {name}: {violations[0].splitlines()[0]}"
    return None


def by_tests() -> str | None:
    """
    The first unit test that fails with this process's mutant; L{None}: none does.
    """
    import pytest

    failed: list[str] = []

    class _Plugin:
        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.failed:
                failed.append(report.nodeid)

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                failed.append(report.nodeid)

    arguments = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        "--no-header",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        *TESTS,
    ]
    pytest.main(arguments, plugins=[_Plugin()])
    return failed[0] if failed else None


def main() -> int:
    """
    The command.
    """
    name, how, *rest = sys.argv[1:]
    patching.apply(CATALOGUE[name])
    if how == "tests":
        result = by_tests()
    else:
        first, _, last = rest[0].partition("-")
        result = by_seeds(int(first), int(last or first), rest[1] if rest[1:] else None)
    sys.stdout.write(f"\nkilled: {result}\n" if result else "\nsurvived\n")
    sys.stdout.flush()
    # A mutant's threads and exit handlers are of no interest.
    os._exit(0)


if __name__ == "__main__":
    main()
