"""
Fitness of a node for traffic, as C{GET /health} reports it to load balancers.
"""

from __future__ import annotations

from alacrity.cluster.status import ClusterStatus
from alacrity.node.phase import NodePhase


def why_unfit(
    phase: NodePhase,
    *,
    failure: str | None,
    listening: bool,
    status: ClusterStatus,
    leading: bool,
    only_leader: bool,
) -> str | None:
    """
    The reason why a node should get no requests, in a few words; L{None}: it is fit.

    A node that has lost touch with a majority is fit: it goes on with the pool it knows, that
    of an earlier run, too. A new node first gets the pool from a leader.

    @param failure: the reason why its part in the cluster has ended for good; L{None}: it has
        not.
    @param listening: whether the proxy has an address.
    @param leading: whether this node is the leader.
    @param only_leader: whether the leader alone takes requests.
    """
    if phase is NodePhase.STOPPING:
        return "it is stopping"
    if phase is not NodePhase.SERVING:
        return "it is starting"
    if failure is not None:
        return f"its part in the cluster has failed: {failure}"
    if not listening:
        return "its proxy listens nowhere"
    if status.role == "joining":
        return "it waits to be taken into its cluster"
    if status.role == "removed":
        return "it is not a member of its cluster: it was removed, or is not taken in yet"
    if status.awaited and not status.has_quorum:
        unheard = "no leader with a majority is heard of"
        return f"it does not know the pool yet: {unheard}; {status.advice}"
    if not status.caught_up and status.has_quorum:
        return "it does not know the whole pool yet: it is catching up with its cluster"
    if not status.caught_up and not status.remembers:
        return "it does not know the pool yet: no leader with a majority is heard of"
    if only_leader and not leading:
        return "another node serves: only the leader does"
    return None
