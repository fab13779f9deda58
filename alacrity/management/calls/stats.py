"""
The calls that show counters.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from alacrity.management.calls.declaration import Answer, call
from alacrity.management.documents.schemas import (
    CounterDocument,
    ServerCounterDocument,
    StatsDocument,
)
from alacrity.management.documents.servers import counter_document
from alacrity.management.web.rendering import Renderer
from alacrity.management.web.responses import respond, respond_json
from alacrity.metrics.counters import Counter, Stats
from alacrity.pool import PoolView


class StatsCalls:
    """
    The counters of this node since it started.
    """

    def __init__(
        self,
        view: PoolView,
        stats: Stats,
        counters: Callable[[str], Counter | None],
        renderer: Renderer,
    ) -> None:
        """
        @param counters: gives a server's counter by its id; L{None}: nothing was counted
            yet.
        """
        self._view = view
        self._stats = stats
        self._counters = counters
        self._renderer = renderer

    @call(
        "GET",
        "/stats",
        "The counters of this node since it started.",
        answers={
            200: Answer(
                "The counters of client requests and of attempts on servers.", StatsDocument
            )
        },
    )
    def _show_stats(self, request: Request) -> bytes:
        stats = self._stats
        return respond_json(
            request,
            StatsDocument(
                client=CounterDocument(**stats.client.document()),
                server=CounterDocument(**stats.server.document()),
            ),
        )

    @call(
        "GET",
        "/stats/detail",
        "The counters of this node since it started, for each server.",
        answers={200: Answer("The counters of the servers.", list[ServerCounterDocument])},
    )
    async def _show_counters(self, request: Request) -> bytes:
        servers = self._view.pool.servers
        documents = (counter_document(server, self._counters(id)) for id, server in servers.items())
        return respond(request, 200, await self._renderer.render(documents))
