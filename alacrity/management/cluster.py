"""
The calls of the management API about the cluster itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.web.server import Request

from alacrity.cluster.log.members import Member
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.status import ClusterStatus
from alacrity.management.calls import Answer, call
from alacrity.management.documents import cluster_document, read_hand_over, read_node
from alacrity.management.problems import RETRY, Problem, shown
from alacrity.management.requests import require_json
from alacrity.management.schemas import (
    ClusterDocument,
    HandOverDocument,
    HandOverRequestDocument,
    LeaderDocument,
    NodeDocument,
    NodeRequestDocument,
)
from alacrity.management.site import respond_json


class Cluster(Protocol):
    """
    The part of a L{Replica<alacrity.cluster.replica.Replica>} that is used.
    """

    @property
    def is_leader(self) -> bool:
        """Whether this node leads."""

    def status(self) -> ClusterStatus:
        """The cluster as this node sees it."""

    def barrier(self) -> Awaitable[None]:
        """Wait until what is read here is consistent."""

    def add_member(self, member: Member) -> Awaitable[None]:
        """Take a node in."""

    def remove_member(self, name: str) -> Awaitable[None]:
        """Remove one."""

    def hand_over(self, target: str | None = None) -> None:
        """Have the leader hand over."""


class ClusterCalls:
    """
    Who is in the cluster, and who leads it.
    """

    def __init__(self, cluster: Cluster, unfit: Callable[[], str | None]) -> None:
        """
        @param unfit: why this node should get no requests; L{None}: it should.
        """
        self._cluster = cluster
        self._unfit = unfit

    @call(
        "GET",
        "/cluster",
        "The cluster as this node sees it now. It answers without a quorum, too.",
        answers={200: Answer("Members, roles, and how far this node is.", ClusterDocument)},
    )
    def _show_cluster(self, request: Request) -> bytes:
        return respond_json(request, cluster_document(self._cluster.status()))

    @call(
        "POST",
        "/cluster/nodes",
        "Take a node into the cluster. It must run, and wait to be taken in.",
        takes=NodeRequestDocument,
        answers={201: Answer("It is in, and has caught up.", NodeDocument)},
        problems=[400, 409, 415, 503, 504],
        names="/cluster/nodes/{name}",
    )
    async def _add_node(self, request: Request) -> bytes:
        new = read_node(require_json(request))
        status = await settled(self._cluster)
        for each in status.members:
            if each.name == status.name and not each.address:
                raise Problem(
                    409, "this node has no cluster.listen, so that no other could reach it"
                )
            name, address = each.name == new.name, each.address == new.address
            # Both: it is in already, and whoever asks again did not hear that.
            if name != address:
                raise Problem(
                    409,
                    f"{shown(each.name)} at {shown(each.address)} is a member already",
                    field="name" if name else "address",
                )
        await self._cluster.add_member(new)
        return respond_json(request, NodeDocument(new.name, new.address), 201)

    @call(
        "DELETE",
        "/cluster/nodes/{name}",
        "Remove a node from the cluster, whether it runs or not. The leader hands over first.",
        answers={204: Answer("It is out.")},
        problems=[400, 404, 409, 503, 504],
    )
    async def _remove_node(self, request: Request, name: str) -> bytes:
        status = await settled(self._cluster)
        _require_member(status, name)
        if len(status.members) == 1:
            raise Problem(409, "the last member cannot be removed")
        await self._cluster.remove_member(name)
        request.setResponseCode(204)
        return b""

    @call(
        "POST",
        "/cluster/leader",
        "Have the leader hand over, to a certain member or to whom it likes. GET /cluster tells "
        "whether it did.",
        takes=HandOverRequestDocument,
        answers={202: Answer("It was asked to.", HandOverDocument)},
        problems=[400, 404, 409, 415, 503],
    )
    async def _hand_over(self, request: Request) -> bytes:
        name = read_hand_over(require_json(request))
        status = await settled(self._cluster)
        if name is not None:
            _require_member(status, name)
        if len(status.members) == 1:
            raise Problem(409, "there is no other member to hand over to")
        self._cluster.hand_over(name)
        return respond_json(request, HandOverDocument(leader=status.leader, wanted=name), 202)

    # Health of this node

    @call(
        "GET",
        "/health/leader",
        "Whether this node leads, and takes requests.",
        answers={200: Answer("It does.", LeaderDocument)},
        problems=[503],
        open=True,
    )
    def _show_leader(self, request: Request) -> bytes:
        if not self._cluster.is_leader:
            raise Problem(503, "this node does not lead", headers=RETRY)
        require_fit(self._unfit())
        return respond_json(request, LeaderDocument("leader"))


def require_fit(unfit: str | None) -> None:
    """
    See that this node should get requests.

    @param unfit: why it should not.
    @raise Problem: it should not.
    """
    if unfit is not None:
        raise Problem(503, f"this node should get no requests: {unfit}", headers=RETRY)


async def settled(cluster: Cluster) -> ClusterStatus:
    """
    Wait until this node knows all that was committed before.

    @return: the cluster as it sees it then.
    @raise Problem: it may not.
    """
    try:
        await cluster.barrier()
    except ProposalRefused as refused:
        why = str(refused)
    except OutcomeUnknown:
        why = "no majority has confirmed it in time"
    else:
        return cluster.status()
    # No 504 either: nothing can have been done.
    raise Problem(503, f"this node may not be up to date: {why}", headers=RETRY)


def _require_member(status: ClusterStatus, name: str) -> None:
    if all(each.name != name for each in status.members):
        raise Problem(404, f"there is no member {shown(name)}")
