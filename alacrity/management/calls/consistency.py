"""
The interface of the cluster for the calls, and reads that must be up to date.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.status import ClusterStatus
from alacrity.management.documents.problems import RETRY, Problem


class Cluster(Protocol):
    """
    The part of a L{Replica<alacrity.cluster.replica.Replica>} that the calls use.
    """

    @property
    def is_leader(self) -> bool:
        """Whether this node is the leader."""

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
