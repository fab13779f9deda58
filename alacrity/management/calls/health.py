"""
The call that shows whether this node is fit for traffic.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from alacrity.management.calls.declaration import Answer, call
from alacrity.management.documents.problems import RETRY, Problem
from alacrity.management.documents.schemas import ServingDocument
from alacrity.management.web.responses import respond_json


class HealthCalls:
    """
    The health of this node. The health of the leader is in
    L{ClusterCalls<alacrity.management.calls.cluster.ClusterCalls>}.
    """

    def __init__(self, unfit: Callable[[], str | None]) -> None:
        """
        @param unfit: gives the reason why this node should get no requests; L{None}: there is
            none.
        """
        self._unfit = unfit

    @call(
        "GET",
        "/health",
        "Whether this node takes requests.",
        answers={200: Answer("The node takes requests.", ServingDocument)},
        problems=[503],
        open=True,
    )
    def _show_health(self, request: Request) -> bytes:
        require_fit(self._unfit())
        return respond_json(request, ServingDocument("serving"))


def require_fit(unfit: str | None) -> None:
    """
    Check that this node is fit for traffic.

    @param unfit: the reason why this node is not fit; L{None}: it is.
    @raise Problem: this node is not fit.
    """
    if unfit is not None:
        raise Problem(503, f"this node should get no requests: {unfit}", headers=RETRY)
