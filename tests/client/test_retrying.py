"""
L{alacrity.client.retrying}: a call is repeated as long as that may help.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from alacrity.client.errors import CallFailed, CallRefused
from alacrity.client.retrying import persist
from tests.client.fake_api import run


class PersistTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.outcomes: list[str | Exception] = []
        self.reported: list[str] = []

    async def attempt(self) -> str:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def persist(self, *outcomes: str | Exception, pauses: tuple[float, ...]) -> Deferred[str]:
        self.outcomes = list(outcomes)
        return run(
            persist(
                self.attempt,
                pauses,
                lambda seconds: deferLater(self.clock, seconds),
                lambda failure: self.reported.append(str(failure)),
            )
        )

    def test_success_ends_it(self) -> None:
        self.assertEqual(self.successResultOf(self.persist("a", pauses=(1.0,))), "a")
        self.assertEqual(self.reported, [])

    def test_failures_are_repeated_after_their_pauses(self) -> None:
        failures = CallFailed("one"), CallFailed("two")
        persisting = self.persist(*failures, "a", pauses=(1.0, 2.0))
        for seconds, left in ((0.9, 2), (0.1, 1), (1.9, 1), (0.1, 0)):
            self.assertNoResult(persisting)
            self.clock.advance(seconds)
            self.assertEqual(len(self.outcomes), left)
        self.assertEqual(self.successResultOf(persisting), "a")
        self.assertEqual(self.reported, ["one", "two"])

    def test_a_refusal_ends_it(self) -> None:
        persisting = self.persist(CallFailed("one"), CallRefused("no"), "a", pauses=(1.0, 1.0))
        self.clock.advance(1.0)
        self.failureResultOf(persisting, CallRefused)
        self.assertEqual((self.outcomes, self.reported), (["a"], ["one"]))

    def test_the_last_failure_is_raised(self) -> None:
        persisting = self.persist(CallFailed("one"), CallFailed("two"), "a", pauses=(1.0,))
        self.clock.advance(1.0)
        self.assertEqual(str(self.failureResultOf(persisting, CallFailed).value), "two")
        self.assertEqual(self.reported, ["one"])
