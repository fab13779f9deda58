"""
L{alacrity.health.watch}: the outcomes of one registration's checks, and its phases.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import Verdict
from alacrity.health.watch import Watch
from alacrity.pool import Server, State, TcpCheck
from tests.health.bench import Health


def server(state: State) -> Server:
    return Server("10.0.0.7", 80, TcpCheck(), 1, state, "before", 0.0, 0.0, 1)


class WatchTests(SynchronousTestCase):
    def watch(self, state: State, outcomes: str) -> Watch:
        """
        A registration with some outcomes: + is a pass, - a failure.
        """
        watch = Watch(server(state), Health(), 7.0)
        for outcome in outcomes:
            watch.begin(8.0)
            watch.count(Verdict(outcome == "+", "why"), at=1.7e9, duration=0.25)
        return watch

    def test_state(self) -> None:
        """
        C{rise} passes in a row bring a server back, C{fall} failures take it down, and one
        pass lets a new one in.
        """
        for state, outcomes, wanted, is_changing in (
            (State.PENDING, "", State.PENDING, True),
            (State.PENDING, "+", State.UP, True),
            (State.PENDING, "--", State.PENDING, True),
            (State.PENDING, "---", State.DOWN, True),
            (State.UP, "", State.UP, False),
            (State.UP, "--", State.UP, True),
            (State.UP, "--+", State.UP, False),
            (State.UP, "+---", State.DOWN, True),
            (State.DOWN, "+", State.DOWN, True),
            (State.DOWN, "+-+", State.DOWN, True),
            (State.DOWN, "---", State.DOWN, False),
            (State.DOWN, "-++", State.UP, True),
        ):
            watch = self.watch(state, outcomes)
            self.assertEqual(
                (watch.wanted, watch.is_changing), (wanted, is_changing), (state, outcomes)
            )

    def test_phases(self) -> None:
        """
        The representation shows the phase.
        """
        watch = self.watch(State.UP, "")
        self.assertEqual(repr(watch), "<Watch 10.0.0.7:80 WAITING>")
        watch.wait_behind()
        self.assertTrue(watch.is_behind)
        watch.begin(1.0)
        self.assertEqual(repr(watch), "<Watch 10.0.0.7:80 CHECKING>")
        watch.wait()
        self.assertEqual((watch.is_behind, watch.is_gone), (False, False))
        watch.end()
        self.assertTrue(watch.is_gone)

    def test_interval(self) -> None:
        """
        Fast while it changes; then once by chance, and regular from there on.
        """
        watch = self.watch(State.UP, "")
        rng = Random(1)
        self.assertEqual(watch.choose_interval(rng, was_changing=True), 1.0)
        self.assertNotIn(watch.choose_interval(rng, was_changing=False), (1.0, 5.0))
        self.assertEqual(watch.choose_interval(rng, was_changing=False), 5.0)
        self.assertEqual(watch.choose_interval(rng, was_changing=True), 1.0)
        self.assertNotIn(watch.choose_interval(rng, was_changing=False), (1.0, 5.0))

    def test_interval_of_one_that_is_spread_already(self) -> None:
        watch = self.watch(State.UP, "")
        watch.wait(is_spread=True)
        self.assertEqual(watch.choose_interval(Random(1), was_changing=False), 5.0)

    def test_down_since(self) -> None:
        """
        From when it is known to be down.
        """
        watch = self.watch(State.DOWN, "")
        self.assertEqual(watch.down_since, 7.0)
        watch.change_state(server(State.UP), 8.0)
        self.assertEqual(watch.down_since, 7.0)
        watch.change_state(server(State.DOWN), 9.0)
        self.assertEqual(watch.down_since, 9.0)

    def test_result(self) -> None:
        result = self.watch(State.UP, "+-").result
        assert result is not None
        self.assertEqual(
            (result.passed, result.reason, result.at, result.duration), (False, "why", 1.7e9, 0.25)
        )
