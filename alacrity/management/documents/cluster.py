"""
The documents about the cluster and its nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from msgspec import UNSET

from alacrity.cluster.status import ClusterStatus
from alacrity.management.documents.addresses import why_unreachable
from alacrity.management.documents.optional import none_if_unset
from alacrity.management.documents.schemas import (
    ClusterDocument,
    HandOverRequestDocument,
    MemberDocument,
    NodeRequestDocument,
    RefusedNodeDocument,
)
from alacrity.management.documents.strict import fault, read
from alacrity.net.addresses import (
    ADDRESS,
    NODE_NAME,
    NodeAddress,
    is_ip,
    is_node_name,
    join_address,
    split_address,
)

ALLOWED_NODE: Final[Mapping[str, str]] = {
    "": "a JSON object with address, name",
    "address": ADDRESS,
    "name": NODE_NAME,
}
"""The allowed values of each member of C{POST /cluster/nodes}, in words."""

ALLOWED_HAND_OVER: Final[Mapping[str, str]] = {"": "a JSON object with name", "name": NODE_NAME}
"""The allowed values of each member of C{POST /cluster/leader}, in words."""


def read_node(body: bytes) -> NodeAddress:
    """
    Read the body of a C{POST /cluster/nodes}.

    @raise Problem: the body is not valid.
    """
    asked = read(body, NodeRequestDocument, ALLOWED_NODE)
    try:
        host, port = split_address(asked.address)
    except ValueError as error:
        raise fault("address", asked.address, ALLOWED_NODE, reason=str(error)) from None
    reason = why_unreachable(ip_address(host)) if is_ip(host) else None
    if reason is not None:
        raise fault("address", asked.address, ALLOWED_NODE, reason=reason)
    address = join_address(host, port)
    name = address if asked.name is UNSET else asked.name
    if not is_node_name(name):
        reason = "the address, because name is missing" if asked.name is UNSET else None
        raise fault("name", name, ALLOWED_NODE, reason=reason)
    return NodeAddress(name, address)


def read_hand_over(body: bytes) -> str | None:
    """
    Read the body of a C{POST /cluster/leader}.

    @return: the name of the node that shall become the leader; L{None}: any.
    @raise Problem: the body is not valid.
    """
    name = none_if_unset(read(body, HandOverRequestDocument, ALLOWED_HAND_OVER).name)
    if name is not None and not is_node_name(name):
        raise fault("name", name, ALLOWED_HAND_OVER)
    return name


def cluster_document(status: ClusterStatus) -> ClusterDocument:
    """
    The cluster, as the API shows it.
    """
    return ClusterDocument(
        name=status.name,
        role=status.role,  # type: ignore[arg-type] # the same words
        leader=status.leader,
        term=status.term,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        has_quorum=status.has_quorum,
        suspended=status.suspended,
        stale=status.stale,
        cluster_id=status.cluster_id,
        awaited=list(status.awaited),
        advice=status.advice,
        members=[
            MemberDocument(
                name=each.name,
                address=each.address,
                role=each.role,  # type: ignore[arg-type] # likewise
                last_contact=None
                if each.last_contact is None
                else round(max(0.0, each.last_contact), 3),
                match_index=each.match,
                lag=each.lag,
                problem=each.problem,
            )
            for each in status.members
        ],
        refused=[RefusedNodeDocument(name, problem) for name, problem in status.refused.items()],
    )
