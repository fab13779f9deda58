"""
Decisions from what several members see of a server: whether it is down, whether it is back, and
which member sees more of the servers than the leader.

Nothing here does I/O. C{docs/cluster.md} has the rules, and their reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from math import inf
from typing import Final

import msgspec

_SAMPLING_ERROR: Final = 0.25
"""The part of the doubtful servers by which another member must be better where a random part of
the servers was looked at: a difference that chance does not make."""


class Opinion(Enum):
    """
    The opinion of the members on a server that fails its checks on the leader.
    """

    DOWN = auto()
    """The checks of a majority of the members fail, the leader's included."""
    DOWN_ALONE = auto()
    """Too few other members have answered; none of them reaches the server."""
    REACHED = auto()
    """Another member reaches the server, though perhaps no majority does."""
    REACHED_BY_MAJORITY = auto()
    """A majority of the members reach the server, without the leader."""


def witnesses_needed(members: int) -> int:
    """
    The other members that make a majority, with the leader.

    @param members: the number of all.
    """
    return members // 2


def judge(reached: Mapping[str, bool], members: int) -> Opinion:
    """
    Decide about a server whose checks fail on the leader.

    @param reached: by the names of the other members that have answered, whether their check
        has passed.
    @param members: the number of all members, the leader included.
    """
    passed = sum(reached.values())
    if passed > members // 2:
        return Opinion.REACHED_BY_MAJORITY
    if passed:
        return Opinion.REACHED
    if len(reached) >= witnesses_needed(members):
        return Opinion.DOWN
    return Opinion.DOWN_ALONE


class Sight(msgspec.Struct, frozen=True):
    """
    The numbers of servers that a member has told of, and reaches.

    @ivar asked: the servers of which it has told.
    @ivar reached: those of them that it reaches.
    """

    asked: int = 0
    reached: int = 0


class SightOf(msgspec.Struct, frozen=True):
    """
    The view of another member, beside the leader's.

    @ivar doubtful: of the servers that the leader does not reach, and some other member does.
    @ivar passing: of the servers that the leader reaches.
    """

    doubtful: Sight
    passing: Sight


def advantage(sight: SightOf, doubtful: int, passing: int) -> float:
    """
    The number of servers by which a member reaches more than the leader: those that it alone
    reaches less those that the leader alone reaches. Where a part was asked about, the rest is
    taken to be alike.

    Counting the doubtful servers alone would have two members that each see another half hand
    leadership to each other for ever.

    @param doubtful: the number of servers that the leader does not reach.
    @param passing: the number of servers that it reaches.
    """
    here, there = sight.passing, sight.doubtful
    if not there.asked or (passing and not here.asked):
        return -inf
    # Products of integers first: where all were asked about, the result is exact.
    lost = passing * (here.asked - here.reached) / here.asked if passing else 0.0
    return doubtful * there.reached / there.asked - lost


def better_leaders(
    sights: Mapping[str, SightOf],
    doubtful: int,
    passing: int,
    *,
    any_is_enough: bool,
    is_sampled: bool,
) -> list[str]:
    """
    The members that should lead instead, the best one first.

    @param sights: by name, of the other members that have told all.
    @param doubtful: see L{advantage}.
    @param passing: see L{advantage}.
    @param any_is_enough: whether one server more is reason enough, rather than a majority of
        the doubtful ones.
    @param is_sampled: whether the members were asked about a part of the servers.
    """
    bar = doubtful / 2
    if any_is_enough:
        bar = doubtful * _SAMPLING_ERROR if is_sampled else 0.0
    advantages = {name: advantage(each, doubtful, passing) for name, each in sights.items()}
    better = [name for name, each in advantages.items() if each > bar]
    return sorted(better, key=lambda name: (-advantages[name], name))
