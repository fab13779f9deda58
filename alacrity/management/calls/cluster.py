"""
The calls about the cluster itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.web.server import Request

from alacrity.cluster.status import ClusterStatus
from alacrity.management.calls.consistency import Cluster, consistent_status
from alacrity.management.calls.declaration import Answer, call
from alacrity.management.calls.health import require_fit
from alacrity.management.documents.cluster import cluster_document, read_hand_over, read_node
from alacrity.management.documents.problems import RETRY, Problem, shown
from alacrity.management.documents.schemas import (
    ClusterDocument,
    HandOverDocument,
    HandOverRequestDocument,
    LeaderDocument,
    NodeDocument,
    NodeRequestDocument,
)
from alacrity.management.web.requests import read_json
from alacrity.management.web.responses import respond_empty, respond_json
from alacrity.net.addresses import is_address, normalized_address


class ClusterCalls:
    """
    The members of the cluster, and their leader.
    """

    def __init__(
        self,
        cluster: Cluster,
        add_node: Callable[[str, str], Awaitable[None]],
        unfit: Callable[[], str | None],
    ) -> None:
        """
        The arguments are those of L{Api<alacrity.management.api.Api>}.
        """
        self._cluster = cluster
        self._add_node_named = add_node
        self._unfit = unfit

    @call(
        "GET",
        "/cluster",
        "The cluster as this node sees it now. This call works without a quorum, too.",
        answers={
            200: Answer("The members, their roles, and the progress of this node.", ClusterDocument)
        },
    )
    def _show_cluster(self, request: Request) -> bytes:
        return respond_json(request, cluster_document(self._cluster.status()))

    @call(
        "POST",
        "/cluster/nodes",
        "Add a node to the cluster. It must be running, and waiting to be added.",
        takes=NodeRequestDocument,
        answers={201: Answer("The node is a member, and has caught up.", NodeDocument)},
        problems=[400, 409, 415, 503, 504],
        resource="/cluster/nodes/{name}",
    )
    async def _add_node(self, request: Request) -> bytes:
        new = read_node(read_json(request))
        status = await consistent_status(self._cluster)
        for each in status.members:
            if each.name == status.name and not each.address:
                raise Problem(
                    409, "this node has no cluster.listen, so no other node could connect to it"
                )
            name, address = each.name == new.name, each.address == new.address
            # Both are equal if the node is a member already. The call is then repeated, because
            # the caller did not get the first answer.
            if name != address:
                raise Problem(
                    409,
                    f"{shown(each.name)} at {shown(each.address)} is a member already",
                    field="name" if name else "address",
                )
        await self._add_node_named(new.name, new.address)
        return respond_json(request, NodeDocument(new.name, new.address), 201)

    @call(
        "DELETE",
        "/cluster/nodes/{name}",
        "Remove a node from the cluster, whether it is running or not. The leader hands over "
        "before it is removed.",
        answers={204: Answer("The node is not a member any more.")},
        problems=[400, 404, 409, 503, 504],
    )
    async def _remove_node(self, request: Request, name: str) -> bytes:
        try:
            status = await consistent_status(self._cluster)
        except Problem as problem:
            advice = self._cluster.status().advice
            if problem.status == 503 and advice is not None:
                raise Problem(503, f"{problem.detail}. {advice}", headers=RETRY) from problem
            raise
        name = _member_name(status, name)
        if len(status.members) == 1:
            raise Problem(409, "the last member cannot be removed")
        await self._cluster.remove_member(name)
        return respond_empty(request)

    @call(
        "POST",
        "/cluster/leader",
        "Ask the leader to hand over to a certain member, or to any. GET /cluster shows the "
        "result.",
        takes=HandOverRequestDocument,
        answers={202: Answer("The leader was asked to hand over.", HandOverDocument)},
        problems=[400, 404, 409, 415, 503],
    )
    async def _hand_over(self, request: Request) -> bytes:
        name = read_hand_over(read_json(request))
        status = await consistent_status(self._cluster)
        if name is not None:
            name = _member_name(status, name)
        if len(status.members) == 1:
            raise Problem(409, "there is no other member to hand over to")
        self._cluster.hand_over(name)
        return respond_json(request, HandOverDocument(leader=status.leader, wanted=name), 202)

    @call(
        "GET",
        "/health/leader",
        "Whether this node is the leader and takes requests.",
        answers={200: Answer("The node is the leader and takes requests.", LeaderDocument)},
        problems=[503],
        open=True,
    )
    def _show_leader(self, request: Request) -> bytes:
        if not self._cluster.is_leader:
            raise Problem(503, "this node is not the leader", headers=RETRY)
        require_fit(self._unfit())
        return respond_json(request, LeaderDocument("leader"))


def _member_name(status: ClusterStatus, text: str) -> str:
    """
    The name of the member that a caller means: the text itself, or the address that it spells
    in another way, as a node without a name of its own has its address for one.
    """
    names = {each.name for each in status.members}
    if text in names:
        return text
    if is_address(text) and normalized_address(text) in names:
        return normalized_address(text)
    raise Problem(404, f"there is no member {shown(text)}")
