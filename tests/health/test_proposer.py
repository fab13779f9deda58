"""
L{alacrity.health.proposer}: the changes of state, and the removals, that follow from checks.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogLevel, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import (
    Deregister,
    Pool,
    Report,
    State,
)
from tests.health.bench import EPOCH, FAIL, ID, PASS, STAYING, Bench, Health, failing, restored
from tests.support.pools import apply_to


class StateTests(SynchronousTestCase):
    """
    The states that follow from outcomes.
    """

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.monitor.startService()

    def up(self) -> None:
        """A server that is up, long since."""
        self.bench.register()
        self.bench.advance(20.0)
        self.bench.begun.clear()
        self.bench.commands.clear()

    def test_nothing_is_proposed_while_nothing_changes(self) -> None:
        self.up()
        self.bench.advance(20.0)
        self.assertEqual(self.bench.commands, [])

    def test_steadily_then_fast_then_down_then_back(self) -> None:
        self.up()
        self.bench.advance(10.0)
        first, second = self.bench.times()
        self.assertEqual(second, first + 5.0)
        self.bench.begun.clear()
        self.bench.answer = lambda server: FAIL
        self.bench.advance(8.0)
        start = second + 5.0
        # Fast while it fails, once more after the change.
        self.assertEqual(self.bench.times()[:4], [start, start + 1, start + 2, start + 3])
        (command,) = self.bench.commands
        assert isinstance(command, Report)
        self.assertEqual(
            (command.state, command.reason, command.revision),
            (State.DOWN, "connection refused", 1),
        )
        self.assertAlmostEqual(command.time, EPOCH + start + 2, places=1)
        self.bench.advance(20.0)
        self.bench.begun.clear()
        self.bench.answer = lambda server: PASS
        self.bench.advance(7.0)
        times = self.bench.times()
        self.assertEqual(times[1:3], [times[0] + 1, times[0] + 2])
        self.assertIs(self.bench.state(), State.UP)
        self.assertEqual(len(self.bench.commands), 2)

    def test_one_failure_does_no_harm(self) -> None:
        self.up()
        answers = [PASS, FAIL, FAIL] * 20
        self.bench.answer = lambda server: answers.pop()
        self.bench.advance(60.0)
        self.assertEqual(self.bench.commands, [])

    def test_the_latest_outcome_can_be_seen(self) -> None:
        self.bench.answer = lambda server: None
        self.bench.register()
        self.assertIsNone(self.bench.monitor.latest_result(ID))
        self.bench.advance(0.5)
        self.bench.end(FAIL)
        result = self.bench.monitor.latest_result(ID)
        assert result is not None
        self.assertEqual((result.passed, result.reason), (False, "connection refused"))
        self.assertAlmostEqual(result.at, EPOCH + 0.5)
        self.assertAlmostEqual(result.duration, 0.5)
        self.assertIsNone(self.bench.monitor.latest_result("10.9.9.9:1"))

    def test_each_change_is_logged_once_with_its_reason(self) -> None:
        with capturedLogs() as events:
            self.up()
            self.bench.answer = lambda server: FAIL
            self.bench.advance(30.0)
            self.bench.answer = lambda server: PASS
            self.bench.advance(30.0)
        lines = [(event["log_level"], event["log_format"].format(**event)) for event in events]
        self.assertEqual(
            lines,
            [
                (LogLevel.info, f"server {ID} is up: connected"),
                (
                    LogLevel.warn,
                    f"server {ID} is down: connection refused (3 failures in a row)",
                ),
                (LogLevel.info, f"server {ID} is up: connected"),
            ],
        )

    def test_a_proposal_that_fails_is_made_again_and_not_logged_again(self) -> None:
        self.up()
        self.bench.answer = lambda server: FAIL
        self.bench.decide = lambda: fail(RuntimeError("no quorum"))
        with capturedLogs() as events:
            self.bench.advance(12.0)
        self.assertGreater(len(self.bench.commands), 3)
        (event,) = events
        self.assertIn("no quorum", eventAsText(event))
        self.assertIs(self.bench.state(), State.UP)
        self.bench.decide = lambda: succeed(None)
        with capturedLogs() as events:
            self.bench.advance(1.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertEqual(len(events), 1)

    def test_one_proposal_at_a_time(self) -> None:
        self.up()
        deciding: Deferred[None] = Deferred()
        self.bench.decide = lambda: deciding
        self.bench.answer = lambda server: FAIL
        self.bench.advance(12.0)
        self.assertEqual(len(self.bench.commands), 1)
        (proposal,) = self.bench.monitor._proposer.in_flight
        deciding.callback(None)
        self.assertIs(self.bench.state(), State.DOWN)
        self.successResultOf(proposal)
        self.assertEqual(self.bench.monitor._proposer.in_flight, set())

    def test_a_late_decision_brings_the_next_check_forward(self) -> None:
        self.up()
        deciding: Deferred[None] = Deferred()
        self.bench.decide = lambda: deciding
        self.bench.answer = lambda server: FAIL
        self.bench.advance(7.5)
        deciding.callback(None)
        self.bench.begun.clear()
        self.bench.advance(1.0)
        self.assertEqual(len(self.bench.begun), 1)

    def test_a_state_that_others_reported_is_taken_on(self) -> None:
        self.up()
        while not self.bench.begun:
            self.bench.advance(0.1)
        server = self.bench.view.pool.servers[ID]
        apply_to(self.bench.view, Report(ID, server.revision, State.DOWN, "seen elsewhere", EPOCH))
        self.bench.advance(1.1)
        # Its passes in a row are facts, whoever said that it was down.
        self.assertIs(self.bench.state(), State.UP)
        # Brought forward, it is not checked when it was due before as well.
        self.bench.begun.clear()
        self.bench.advance(30.0)
        self.assertLess(len(self.bench.begun), 9)

    @examples(deadline=None, max_examples=60)
    @given(
        st.lists(st.booleans(), max_size=40),
        st.integers(min_value=1, max_value=4),
        st.integers(min_value=1, max_value=4),
    )
    def test_the_state_follows_rise_and_fall(
        self, outcomes: list[bool], rise: int, fall: int
    ) -> None:
        bench = Bench(health=Health(rise=rise, fall=fall, deregister_after=0.0))
        bench.monitor.startService()
        bench.answer = lambda server: None
        bench.register()
        expected, streak, last = State.PENDING, 0, None
        for passed in outcomes:
            while ID not in bench.open:
                bench.advance(0.5)
            bench.end(PASS if passed else FAIL)
            streak = streak + 1 if passed is last else 1
            last = passed
            if (expected is State.PENDING and passed) or (
                passed and expected is State.DOWN and streak >= rise
            ):
                expected = State.UP
            elif not passed and streak >= fall:
                expected = State.DOWN
            self.assertIs(bench.state(), expected)


class RemovalTests(SynchronousTestCase):
    """
    Servers that stay down, beside one that is up.
    """

    def bench(self, deregister_after: float, pool: Pool | None = None) -> Bench:
        """A monitor that has begun; a server that stays up is in the pool."""
        bench = Bench(pool, health=Health(deregister_after=deregister_after))
        bench.monitor.startService()
        bench.register(STAYING)
        return bench

    def assertGone(self, bench: Bench) -> None:
        """Only the server that stays up is left."""
        self.assertEqual(list(bench.view.pool.servers), [f"10.0.0.7:{STAYING}"])

    def test_down_for_long_it_is_removed(self) -> None:
        bench = self.bench(30.0)
        bench.answer = failing
        server = bench.register()
        bench.advance(31.9)
        self.assertIs(bench.state(), State.DOWN)
        with capturedLogs() as events:
            bench.advance(6.0)
        self.assertGone(bench)
        command = bench.commands[-1]
        assert isinstance(command, Deregister)
        self.assertEqual(command.revision, server.revision)
        self.assertRegex(command.reason, r"^down for 3\d s: connection refused$")
        (event,) = events
        self.assertEqual(
            event["log_format"].format(**event), f"server {ID} is removed: {command.reason}"
        )

    def test_the_clock_is_set(self) -> None:
        """
        Neither the checks nor the removal go by the time of day, which is only told.
        """
        for by in (86400.0, -86400.0):
            bench = self.bench(30.0)
            bench.answer = failing
            bench.register()
            bench.advance(5.0)
            checked = len(bench.begun)
            bench.set_by = by
            bench.advance(26.9)
            self.assertIs(bench.state(), State.DOWN)
            self.assertGreater(len(bench.begun), checked + 3)
            result = bench.monitor.latest_result(ID)
            assert result is not None
            self.assertEqual(result.duration, 0.0)
            self.assertLess(abs(result.at - (EPOCH + by + bench.clock.seconds())), 6.0)
            bench.advance(6.0)
            self.assertGone(bench)

    def test_the_time_runs_from_when_it_went_down(self) -> None:
        bench = self.bench(30.0)
        bench.register()
        bench.advance(100.0)
        bench.answer = failing
        bench.advance(30.0)
        self.assertIs(bench.state(), State.DOWN)
        bench.advance(15.0)
        self.assertGone(bench)

    def test_never_when_told_so(self) -> None:
        bench = self.bench(0.0)
        bench.answer = failing
        bench.register()
        bench.advance(1000.0)
        self.assertIs(bench.state(), State.DOWN)

    def test_down_counts_from_the_start(self) -> None:
        """
        A server is not removed for the time that it was down while nobody checked.
        """
        bench = Bench(restored(1, State.DOWN), Health(deregister_after=300.0))
        bench.register(STAYING)
        bench.clock.advance(1000.0)
        bench.answer = failing
        bench.monitor.startService()
        bench.advance(290.0)
        self.assertEqual(len(bench.view.pool.servers), 2)
        bench.advance(20.0)
        self.assertGone(bench)


class LastServerTests(SynchronousTestCase):
    """
    The last server of a pool, which is never removed for being down.
    """

    def setUp(self) -> None:
        self.bench = Bench(health=Health(deregister_after=30.0))
        self.bench.monitor.startService()
        self.bench.answer = lambda server: FAIL

    def ids(self) -> set[str]:
        """The servers of the pool."""
        return set(self.bench.view.pool.servers)

    def removals(self) -> set[str]:
        """The servers whose removal was proposed."""
        return {each.id for each in self.bench.commands if isinstance(each, Deregister)}

    def test_alone(self) -> None:
        """
        The last server is kept, which is logged once; it is checked on, and up when it comes back.
        """
        self.bench.register()
        with capturedLogs() as events:
            self.bench.advance(300.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertEqual(self.removals(), set())
        said = [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in events]
        (kept,) = (line for line in said if "is kept" in line)
        self.assertRegex(
            kept,
            rf"server {ID} is kept though down for 3\d s: connection refused: it is the last one",
        )
        self.bench.answer = lambda server: PASS
        self.bench.advance(10.0)
        self.assertIs(self.bench.state(), State.UP)

    def test_all_at_once(self) -> None:
        """
        Of several that fall due in the same moment one stays, whichever it is.
        """
        for port in range(80, 90):
            self.bench.register(port)
        self.bench.advance(300.0)
        self.assertEqual(len(self.ids()), 1)
        self.assertEqual(len(self.removals()), 9)

    def test_removals_in_flight_count(self) -> None:
        """
        Also while no removal is decided yet.
        """
        waiting: list[Deferred[None]] = []
        for port in (80, 81, 82):
            self.bench.register(port)
        self.bench.advance(10.0)

        def decide() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.bench.decide = decide
        self.bench.advance(100.0)
        self.assertEqual(len(self.ids()), 3)
        self.assertEqual(len(self.removals()), 2)
        for each in waiting:
            each.callback(None)
        self.bench.advance(100.0)
        self.assertEqual(len(self.ids()), 1)
        self.assertEqual(len(waiting), 2)

    def test_removals_of_unknown_outcome_count(self) -> None:
        """
        A removal that failed may be applied later, until a later command is.
        """
        self.bench.register(80)
        self.bench.register(81)
        self.bench.advance(10.0)
        self.bench.decide = lambda: fail(RuntimeError("no majority has confirmed it in time"))
        self.bench.advance(100.0)
        self.assertEqual(len(self.ids()), 2)
        (first,) = self.removals()
        other = next(id for id in self.ids() if id != first)
        # The first one comes back, and the other one is due still.
        self.bench.decide = lambda: succeed(None)
        self.bench.answer = lambda server: PASS if server.id == first else FAIL
        self.bench.advance(100.0)
        self.assertEqual(self.ids(), {first})
        self.assertIn(other, self.removals())

    def test_pending_and_new_ones_count(self) -> None:
        """
        Another one that registers makes it one of several, and it goes.
        """
        self.bench.register()
        self.bench.advance(100.0)
        self.bench.register(81)
        self.bench.advance(10.0)
        self.assertEqual(self.ids(), {"10.0.0.7:81"})

    def test_asked_for(self) -> None:
        """
        A caller may remove it.
        """
        self.bench.register()
        self.bench.remove()
        self.assertEqual(self.ids(), set())

    def test_restarted_with_a_removal_in_flight(self) -> None:
        """
        A removal in flight counts over a restart of the monitor.
        """
        waiting: Deferred[None] = Deferred()
        self.bench.register(80)
        self.bench.register(81)
        self.bench.advance(10.0)
        self.bench.decide = lambda: waiting
        self.bench.advance(60.0)
        (first,) = self.removals()
        self.bench.monitor.stopService()
        self.bench.monitor.startService()
        self.bench.advance(100.0)
        self.assertEqual(self.removals(), {first})
        waiting.callback(None)
        self.assertEqual(len(self.ids()), 1)
