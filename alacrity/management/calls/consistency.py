"""
The interface of the cluster for the calls, and reads that must be up to date.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.status import ClusterStatus
from alacrity.management.documents.problems import RETRY, Problem, shown


class Cluster(Protocol):
    """
    The part of a L{Replica<alacrity.cluster.replica.Replica>} that the calls use.
    """

    @property
    def is_leader(self) -> bool:
        """Whether this node is the leader."""

    @property
    def format(self) -> int:
        """All members understand commands up to this version."""

    def members_below(self, format: int) -> tuple[str, ...]:
        """The members that are not known to understand commands of a format."""

    def status(self) -> ClusterStatus:
        """The cluster as this node sees it."""

    def barrier(self) -> Awaitable[None]:
        """Wait until this node has applied all entries that were committed before the call."""

    def remove_member(self, name: str) -> Awaitable[None]:
        """Remove a member."""

    def hand_over(self, target: str | None = None) -> None:
        """Ask the leader to hand over to a certain member; L{None}: to any."""


async def consistent_status(cluster: Cluster) -> ClusterStatus:
    """
    Wait until this node has applied all entries that were committed before the call.

    @return: the cluster as this node sees it then.
    @raise Problem: this node cannot be certain that it has applied all of them.
    """
    try:
        await cluster.barrier()
    except ProposalRefused as refused:
        why = str(refused)
    except OutcomeUnknown:
        why = "no majority has confirmed it in time"
    else:
        return cluster.status()
    # Never 504, because this call changes nothing.
    raise Problem(503, f"this node may not be up to date: {why}", headers=RETRY)


def require_format(cluster: Cluster, format: int, what: str) -> None:
    """
    Check that all nodes understand what a call does.

    @param what: the parts of the call that need it, for people.
    @raise Problem: not all nodes do.
    """
    if cluster.format >= format:
        return
    nodes = cluster.members_below(format)
    if not nodes:
        # The leader is about to raise it, or there is no leader.
        detail = f"not all nodes are known yet to understand {what}; nothing was changed"
        raise Problem(503, detail, headers=RETRY)
    names = ", ".join(shown(each, 40)[1:-1] for each in nodes[:3])
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    raise Problem(
        409,
        f"{what} needs all nodes to be heard with a program that knows it; not heard yet: "
        f"{names}{more}. Upgrade or start these, or remove them from the cluster",
        nodes=nodes,
    )
