"""
The cluster as the calls use it, and reads that must be up to date.
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
        """True while this node leads."""

    def status(self) -> ClusterStatus:
        """The cluster as this node sees it."""

    def barrier(self) -> Awaitable[None]:
        """Wait until this node has applied whatever was committed before."""

    def remove_member(self, name: str) -> Awaitable[None]:
        """Remove a member."""

    def hand_over(self, target: str | None = None) -> None:
        """Ask the leader to hand over, to a certain member or to any."""


async def consistent_status(cluster: Cluster) -> ClusterStatus:
    """
    Wait until this node has applied whatever was committed before the call.

    @return: the cluster as it sees it then.
    @raise Problem: it cannot be certain of that.
    """
    try:
        await cluster.barrier()
    except ProposalRefused as refused:
        why = str(refused)
    except OutcomeUnknown:
        why = "no majority has confirmed it in time"
    else:
        return cluster.status()
    # Never 504, as nothing can have been changed.
    raise Problem(503, f"this node may not be up to date: {why}", headers=RETRY)
