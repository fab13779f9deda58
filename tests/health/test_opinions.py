"""
L{alacrity.health.opinions}: decisions from what several members see.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.opinions import (
    Opinion,
    Sight,
    SightOf,
    better_leaders,
    judge,
    witnesses_needed,
)

DOWN = {Opinion.DOWN, Opinion.DOWN_ALONE}


@st.composite
def polls(draw: st.DrawFn) -> tuple[dict[str, bool], int]:
    """
    The number of members, and the answers of some of those that do not lead.
    """
    members = draw(st.integers(1, 9))
    answers = draw(st.lists(st.booleans(), max_size=members - 1))
    return {f"n{at}": each for at, each in enumerate(answers)}, members


class JudgeTests(SynchronousTestCase):
    def test_a_single_node_decides(self) -> None:
        self.assertIs(judge({}, 1), Opinion.DOWN)
        self.assertEqual(witnesses_needed(1), 0)

    def test_two_nodes_must_agree(self) -> None:
        self.assertIs(judge({"b": False}, 2), Opinion.DOWN)
        self.assertIs(judge({"b": True}, 2), Opinion.REACHED)
        self.assertIs(judge({}, 2), Opinion.DOWN_ALONE)

    def test_three_nodes(self) -> None:
        self.assertIs(judge({"b": False}, 3), Opinion.DOWN)
        self.assertIs(judge({"b": True}, 3), Opinion.REACHED)
        self.assertIs(judge({"b": True, "c": False}, 3), Opinion.REACHED)
        self.assertIs(judge({"b": True, "c": True}, 3), Opinion.REACHED_BY_MAJORITY)

    def test_one_failure_is_not_the_majority_of_five(self) -> None:
        self.assertIs(judge({"b": False}, 5), Opinion.DOWN_ALONE)
        self.assertIs(judge({"b": False, "c": False}, 5), Opinion.DOWN)

    @given(polls())
    def test_none_goes_down_that_a_member_reaches(self, poll: tuple[dict[str, bool], int]) -> None:
        reached, members = poll
        self.assertEqual(judge(reached, members) in DOWN, not any(reached.values()))

    @given(polls())
    def test_a_majority_has_failed_or_the_leader_is_alone(
        self, poll: tuple[dict[str, bool], int]
    ) -> None:
        reached, members = poll
        failures = 1 + sum(not each for each in reached.values())
        if judge(reached, members) is Opinion.DOWN:
            self.assertGreater(2 * failures, members)
        if judge(reached, members) is Opinion.DOWN_ALONE:
            self.assertLessEqual(2 * failures, members)

    @given(polls())
    def test_back_only_by_a_majority(self, poll: tuple[dict[str, bool], int]) -> None:
        reached, members = poll
        is_back = judge(reached, members) is Opinion.REACHED_BY_MAJORITY
        self.assertEqual(is_back, 2 * sum(reached.values()) > members)

    @given(polls())
    def test_enough_witnesses_are_a_majority(self, poll: tuple[dict[str, bool], int]) -> None:
        _, members = poll
        self.assertGreater(2 * (1 + witnesses_needed(members)), members)
        self.assertLessEqual(2 * witnesses_needed(members), members)


def sight(servers: set[int], fails: set[int], passes: set[int]) -> SightOf:
    """
    What a member sees that reaches some servers, of those that another reaches and does not.
    """
    return SightOf(
        Sight(len(fails), len(servers & fails)), Sight(len(passes), len(servers & passes))
    )


def better(all: set[int], views: dict[str, set[int]], leader: str, **how: bool) -> list[str]:
    """
    Who should lead instead, where all of them were asked about all servers.
    """
    here = views[leader]
    doubtful = {
        each
        for each in all - here
        if any(each in view for name, view in views.items() if name != leader)
    }
    if not doubtful:
        return []
    sights = {name: sight(view, doubtful, here) for name, view in views.items() if name != leader}
    return better_leaders(
        sights,
        len(doubtful),
        len(here),
        **{"any_is_enough": False, "is_sampled": False, **how},
    )


servers_seen = st.sets(st.integers(0, 7))
clusters = st.dictionaries(st.sampled_from("abcde"), servers_seen, min_size=2)
ALL = set(range(8))


class LeaderTests(SynchronousTestCase):
    def test_a_blind_leader(self) -> None:
        self.assertEqual(better(ALL, {"a": set(), "b": ALL, "c": ALL}, "a"), ["b", "c"])

    def test_the_best_first(self) -> None:
        self.assertEqual(better(ALL, {"a": set(), "b": set(range(5)), "c": ALL}, "a"), ["c", "b"])

    def test_two_that_see_another_half_each(self) -> None:
        views = {"a": {0, 1, 2, 3}, "b": {4, 5, 6, 7}}
        for any_is_enough in (False, True):
            for leader in views:
                self.assertEqual(better(ALL, views, leader, any_is_enough=any_is_enough), [])

    def test_a_minority_more(self) -> None:
        views = {"a": set(), "b": {0, 1, 2}, "c": {5, 6, 7, 4, 3}}
        self.assertEqual(better(ALL, views, "a"), ["c"])
        self.assertEqual(better(ALL, views, "a", any_is_enough=True), ["c", "b"])

    def test_one_that_has_told_too_little(self) -> None:
        nothing = SightOf(Sight(), Sight(2, 2))
        of_doubtful_alone = SightOf(Sight(2, 2), Sight())
        found = better_leaders(
            {"b": nothing, "c": of_doubtful_alone}, 2, 2, any_is_enough=True, is_sampled=False
        )
        self.assertEqual(found, [])

    def test_chance_is_no_reason(self) -> None:
        almost_equal = {"b": SightOf(Sight(64, 34), Sight(64, 32))}
        for any_is_enough in (False, True):
            found = better_leaders(
                almost_equal, 5000, 5000, any_is_enough=any_is_enough, is_sampled=True
            )
            self.assertEqual(found, [])

    @given(clusters, st.booleans())
    def test_leadership_comes_to_rest(
        self, views: dict[str, set[int]], any_is_enough: bool
    ) -> None:
        """
        While nothing changes, each leader by sight reaches more servers than the one before. So
        it is handed over a few times at most, and never back.
        """
        leader = min(views)
        for _ in range(len(ALL) + 1):
            found = better(ALL, views, leader, any_is_enough=any_is_enough)
            if not found:
                return
            self.assertGreater(len(views[found[0]]), len(views[leader]))
            leader = found[0]
        self.fail("leadership goes round")

    @given(clusters)
    def test_a_leader_that_is_blind_is_left(self, views: dict[str, set[int]]) -> None:
        views = {**views, "z": ALL}
        leader = min(views)
        if not views[leader]:
            self.assertEqual(better(ALL, views, leader)[-1:] != [], True)
