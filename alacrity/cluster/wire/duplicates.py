"""
Decisions about a second connection with the same node.
"""

from __future__ import annotations

from alacrity.cluster.wire.handshake import Identity
from alacrity.cluster.wire.link import IDLE_TIMEOUT, STABLE_AFTER, Link


def older_stays(older: Link, newer: Link, *, greater: bool, now: float) -> bool:
    """
    Whether a connection stays although there is a newer one with the same node.

    If the same side made both, that side knows that the older one is dead. If each side made
    one, both sides decide the same: the connection made by the node with the greater name
    stays, no matter in which order the sides see the two.

    @param greater: whether this node has the greater name.
    """
    return (
        older.outgoing != newer.outgoing
        and older.outgoing == greater
        and now - older.last_received <= IDLE_TIMEOUT
    )


def copy_refusal(peer: Identity, older: Link | None, newer: Link, now: float) -> str | None:
    """
    The reason to refuse a copy of a node: a node with the same name and the same files as a
    connected one, but on another host. Each of the two would vote, and would acknowledge
    entries that the other does not have.

    @param older: the connection with a node of that name; L{None}: there is none.
    @return: the reason; L{None}: it may be the same node.
    """
    if older is None or older.session is None or older.host == newer.host:
        return None
    if older.session.peer.incarnation != peer.incarnation:
        return None
    # When both sides connect at once, a node with two addresses may use both.
    crossed = older.outgoing and now - older.started < STABLE_AFTER
    if crossed or now - older.last_received > IDLE_TIMEOUT:
        return None
    return (
        f"{peer.name!a} is connected from {older.host} already, with the same files: "
        f"one of the two is a copy, which must not run"
    )
