"""
Catching up, time without a leader, and who is told of the leadership.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.leadership import Leadership
from alacrity.cluster.status import CatchUp, LeaderlessTime


def engine(**more: Any) -> Any:
    """
    A follower of term 3 that has applied 5 entries, the last of term 3, of 7 committed.
    """
    known = {
        "is_member": True,
        "is_leader": False,
        "leader": "b",
        "term": 3,
        "applied_index": 5,
        "raft": SimpleNamespace(told_commit_index=7, applied_term=3),
    }
    return SimpleNamespace(**(known | more))


class CatchUpTests(SynchronousTestCase):
    def test_a_follower_once_it_has_what_was_committed(self) -> None:
        catch_up = CatchUp()
        catch_up.look(engine())
        self.assertFalse(catch_up.is_done)
        later = SimpleNamespace(told_commit_index=99, applied_term=3)
        catch_up.look(engine(applied_index=7, raft=later))
        self.assertTrue(catch_up.is_done)
        # For good, however far the others get.
        catch_up.look(engine(applied_index=7, raft=later))
        self.assertTrue(catch_up.is_done)

    def test_what_an_earlier_term_has_committed_is_not_enough(self) -> None:
        catch_up = CatchUp()
        catch_up.look(
            engine(applied_index=7, raft=SimpleNamespace(told_commit_index=7, applied_term=2))
        )
        self.assertFalse(catch_up.is_done)

    def test_a_leader(self) -> None:
        catch_up = CatchUp()
        catch_up.look(engine(is_leader=True))
        self.assertTrue(catch_up.is_done)

    def test_one_that_was_removed_begins_anew(self) -> None:
        catch_up = CatchUp()
        catch_up.look(engine(is_leader=True))
        catch_up.look(engine(is_member=False))
        self.assertFalse(catch_up.is_done)


class LeaderlessTimeTests(SynchronousTestCase):
    def test_it_is_counted_while_this_process_runs(self) -> None:
        time = LeaderlessTime()
        time.begin(100.0)
        for now in (100.5, 101.0, 161.0):
            time.look(now, has_quorum=False)
        self.assertEqual(time.seconds, 2.0)
        time.look(161.5, has_quorum=True)
        self.assertEqual(time.seconds, 0.0)


class LeadershipTests(SynchronousTestCase):
    def test_changes_are_told_and_others_are_not(self) -> None:
        told: list[bool] = []
        leadership = Leadership()
        unsubscribe = leadership.subscribe(told.append)
        for leads in (False, True, True, False):
            leadership.tell(leads)
        unsubscribe()
        leadership.tell(True)
        self.assertEqual(told, [True, False])
        self.assertTrue(leadership.is_leader)

    def test_one_that_raises_holds_up_nobody(self) -> None:
        told: list[bool] = []
        leadership = Leadership()
        leadership.subscribe(lambda _: 1 / 0)
        leadership.subscribe(told.append)
        leadership.tell(True)
        self.assertEqual(told, [True])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
