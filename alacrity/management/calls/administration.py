"""
The calls that change or remove one server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import UNSET
from twisted.web.server import Request

from alacrity.management.calls.consistency import Cluster, require_format
from alacrity.management.calls.declaration import Answer, call
from alacrity.management.documents.addresses import read_server_id
from alacrity.management.documents.administration import (
    read_administration,
    until_fault,
)
from alacrity.management.documents.problems import RETRY, Problem, shown
from alacrity.management.documents.removals import (
    CannotWait,
    Drains,
    RegisteredAgain,
    Removal,
    drain_document,
)
from alacrity.management.documents.schemas import (
    AdministrationRequestDocument,
    DrainDocument,
    RenewalDocument,
    ServerDocument,
)
from alacrity.management.documents.servers import LastCheck, server_document, unknown_server
from alacrity.management.web.conditions import (
    Precondition,
    etag,
    read_if_match,
    version_problem,
)
from alacrity.management.web.requests import PATCH, read_json, read_seconds, require_no_body
from alacrity.management.web.responses import respond_empty, respond_json, set_headers
from alacrity.pool import Deregister, Deregistered, PoolView, Propose, Server
from alacrity.pool.commands import Administer, Administered, Command, Outcome, VersionMismatch
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal
from alacrity.pool.model import AdminState

LONGEST_WAIT: Final = 3600.0
"""The most seconds that a removal may wait for requests in flight."""

TRIES: Final = 8
"""Times that a command is proposed with the version that the server has just then."""

Renew = Callable[[str], Awaitable[Renewal]]
"""Renews the lease of a server by its id. Raises L{NoSuchServer}, L{HasNoLease}, or
L{ProposalRefused<alacrity.cluster.proposals.ProposalRefused>}."""


class AdministrationCalls:
    """
    Operators' decisions about a server, its removal, and the renewal of its lease.
    """

    def __init__(
        self,
        *,
        view: PoolView,
        propose: Propose,
        last_checks: Callable[[str], LastCheck | None],
        wall: Callable[[], float],
        cluster: Cluster,
        drains: Drains,
        renew: Renew,
    ) -> None:
        """
        The arguments are those of L{Api<alacrity.management.api.Api>}.
        """
        self._view = view
        self._propose = propose
        self._last_checks = last_checks
        self._wall = wall
        self._cluster = cluster
        self._drains = drains
        self._renew = renew

    @call(
        "PATCH",
        "/servers/{id}",
        "Drain a server, take it into maintenance, or change its weight; a registration changes "
        "none of that.",
        takes=AdministrationRequestDocument,
        media_types=PATCH,
        answers={200: Answer("The server, as it is now.", ServerDocument, ["ETag"])},
        problems=[400, 404, 409, 412, 415, 503, 504],
        conditional=True,
    )
    async def _administer(self, request: Request, id: str) -> bytes:
        id = read_server_id(id)
        decision = read_administration(read_json(request, PATCH))
        condition = read_if_match(request)
        require_format(self._cluster, 2, "PATCH of a server")
        now = self._wall()

        def command(version: int | None) -> Command:
            until = now + decision.until if isinstance(decision.until, float) else decision.until
            return Administer(
                id, now, decision.state, decision.weight, until, decision.reason, version
            )

        def check(server: Server) -> None:
            if decision.needs_other_state and server.administration.state is AdminState.READY:
                raise until_fault(decision.until, "the server is ready, which does not end")

        outcome = await self._propose_with(
            id, command, condition, check if decision.needs_other_state else None
        )
        if not isinstance(outcome, Administered):
            raise unknown_server(id)
        server = outcome.server
        set_headers(request, etag(server.version))
        return respond_json(request, server_document(server, self._last_checks(id)))

    @call(
        "DELETE",
        "/servers/{id}",
        "Remove a server from the pool. Its requests in flight are finished; with wait, the "
        "answer comes when that is so on all nodes, and a repeated call goes on waiting.",
        answers={
            204: Answer("The server is removed. The call did not wait."),
            200: Answer("The server is removed. The call has waited.", DrainDocument),
        },
        problems=[400, 404, 409, 412, 503, 504],
        query=["wait"],
        conditional=True,
    )
    async def _deregister(self, request: Request, id: str) -> bytes:
        id = read_server_id(id)
        seconds = read_seconds(request, "wait", LONGEST_WAIT)
        condition = read_if_match(request)
        if seconds is not None:
            require_format(self._cluster, 2, "DELETE with wait")
        if condition.versions is not None:
            require_format(self._cluster, 2, "DELETE with If-Match")
        now = self._wall()
        outcome = await self._propose_with(
            id,
            lambda version: Deregister(
                id, now, "asked to", version=UNSET if version is None else version
            ),
            condition,
        )
        if isinstance(outcome, Deregistered):
            if seconds is None:
                return respond_empty(request)
            index = self._view.pool.index
            return await self._wait(request, id, Removal(index), seconds)
        removal = None if seconds is None else await self._drains.find(id)
        known = condition.versions is None or (
            removal is not None and removal.version in condition.versions
        )
        if seconds is None or removal is None or not known:
            raise unknown_server(id)
        return await self._wait(request, id, removal, seconds)

    @call(
        "PUT",
        "/servers/{id}/lease",
        "Renew the lease of a server. The request has no body.",
        answers={200: Answer("The lease is renewed.", RenewalDocument)},
        problems=[400, 404, 409, 503],
    )
    async def _renew_lease(self, request: Request, id: str) -> bytes:
        id = read_server_id(id)
        require_no_body(request)
        require_format(self._cluster, 2, "a lease")
        try:
            renewal = await self._renew(id)
        except NoSuchServer:
            detail = f"there is no server {shown(id)}; allowed: to register it again"
            raise Problem(404, detail) from None
        except HasNoLease:
            detail = f"server {shown(id)} has no lease; allowed: to register it with one"
            raise Problem(409, detail) from None
        return respond_json(request, RenewalDocument(renewal.lease, renewal.renew_after))

    async def _propose_with(
        self,
        id: str,
        command: Callable[[int | None], Command],
        condition: Precondition,
        check: Callable[[Server], None] | None = None,
    ) -> Outcome:
        """
        Propose a command under the caller's condition.

        @param command: makes the command for a version of the server; L{None}: for any.
        @param check: raises if the command does not fit the server. It is certain that the
            command is applied to a server that was checked.
        @raise Problem: the server has another version than the caller allows.
        """
        version = condition.newest()
        if check is not None:
            known = self._view.pool.servers.get(id)
            if known is not None and condition.allows(known.version):
                check(known)
                version = known.version
            else:
                # No server has it. The outcome shows the server, unless there is none.
                version = -1
        for _ in range(TRIES):
            outcome = await self._propose(command(version))
            if not isinstance(outcome, VersionMismatch):
                return outcome
            # This node did not know the newest version.
            server = outcome.server
            if not condition.allows(server.version):
                raise version_problem(id, server.version)
            if check is not None:
                check(server)
            version = server.version
        raise Problem(
            503,
            f"server {shown(id)} changes too often to be changed now; nothing was changed",
            headers=RETRY,
        )

    async def _wait(self, request: Request, id: str, removal: Removal, seconds: float) -> bytes:
        """
        Answer once a removed server's requests are finished, or the time is over. If the caller
        goes away, Klein cancels this.
        """
        try:
            nodes = await self._drains.wait(id, removal, seconds)
        except RegisteredAgain:
            detail = (
                f"server {shown(id)} was removed, and is registered again; another DELETE would "
                "remove the new registration"
            )
            raise Problem(409, detail) from None
        except CannotWait as error:
            detail = f"the server is removed, but this call cannot wait for its requests: {error}"
            raise Problem(503, detail, headers=RETRY) from None
        return respond_json(request, drain_document(nodes))
