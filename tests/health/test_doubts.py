"""
L{alacrity.health.doubts}: the monitor of a leader whose checks fail, and other members that
may see more.
"""

from __future__ import annotations

from unittest import mock

from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import Verdict
from alacrity.health.doubts import RETURN_INTERVAL
from alacrity.health.leader_choice import LEAST_BETWEEN
from alacrity.pool import (
    Deregister,
    ExpireLease,
    GuardLimits,
    Register,
    Report,
    ServerOptions,
    State,
    TcpCheck,
)
from tests.health.bench import EPOCH, FAIL, ID, PASS, Bench, Health
from tests.health.test_inquiry import FakeWitnesses
from tests.support.pools import apply_to


class DoubtBench(Bench):
    """
    A monitor that asks other members.

    @ivar sees: by member, whether it reaches the servers; L{None}: it does not answer.
    """

    def __init__(
        self, *names: str, health: Health | None = None, only_leader: bool = False
    ) -> None:
        self.witnesses = FakeWitnesses(*names)
        self.sees: dict[str, bool | set[str]] = dict.fromkeys(names, False)
        super().__init__(health=health, format=2, witnesses=self.witnesses, only_leader=only_leader)

    def advance(self, seconds: float, *, answering: bool = True) -> None:
        for _ in range(round(seconds * 20)):
            super().advance(0.05)
            self.witnesses.settled_for += 0.05
            if answering:
                self.witnesses.answer(**self.sees)

    @property
    def disputed(self) -> bool:
        return self.view.pool.servers[ID].condition.disputed

    @property
    def reason(self) -> str:
        return self.view.pool.servers[ID].reason


class DoubtCase(SynchronousTestCase):
    def begin(self, *names: str, **how: object) -> None:
        """
        A leader with a server that was up, and whose checks fail here from now on.
        """
        self.bench = DoubtBench(*names, **how)  # type: ignore[arg-type]
        self.bench.monitor.startService()
        self.addCleanup(self.bench.monitor.stopService)
        self.bench.register()
        self.bench.advance(1.0)
        self.assertIs(self.bench.state(), State.UP)
        self.bench.answer = lambda server: FAIL


class SecondOpinionTests(DoubtCase):
    def test_down_once_another_agrees(self) -> None:
        self.begin("b", "c")
        self.bench.advance(8.0, answering=False)
        self.assertIs(self.bench.state(), State.UP)
        self.assertEqual(len(self.bench.witnesses.asked), 1)
        self.bench.witnesses.answer(b=False, c=False)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertEqual(self.bench.reason, "connection refused")
        self.assertFalse(self.bench.disputed)

    def test_nobody_is_asked_before_it_has_failed_often_enough(self) -> None:
        self.begin("b", "c", health=Health(fall=5, interval=100.0))
        self.bench.monitor.hint(ID)
        self.bench.advance(3.5)
        self.assertEqual(self.bench.witnesses.asked, [])

    def test_a_single_node_asks_nobody(self) -> None:
        self.begin()
        with capturedLogs() as events:
            self.bench.advance(8.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertFalse([each for each in events if "alone" in eventAsText(each)])
        self.bench.advance(60.0)
        self.assertEqual(self.bench.witnesses.asked, [])

    def test_alone_where_none_answers_and_it_says_so(self) -> None:
        self.begin("b", "c")
        self.bench.witnesses.dead = {"b", "c"}
        with capturedLogs() as events:
            self.bench.advance(8.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertEqual(
            self.bench.reason, "connection refused; no other node has told what it sees"
        )
        self.assertIn("this node decides alone", " ".join(map(eventAsText, events)))

    def test_it_stays_up_where_another_reaches_it(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": True, "c": True}
        since = self.bench.view.pool.servers[ID].since
        self.bench.advance(8.0)
        self.assertIs(self.bench.state(), State.UP)
        self.assertTrue(self.bench.disputed)
        self.assertRegex(
            self.bench.reason, "^connection refused for the leader; [bc] can reach it$"
        )
        self.assertEqual(self.bench.view.pool.servers[ID].since, since)
        before = len(self.bench.commands)
        self.bench.advance(30.0)
        self.assertEqual(len(self.bench.commands), before)
        self.assertTrue(self.bench.disputed)

    def test_a_disputed_server_is_checked_at_the_usual_interval(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": True, "c": True}
        self.bench.advance(15.0)
        before = len(self.bench.begun)
        self.bench.advance(50.0)
        self.assertIn(len(self.bench.begun) - before, (9, 10, 11))

    def test_disputed_no_more_once_it_passes_here(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": True, "c": True}
        self.bench.advance(8.0)
        self.bench.answer = lambda server: PASS
        self.bench.advance(5.5)
        self.assertIs(self.bench.state(), State.UP)
        self.assertFalse(self.bench.disputed)
        self.assertEqual(self.bench.reason, "connected")

    def test_a_disputed_server_that_dies_goes_down(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": True, "c": True}
        self.bench.advance(20.0)
        self.bench.sees = {"b": False, "c": False}
        self.bench.advance(5.5)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertFalse(self.bench.disputed)

    def test_a_check_that_passes_meanwhile_counts(self) -> None:
        self.begin("b", "c")
        self.bench.advance(7.0, answering=False)
        self.assertEqual(len(self.bench.witnesses.asked), 1)
        self.bench.answer = lambda server: PASS
        self.bench.advance(2.0, answering=False)
        self.bench.witnesses.answer(b=False, c=False)
        self.assertIs(self.bench.state(), State.UP)

    def test_one_that_registers_anew_meanwhile_is_not_meant(self) -> None:
        self.begin("b", "c")
        self.bench.advance(7.0, answering=False)
        self.bench.answer = lambda server: None
        self.bench.register()
        self.bench.witnesses.answer(b=False, c=False)
        self.assertIs(self.bench.state(), State.UP)

    def test_an_answer_to_a_leader_that_was(self) -> None:
        self.begin("b", "c")
        self.bench.advance(7.0, answering=False)
        self.bench.monitor.stopService()
        before = len(self.bench.commands)
        self.bench.witnesses.answer(b=False, c=False)
        self.assertEqual(len(self.bench.commands), before)

    def test_its_answer_by_410_is_the_leaders_matter(self) -> None:
        self.begin("b", "c")
        gone = Verdict(passed=False, reason="status 410", answered=True, stopping=True)
        self.bench.answer = lambda server: gone
        self.bench.advance(8.0)
        self.assertIs(self.bench.state(), State.STOPPING)
        self.assertEqual(self.bench.witnesses.asked, [])

    def test_an_expired_lease_is_asked_about_by_none(self) -> None:
        self.begin("b", "c")
        view = self.bench.view
        now = EPOCH + self.bench.clock.seconds()
        options = ServerOptions(lease=9.0)
        apply_to(view, Register("10.0.0.7", 8080, TcpCheck(), 1, now, options))
        apply_to(view, Register("10.0.0.7", 9, TcpCheck(), 1, now))
        apply_to(view, Report("10.0.0.7:9", 4, State.UP, "passed", now))
        revision = view.pool.servers[ID].revision
        apply_to(view, ExpireLease(ID, revision, now, GuardLimits(1.0, 60.0)))
        self.assertTrue(view.pool.servers[ID].condition.lease_expired)
        self.bench.sees = {"b": True, "c": True}
        self.bench.answer = lambda server: FAIL if server.id == ID else PASS
        self.bench.advance(60.0)
        self.assertEqual(self.bench.witnesses.asked, [])
        self.assertIs(self.bench.state(), State.DOWN)


class ReturnTests(DoubtCase):
    """
    Servers that are down or pending, and that others reach.
    """

    def down(self, *names: str) -> None:
        self.begin(*names)
        self.bench.advance(8.0)
        self.assertIs(self.bench.state(), State.DOWN)

    def test_back_by_a_majority_that_reaches_it_twice(self) -> None:
        self.down("b", "c")
        self.bench.sees = {"b": True, "c": True}
        self.bench.advance(RETURN_INTERVAL + 11.0)
        self.assertIs(self.bench.state(), State.UP)
        self.assertTrue(self.bench.disputed)
        self.assertIn("b, c can reach it", self.bench.reason)

    def test_not_by_a_minority(self) -> None:
        self.down("b", "c")
        self.bench.sees = {"b": True, "c": False}
        self.bench.advance(60.0)
        self.assertIs(self.bench.state(), State.DOWN)

    def test_of_two_nodes_the_leader_alone_brings_it_back(self) -> None:
        self.down("b")
        self.bench.sees = {"b": True}
        self.bench.advance(60.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.bench.answer = lambda server: PASS
        self.bench.advance(7.0)
        self.assertIs(self.bench.state(), State.UP)
        self.assertFalse(self.bench.disputed)

    def test_a_fault_in_asking_is_not_the_end(self) -> None:
        self.down("b", "c")
        self.bench.sees = {"b": True, "c": True}
        with mock.patch.object(self.bench.witnesses, "ask", side_effect=ValueError("a fault")):
            self.bench.advance(RETURN_INTERVAL + 6.0)
        self.assertTrue(self.flushLoggedErrors(ValueError))
        self.bench.advance(RETURN_INTERVAL + 11.0)
        self.assertIs(self.bench.state(), State.UP)

    def test_members_are_asked_now_and_then(self) -> None:
        self.down("b", "c")
        before = len(self.bench.witnesses.asked)
        self.bench.advance(10 * RETURN_INTERVAL)
        self.assertIn(len(self.bench.witnesses.asked) - before, range(14, 21))

    def test_it_is_removed_in_the_end(self) -> None:
        self.begin("b", "c", health=Health(deregister_after=40.0))
        apply_to(self.bench.view, Register("10.0.0.7", 9, TcpCheck(), 1, EPOCH))
        self.bench.answer = lambda server: PASS if server.port == 9 else FAIL
        self.bench.advance(120.0)
        self.assertNotIn(ID, self.bench.view.pool.servers)

    def test_one_in_dispute_is_not_removed(self) -> None:
        self.begin("b", "c", health=Health(deregister_after=40.0))
        apply_to(self.bench.view, Register("10.0.0.7", 9, TcpCheck(), 1, EPOCH))
        self.bench.answer = lambda server: PASS if server.port == 9 else FAIL
        self.bench.sees = {"b": True, "c": True}
        self.bench.advance(120.0)
        self.assertIs(self.bench.state(), State.UP)
        self.assertFalse([each for each in self.bench.commands if isinstance(each, Deregister)])

    def test_a_new_server_is_let_in_by_a_majority(self) -> None:
        self.begin("b", "c")
        self.bench.remove()
        self.bench.sees = {"b": True, "c": True}
        self.bench.register()
        self.bench.advance(4.0)
        self.assertIs(self.bench.state(), State.UP)
        self.assertTrue(self.bench.disputed)

    def test_a_new_server_that_a_minority_reaches_stays_pending(self) -> None:
        self.begin("b", "c", "d", "e")
        self.bench.remove()
        self.bench.sees = {"b": True, "c": True, "d": False, "e": False}
        self.bench.register()
        self.bench.advance(4.0)
        while self.bench.state() is State.DOWN:
            # Those that do not reach it were asked.
            self.bench.register()
            self.bench.advance(4.0)
        self.assertIs(self.bench.state(), State.PENDING)
        self.assertTrue(self.bench.disputed)


class LeadershipTests(DoubtCase):
    """
    Leadership that goes to a member that reaches more.
    """

    def test_to_one_that_reaches_what_this_one_does_not(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": False, "c": True}
        with capturedLogs() as events:
            for _ in range(20):
                self.bench.advance(1.0)
                if self.bench.state() is State.DOWN:
                    self.bench.register()
        self.assertEqual(self.bench.witnesses.handed_over[:1], ["c"])
        said = " ".join(map(eventAsText, events))
        self.assertIn("hands over to c, which reaches 1 of 1 servers", said)

    def test_at_most_once_in_a_minute(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": True, "c": True}
        self.bench.advance(30.0)
        self.assertEqual(len(self.bench.witnesses.handed_over), 1)
        self.bench.advance(LEAST_BETWEEN)
        self.assertEqual(len(self.bench.witnesses.handed_over), 2)

    def test_not_to_one_that_reaches_other_servers_less(self) -> None:
        for only_leader in (False, True):
            self.begin("b", "c", only_leader=only_leader)
            self.bench.register(9)
            self.bench.answer = lambda server: PASS if server.port == 9 else FAIL
            self.bench.sees = {"b": {ID}, "c": {ID}}
            self.bench.advance(60.0)
            self.assertTrue(self.bench.disputed)
            self.assertEqual(self.bench.witnesses.handed_over, [])

    def test_one_server_more_is_reason_enough_where_the_leader_alone_serves(self) -> None:
        """
        The other member reaches two servers that the leader does not, and misses one.
        """
        for only_leader, expected in ((False, []), (True, ["b"])):
            self.begin("b", only_leader=only_leader)
            self.bench.answer = lambda server: PASS
            self.bench.register(9)
            self.bench.register(10)
            self.bench.answer = lambda server: PASS if server.port == 9 else FAIL
            self.bench.sees = {"b": {ID, "10.0.0.7:10"}}
            self.bench.advance(30.0)
            self.assertEqual(self.bench.witnesses.handed_over, expected)

    def test_one_answer_moves_nothing(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": True, "c": True}
        while not self.bench.disputed:
            self.bench.advance(0.05)
        self.bench.advance(0.1)
        self.bench.sees = {"b": False, "c": False}
        self.bench.advance(20.0)
        self.assertEqual(self.bench.witnesses.handed_over, [])
        self.assertIs(self.bench.state(), State.DOWN)

    def test_a_leader_that_was_hands_over_nothing(self) -> None:
        self.begin("b", "c")
        self.bench.sees = {"b": True, "c": True}
        while not self.bench.disputed:
            self.bench.advance(0.05)
        self.bench.advance(0.1)
        self.bench.monitor.stopService()
        self.bench.advance(20.0)
        self.assertEqual(self.bench.witnesses.handed_over, [])
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])
