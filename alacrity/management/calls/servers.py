"""
The calls about the servers of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final

from twisted.web.server import Request

from alacrity.cluster.proposals import ProposalRefused
from alacrity.management.calls.administration import Renew
from alacrity.management.calls.consistency import Cluster, consistent_status, require_format
from alacrity.management.calls.declaration import Answer, call
from alacrity.management.documents.addresses import read_server_id
from alacrity.management.documents.problems import Problem, shown
from alacrity.management.documents.registrations import Registration, read_registration
from alacrity.management.documents.schemas import (
    RegisteredDocument,
    RegistrationDocument,
    ServerDocument,
)
from alacrity.management.documents.servers import (
    LastCheck,
    registered_document,
    server_document,
    unknown_server,
)
from alacrity.management.web.conditions import etag, read_if_match, version_problem
from alacrity.management.web.rendering import Renderer
from alacrity.management.web.requests import caller_ip, read_flag, read_json
from alacrity.management.web.responses import (
    respond,
    respond_json,
    set_headers,
)
from alacrity.pool import (
    NoCheck,
    PoolView,
    Propose,
    Register,
    Registered,
    Server,
    format_of,
)
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal

READ_HEADERS: Final = ("X-Alacrity-Index", "X-Alacrity-Stale")
"""The response fields that show how recent the shown pool is."""


class ServerCalls:
    """
    The servers of the pool: register, show.
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
        renew: Renew,
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
        self._renew = renew
        self._renderer = renderer
        self._default_interval = default_interval

    @call(
        "POST",
        "/servers",
        "Register a server. If its address is registered already, all that it was registered "
        "with is replaced.",
        takes=RegistrationDocument,
        answers={
            201: Answer("The server is new.", RegisteredDocument, ["Location", "ETag"]),
            200: Answer(
                "The server was registered already.", RegisteredDocument, ["Location", "ETag"]
            ),
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
        command = Register(
            asked.ip, asked.port, asked.check, asked.weight, self._wall(), asked.options
        )
        require_format(self._cluster, format_of(command), _new_members(asked))
        outcome = await self._propose(command)
        assert isinstance(outcome, Registered), outcome
        server = outcome.server
        renewal = await self._first_renewal(server)
        set_headers(request, {"Location": f"/servers/{server.id}", **etag(server.version)})
        return respond_json(
            request,
            registered_document(server, self._last_checks(server.id), renewal),
            201 if outcome.created else 200,
        )

    async def _first_renewal(self, server: Server) -> Renewal | None:
        """
        The lease of a server that was registered just now, as granted; L{None}: it has none.
        """
        lease = server.options.lease
        if lease is None:
            return None
        try:
            return await self._renew(server.id)
        except (NoSuchServer, HasNoLease, ProposalRefused):
            # The registration is made nevertheless. The leader grants no less than was asked.
            return Renewal(lease, lease / 3)

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
            200: Answer(
                "The server is in the pool, or drains.", ServerDocument, [*READ_HEADERS, "ETag"]
            )
        },
        problems=[400, 404, 412, 503],
        query=["consistent"],
        conditional=True,
    )
    async def _show_server(self, request: Request, id: str) -> bytes:
        id = read_server_id(id)
        condition = read_if_match(request)
        await self._prepare_read(request)
        present = self._view.pool.servers.get(id)
        leaving = None
        if present is None:
            leaving = next((each for each in self._draining() if each.id == id), None)
        server = present or leaving
        if server is None:
            raise unknown_server(id)
        if not condition.allows(server.version):
            raise version_problem(id, server.version)
        set_headers(request, etag(server.version))
        last_check = None if present is None else self._last_checks(id)
        return respond_json(request, server_document(server, last_check, draining=present is None))

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


def _new_members(asked: Registration) -> str:
    """
    Name the members of a registration that not all versions of Alacrity know.
    """
    options = asked.options
    names = [
        name
        for name, given in (
            ("lease", options.lease is not None),
            ("priority", options.priority != 0),
            ("group", options.group != ""),
            ("max_requests", options.max_requests is not None),
            ("check.type none", isinstance(asked.check, NoCheck)),
        )
        if given
    ]
    return ", ".join(names)
