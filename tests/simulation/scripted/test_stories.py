"""
Lives of clusters, as scripts. Each ends as L{Story} says: healed, equal, with nothing lost
that was acknowledged, and no promise of Raft broken on the way.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.scripted.story import Story


class LeaderStories(SynchronousTestCase):
    """
    Leaders that lose their followers, their time or their office.
    """

    def test_leader_with_a_tail_returns(self) -> None:
        """
        A leader that is cut off takes a write that it cannot commit. The others elect another
        one and go on. When it returns, its tail gives way to their entries.
        """
        with Story() as story:
            first = story.leader()
            before = story.write(first)
            story.cut_off(first)
            tail = story.ask(first)
            second = story.leader(*story.others(first))
            after = story.write(second)
            story.answered(tail)
            self.assertTrue(tail.unknown)

            story.heal()
            story.settle()
            for name in story.names:
                self.assertEqual(
                    [story.has(name, each) for each in (before, tail, after)], [True, False, True]
                )

    def test_leader_with_a_tail_is_reelected(self) -> None:
        """
        A leader with one follower of four has a tail with it, and both lose power. What the
        others wrote meanwhile stands, whoever leads when all are back.
        """
        with Story(nodes=5) as story:
            first = story.leader()
            friend, *rest = story.others(first)
            story.cut_off(first, friend)
            story.ask(first)
            story.wait(0.1)
            story.kill(first, friend)
            after = story.write(story.leader(*rest))

            story.start(first, friend)
            story.heal()
            story.settle()
            self.assertTrue(story.has(first, after))

    def test_paused_leader_goes_on(self) -> None:
        """
        A leader that is stopped for five seconds takes itself for the leader when it goes on,
        but what it takes for a write is known to nobody before the others agree.
        """
        with Story() as story:
            first = story.leader()
            story.pause(first)
            second = story.leader(*(each for each in story.names if each != first))
            during = story.write(second)
            story.wait(5.0)
            story.resume(first)
            late = story.ask(first)
            story.answered(late)
            story.settle()
            self.assertTrue(story.has(first, during))

    def test_handed_over_with_proposals_under_way(self) -> None:
        """
        The leader hands over while it and a follower are asked for writes: each is done once,
        or was refused.
        """
        with Story() as story:
            first = story.leader()
            second, third = story.others(first)
            changes = [story.ask(first), story.ask(third)]
            story.hand_over(to=second)
            for _ in range(10):
                changes += [story.ask(first), story.ask(second), story.ask(third)]
                story.wait(0.01)
            story.have_lead(second)
            story.answered(*changes)
            self.assertGreater(sum(each.acknowledged for each in changes), 10)


class DiskStories(SynchronousTestCase):
    """
    Nodes that lose their power or their files, and followers that are far behind.
    """

    def test_all_lose_power(self) -> None:
        """
        All nodes lose power with writes under way: what was acknowledged is on their disks.
        """
        with Story() as story:
            leader = story.leader()
            kept = [story.write(name) for name in story.names]
            story.ask(leader)
            story.kill(*story.names)
            story.start(*story.names)
            story.settle()
            for name in story.names:
                self.assertTrue(all(story.has(name, each) for each in kept))

    def test_empty_disk_is_refused_until_replaced(self) -> None:
        """
        A node that comes back with an empty disk and its old name is let in by nobody, and
        decides nothing. Removed and taken in again, it has all.
        """
        with Story() as story:
            leader = story.leader()
            before = story.write(leader)
            lost, other = story.others(leader)
            story.settle()
            story.kill(lost)
            story.start_empty(lost, founders=tuple(story.names))
            story.wait(5.0)
            self.assertFalse(story.has(lost, before))
            self.assertEqual(story.leader(leader, other), leader)

            story.remove(lost, through=other)
            after = story.write(leader)
            story.add(lost, through=leader)
            story.settle()
            self.assertTrue(story.has(lost, before))
            self.assertTrue(story.has(lost, after))

    def test_snapshot_to_a_far_behind_follower(self) -> None:
        """
        A follower misses more entries than the others keep: it is given a snapshot, and goes
        on from there.
        """
        with Story(log=8) as story:
            leader = story.leader()
            behind, other = story.others(leader)
            story.cut_off(behind)
            missed = story.last_index(behind)
            writes = [story.write(leader) for _ in range(40)]
            # Its connections fail meanwhile, and with them what was on its way.
            story.wait(5.0)
            for name in (leader, other):
                self.assertFalse(story.keeps(name, missed + 1))
            story.heal()
            story.until(lambda: story.has(behind, writes[-1]), "the follower has all")
            self.assertGreater(story.snapshot(behind), missed)
            self.assertTrue(all(story.has(behind, each) for each in writes))


class MemberStories(SynchronousTestCase):
    """
    Members that come and go while the cluster is divided.
    """

    def test_taken_in_by_a_majority(self) -> None:
        """
        While a member is cut off, the others take a fourth one in. The member learns of it
        when it returns, and the four bear the loss of one.
        """
        with Story(spare=1) as story:
            leader = story.leader()
            away, other = story.others(leader)
            story.cut_off(away)
            story.add("n4", through=other)
            self.assertEqual(story.members(away), {"n1", "n2", "n3"})

            story.heal()
            story.until(lambda: "n4" in story.members(away), "the member has heard of n4")
            story.kill(leader)
            story.write(story.leader(*story.others()))

    def test_removal_by_a_minority_is_void(self) -> None:
        """
        A leader that nobody hears is asked to remove a member. That is not done, and the
        majority has another leader, and all three members.
        """
        with Story() as story:
            first = story.leader()
            second, third = story.others(first)
            story.cut_off(first)
            removal = story.ask_to_remove(second, through=first)
            story.write(story.leader(second, third))
            story.answered(removal)
            self.assertFalse(removal.acknowledged)

            story.heal()
            story.settle()
            self.assertEqual(story.members(first), {"n1", "n2", "n3"})

    def test_leader_removes_itself(self) -> None:
        """
        The leader is asked to remove itself: it hands over first, and two go on.
        """
        with Story() as story:
            first = story.leader()
            story.write(first)
            story.remove(first, through=first)
            rest = [each for each in story.names if each != first]
            story.kill(first)
            story.write(story.leader(*rest))
            self.assertEqual(story.members(rest[0]), set(rest))
