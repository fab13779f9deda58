"""
For pytest alone: a directory of its own for each test, as trial has it, and the reactor on
which the tests of C{tests/integration} run.
"""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Offer a choice of reactors, of which a process has one.
    """
    parser.addoption(
        "--transports",
        choices=("uvloop", "twisted"),
        default="uvloop",
        help="the reactor that the tests in tests/integration run on (default: uvloop, as twistd)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """
    Install a reactor on uvloop before pytest-twisted installs one.
    """
    if "twisted.internet.reactor" in sys.modules or config.getoption("transports") != "uvloop":
        return
    import uvloop
    from twisted.internet import asyncioreactor

    asyncioreactor.install(uvloop.new_event_loop())
    config.option.reactor = "asyncio"


@pytest.fixture(autouse=True)
def _running_reactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Have trial's C{TestCase}s wait in the reactor that pytest-twisted runs; by themselves they
    would run it, which it is already.
    """
    from twisted.internet import reactor

    def wait(self: TestCase, deferred: Deferred[object]) -> None:
        pytest_twisted.blockon(deferred)

    def iterate(delay: float = 0.0) -> None:
        pytest_twisted.blockon(deferLater(reactor, delay))

    monkeypatch.setattr(TestCase, "_wait", wait)
    monkeypatch.setattr(reactor, "iterate", iterate)


@pytest.fixture(autouse=True)
def _temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
