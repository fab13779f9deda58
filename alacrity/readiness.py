"""
Whether a node is fit for traffic, as C{GET /health} says it to load balancers.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from alacrity.cluster.replica import ClusterStatus

Phase: TypeAlias = Literal["starting", "serving", "stopping"]


def why_unfit(
    phase: Phase,
    *,
    failure: str | None,
    listening: bool,
    status: ClusterStatus,
    leading: bool,
    only_leader: bool,
    index: int,
) -> str | None:
    """
    Why a node should get no requests, in a few words; L{None}: it is fit.

    A node that has lost touch with a majority is fit: it goes on with the pool it knows.

    @param failure: why its part in the cluster has ended for good; L{None}: it has not.
    @param listening: whether the proxy has an address.
    @param leading: whether it leads.
    @param only_leader: whether the leader alone takes requests.
    @param index: how many commands have made the pool that it knows.
    """
    if phase != "serving":
        return f"it is {phase}"
    if failure is not None:
        return f"its part in the cluster has failed: {failure}"
    if not listening:
        return "its proxy listens nowhere"
    if status.role == "joining":
        return "it waits to be taken into its cluster"
    if status.role == "removed":
        return "it is not a member of its cluster: it was removed, or is not taken in yet"
    if index == 0 and not status.has_quorum:
        return "it knows no pool yet: no leader with a majority was heard of"
    if only_leader and not leading:
        return "another node serves: only the leader does"
    return None
