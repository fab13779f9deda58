"""
The cluster as one node sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from twisted.logger import Logger

from alacrity.cluster.log.members import Member
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine

_LONGEST_INTERVAL: Final = 1.0
"""Seconds that count at most between two steps in the time without a leader."""


_LONGEST_SILENCE: Final = 5.0
"""Seconds without a majority after which the advice is logged."""


class MemberStatus(msgspec.Struct, frozen=True):
    """
    One member of the cluster.

    @ivar role: C{leader}, C{follower}, or C{unknown} where this node cannot tell.
    @ivar last_contact: seconds since the member was last heard; L{None}: it never was, or it is
        this node.
    @ivar match: the last index up to which its log is known to equal the leader's; L{None} on
        nodes other than the leader.
    @ivar lag: the number of entries by which it is behind; L{None} likewise.
    @ivar problem: the reason why there is no connection with the member, in a few words;
        L{None}: there is one, it is this node, or the reason is not known yet.
    """

    name: str
    address: str
    role: str
    last_contact: float | None = None
    match: int | None = None
    lag: int | None = None
    problem: str | None = None


class ClusterStatus(msgspec.Struct, frozen=True):
    """
    The cluster as one node sees it.

    @ivar role: C{leader}, C{candidate}, C{follower}, C{joining} or C{removed}.
    @ivar has_quorum: whether this node has lately heard a leader, or as the leader, a majority.
    @ivar suspended: the reason why this node takes no part, for a while or for good; L{None}:
        it takes part.
    @ivar stale: whether reads on this node may be out of date.
    @ivar caught_up: whether this node, since it started or became a member, was the leader, or
        has applied all entries that were committed when it first heard a leader.
    @ivar remembers: whether this node started with the log of an earlier run.
    @ivar is_settled_member: whether this node is a member by an entry that is committed, and
        applied here.
    @ivar cluster_id: the id of the cluster; L{None}: it has none yet, or this node does not know
        it.
    @ivar awaited: the members that this node has to hear before it takes part in elections,
        because its log is empty: it begins a cluster, or has lost its files.
    @ivar advice: what an operator can do about the lack of a majority; L{None}: there is a
        majority, or no reason for its lack is known.
    @ivar refused: the reasons why nodes that are no members were refused lately, by their names.
    """

    name: str
    members: tuple[MemberStatus, ...]
    role: str
    leader: str | None
    term: int
    commit_index: int
    applied_index: int
    has_quorum: bool
    suspended: str | None
    stale: bool
    caught_up: bool = True
    remembers: bool = True
    is_settled_member: bool = True
    cluster_id: str | None = None
    awaited: tuple[str, ...] = ()
    advice: str | None = None
    refused: dict[str, str] = {}


def describe(
    member: Member,
    engine: Engine,
    suspended: str | None,
    last_contact: Callable[[str], float | None],
    fault: Callable[[str], str | None],
    *,
    refused: dict[str, str],
    cluster_id: str,
    caught_up: bool,
    remembers: bool,
) -> ClusterStatus:
    """
    The cluster as this node sees it now.

    @param member: this node.
    @param suspended: see L{ClusterStatus.suspended}.
    @param last_contact: gives the seconds since a peer was last heard.
    @param fault: gives the reason why there is no connection with a peer.
    @param refused: see L{ClusterStatus.refused}.
    @param cluster_id: empty: there is none, or it is not known.
    """
    quorum = suspended is None and engine.has_quorum
    leader = engine.leader.id if engine.leader is not None and suspended is None else None
    matches = engine.matches if engine.role == LEADER else {}
    members = []
    for each in engine.configuration:
        own = each.name == member.name
        role = "unknown"
        if leader is not None:
            role = "leader" if each.name == leader else "follower"
        match = engine.last_index if own and engine.role == LEADER else matches.get(each.name)
        members.append(
            MemberStatus(
                each.name,
                each.address,
                role,
                None if own else last_contact(each.name),
                match,
                None if match is None else max(0, engine.last_index - match),
                None if own else fault(each.name),
            )
        )
    awaited = engine.awaited if engine.is_member else ()
    return ClusterStatus(
        member.name,
        tuple(members),
        _role(engine),
        leader,
        engine.term,
        engine.commit_index,
        engine.applied_index,
        quorum,
        suspended,
        not (quorum and engine.is_member),
        caught_up,
        remembers,
        any(each.name == member.name for each in engine.settled_configuration),
        cluster_id or None,
        awaited,
        _advice(members, awaited, has_quorum=quorum, is_member=engine.is_member),
        refused,
    )


def _role(engine: Engine) -> str:
    if not engine.configuration:
        return "joining"
    if not engine.is_member:
        return "removed"
    return ("follower", "candidate", "leader")[engine.role]


def _advice(
    members: Iterable[MemberStatus], awaited: tuple[str, ...], *, has_quorum: bool, is_member: bool
) -> str | None:
    """
    The advice to the operator of a node without a majority. See L{ClusterStatus.advice}.
    """
    problems = {each.name: each.problem for each in members if each.problem is not None}
    if has_quorum or not is_member or not (awaited or problems):
        return None
    missing = ", ".join(
        f"{name}: {problems[name]}" if name in problems else name
        for name in (awaited or sorted(problems))
    )
    if awaited:
        return (
            f"its log is empty, and a new cluster begins only once all members are heard; missing: "
            f"{missing}. If this node has lost its state directory, remove it from the cluster and "
            f"let it join again, with --join. If most members have lost theirs, first start one "
            f"that has its own with --force-new-cluster"
        )
    return (
        f"there is no majority; missing: {missing}. If most members are lost for good, start "
        f"this node once with --force-new-cluster, and let the others join again, with --join and "
        f"empty state directories"
    )


class CatchUp:
    """
    Whether a node has caught up, see L{ClusterStatus.caught_up}. A new leader does not know the
    commit index yet. But once an entry of its own term is committed, all entries before it are.

    @ivar is_done: whether the node has caught up.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._goal: int | None = None

    def look(self, engine: Engine) -> None:
        """
        Update L{is_done}. Called after each step.
        """
        if not engine.is_member:
            self.is_done, self._goal = False, None
        elif not self.is_done:
            raft = engine.raft
            if self._goal is None and engine.leader is not None:
                self._goal = raft.told_commit_index
            reached = self._goal is not None and engine.applied_index >= self._goal
            self.is_done = engine.is_leader or (reached and raft.applied_term == engine.term)


class LeaderlessTime:
    """
    The time for which no leader with a majority was heard. A long interval between two steps
    counts only in part: while this process is stopped, or its disk is slow, it can hear nobody.

    @ivar seconds: that time.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._looked_at = 0.0

    def begin(self, now: float) -> None:
        """
        Start counting.
        """
        self._looked_at = now

    def look(self, now: float, *, has_quorum: bool) -> None:
        """
        Update L{seconds}. Called after each step.
        """
        passed = min(now - self._looked_at, _LONGEST_INTERVAL)
        self.seconds = 0.0 if has_quorum else self.seconds + passed
        self._looked_at = now


class AdviceLog:
    """
    Logs the advice to an operator, once for each time without a majority.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._is_logged = False

    def look(self, leaderless: float, advise: Callable[[], str | None]) -> None:
        """
        Log the advice, if there has been no majority for a while. Called after each step.

        @param leaderless: the seconds without a leader that has a majority.
        @param advise: gives the advice; L{None}: there is none.
        """
        if leaderless < _LONGEST_SILENCE:
            self._is_logged = False
        elif not self._is_logged:
            advice = advise()
            if advice is not None:
                self._is_logged = True
                self._log.warn("this node waits: {advice}", advice=advice)
