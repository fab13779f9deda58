"""
Whether a node is fit for traffic, as C{GET /health} says it to load balancers.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from alacrity.cluster.status import ClusterStatus

Phase: TypeAlias = Literal["starting", "serving", "stopping"]


def why_unfit(
    phase: Phase,
    *,
    failure: str | None,
    listening: bool,
    status: ClusterStatus,
    leading: bool,
    only_leader: bool,
) -> str | None:
    """
    Why a node should get no requests, in a few words; L{None}: it is fit.

    A node that has lost touch with a majority is fit: it goes on with the pool it knows, that
    of an earlier run, too. One that is new first gets the pool from a leader.

    @param failure: why its part in the cluster has ended for good; L{None}: it has not.
    @param listening: whether the proxy has an address.
    @param leading: whether it leads.
    @param only_leader: whether the leader alone takes requests.
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
    if not status.caught_up and status.has_quorum:
        return "it does not know the whole pool yet: it is catching up with its cluster"
    if not status.caught_up and not status.remembers:
        return "it does not know the pool yet: no leader with a majority is heard of"
    if only_leader and not leading:
        return "another node serves: only the leader does"
    return None
