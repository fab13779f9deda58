"""
The calls about the servers of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final

from twisted.web.server import Request

from alacrity.management.calls.consistency import Cluster, consistent_status
from alacrity.management.calls.declaration import Answer, call
from alacrity.management.documents.problems import Problem, shown
from alacrity.management.documents.registrations import read_registration
from alacrity.management.documents.schemas import RegistrationDocument, ServerDocument
from alacrity.management.documents.servers import LastCheck, server_document
from alacrity.management.web.rendering import Renderer
from alacrity.management.web.requests import caller_ip, read_flag, read_json
from alacrity.management.web.responses import (
    respond,
    respond_empty,
    respond_json,
    set_headers,
)
from alacrity.pool import Deregister, Deregistered, PoolView, Propose, Register, Registered, Server

READ_HEADERS: Final = ("X-Alacrity-Index", "X-Alacrity-Stale")
"""The response fields that show how recent the shown pool is."""


class ServerCalls:
    """
    The servers of the pool: register, remove, show.
    """

    def __init__(
        self,
        *,
        view: PoolView,
        propose: Propose,
        last_checks: Callable[[str], LastCheck | None],
        draining: Callable[[], Iterable[Server]],
        own_listener: Callable[[str, int], str | None],
        wall: Callable[[], float],
        cluster: Cluster,
        renderer: Renderer,
        default_interval: float,
    ) -> None:
        """
        The arguments are those of L{Api<alacrity.management.api.Api>}.
        """
        self._view = view
        self._propose = propose
        self._last_checks = last_checks
        self._draining = draining
        self._own_listener = own_listener
        self._wall = wall
        self._cluster = cluster
        self._renderer = renderer
        self._default_interval = default_interval

    @call(
        "POST",
        "/servers",
        "Register a server. If its address is registered already, its check and weight are "
        "replaced.",
        takes=RegistrationDocument,
        answers={
            201: Answer("The server is new.", ServerDocument, ["Location"]),
            200: Answer("The server was registered already.", ServerDocument, ["Location"]),
        },
        problems=[400, 409, 415, 503, 504],
        resource="/servers/{id}",
    )
    async def _register(self, request: Request) -> bytes:
        asked = read_registration(read_json(request), caller_ip(request), self._default_interval)
        own = self._own_listener(asked.ip, asked.port)
        if own is not None:
            raise Problem(
                409,
                f"port is {asked.port}: at {shown(asked.ip)} that is this node's own {own}, so "
                "requests would loop without end; allowed: the address of another server",
                field="port",
            )
        outcome = await self._propose(
            Register(asked.ip, asked.port, asked.check, asked.weight, time=self._wall())
        )
        assert isinstance(outcome, Registered), outcome
        server = outcome.server
        set_headers(request, {"Location": f"/servers/{server.id}"})
        return respond_json(
            request,
            server_document(server, self._last_checks(server.id)),
            201 if outcome.created else 200,
        )

    @call(
        "DELETE",
        "/servers/{id}",
        "Remove a server from the pool. Its requests in flight are finished.",
        answers={204: Answer("The server is removed.")},
        problems=[400, 404, 503, 504],
    )
    async def _deregister(self, request: Request, id: str) -> bytes:
        outcome = await self._propose(Deregister(id, time=self._wall(), reason="asked to"))
        if not isinstance(outcome, Deregistered):
            raise _unknown_server(id)
        return respond_empty(request)

    @call(
        "GET",
        "/servers",
        "All servers.",
        answers={
            200: Answer(
                "The servers, in the order of their registration.",
                list[ServerDocument],
                READ_HEADERS,
            )
        },
        problems=[400, 503],
        query=["consistent"],
    )
    async def _show_servers(self, request: Request) -> bytes:
        await self._prepare_read(request)
        servers = self._view.pool.servers
        leaving = [server for server in self._draining() if server.id not in servers]
        documents = chain(
            (server_document(server, self._last_checks(id)) for id, server in servers.items()),
            (server_document(server, None, draining=True) for server in leaving),
        )
        return respond(request, 200, await self._renderer.render(documents))

    @call(
        "GET",
        "/servers/{id}",
        "One server.",
        answers={
            200: Answer("The server is in the pool, or drains.", ServerDocument, READ_HEADERS)
        },
        problems=[400, 404, 503],
        query=["consistent"],
    )
    async def _show_server(self, request: Request, id: str) -> bytes:
        await self._prepare_read(request)
        server = self._view.pool.servers.get(id)
        if server is not None:
            return respond_json(request, server_document(server, self._last_checks(id)))
        for leaving in self._draining():
            if leaving.id == id:
                return respond_json(request, server_document(leaving, None, draining=True))
        raise _unknown_server(id)

    async def _prepare_read(self, request: Request) -> None:
        """
        Wait until the pool is as recent as the caller requires, and set L{READ_HEADERS}.
        """
        consistent = read_flag(request, "consistent")
        status = await consistent_status(self._cluster) if consistent else self._cluster.status()
        set_headers(
            request,
            {
                "X-Alacrity-Index": str(self._view.pool.index),
                "X-Alacrity-Stale": "true" if status.stale else "false",
            },
        )


def _unknown_server(id: str) -> Problem:
    return Problem(404, f"there is no server {shown(id)}")
