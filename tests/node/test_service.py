"""
Tests for L{alacrity.node.service}: the phases of a node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import parse
from alacrity.node.control import Entry
from alacrity.node.phase import NodePhase
from alacrity.node.service import Alacrity


class _Control:
    """
    The control side of a node, which takes its time to start.
    """

    def __init__(self) -> None:
        self.started: Deferred[None] = Deferred()
        self.joins = 0

    async def take_part(self) -> None:
        await self.started

    def join(self, token: bytes | None) -> None:
        self.joins += 1


class _Reactor(Clock):
    def callWhenRunning(self, call: Any) -> None:
        call()


class PhaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.control = _Control()
        service: Any
        service = Alacrity(_Reactor(), parse("", "a.toml"), Path("state"), Entry())
        self.service = self.starting(service)
        self.taking_part = Deferred.fromCoroutine(self.service._take_part())

    def starting(self, service: Any) -> Any:
        service.control = self.control
        service._token = None
        service.phase = NodePhase.STARTING
        return service

    def test_serves_once_it_takes_part(self) -> None:
        self.assertEqual(repr(self.service), "<Alacrity starting>")
        self.control.started.callback(None)
        self.successResultOf(self.taking_part)
        self.assertEqual(repr(self.service), "<Alacrity serving>")
        self.assertEqual(self.control.joins, 1)

    def test_stopped_while_it_starts(self) -> None:
        """
        A node that stops joins no cluster, and does not serve any more.
        """
        self.service.phase = NodePhase.STOPPING
        self.control.started.callback(None)
        self.successResultOf(self.taking_part)
        self.assertEqual((self.service.phase, self.control.joins), (NodePhase.STOPPING, 0))
