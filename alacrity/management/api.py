"""
The calls of the management API.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.management import pages, token
from alacrity.management.calls import Answer, Call, call, calls_of
from alacrity.management.cluster import Cluster, ClusterCalls, require_fit, settled
from alacrity.management.documents import (
    CheckResult,
    counter_document,
    read_registration,
    server_document,
)
from alacrity.management.openapi import describe
from alacrity.management.problems import RETRY, Problem, shown
from alacrity.management.rendering import Renderer
from alacrity.management.requests import caller, flag, require_json, text
from alacrity.management.schemas import (
    CounterDocument,
    RegistrationDocument,
    ServerCounterDocument,
    ServerDocument,
    ServingDocument,
    StatsDocument,
)
from alacrity.management.site import (
    CONNECTIONS,
    BoundedSite,
    encode_json,
    incident,
    respond,
    respond_json,
    respond_problem,
    set_headers,
)
from alacrity.metrics.counters import Counter, Stats
from alacrity.pool import Deregister, Deregistered, PoolView, Propose, Register, Registered, Server

if TYPE_CHECKING:
    from klein import Klein

READ_HEADERS: Final = ("X-Alacrity-Index", "X-Alacrity-Stale")

CONSISTENT: Final = ("consistent",)


def _nobody(ip: str, port: int) -> None:
    """
    Nothing of this node answers anywhere.
    """


class Api:
    """
    The management API of one node: each call is a method that says, by L{call}, where
    it is found and what it answers.
    """

    def __init__(
        self,
        *,
        view: PoolView,
        propose: Propose,
        stats: Stats,
        counters: Callable[[str], Counter | None],
        draining: Callable[[], Iterable[Server]],
        results: Callable[[str], CheckResult | None],
        unfit: Callable[[], str | None],
        wall: Callable[[], float],
        cluster: Cluster,
        own: Callable[[str, int], str | None] = _nobody,
        token: bytes | None = None,
        hosts: Collection[str] = (),
        interval: float = inf,
    ) -> None:
        """
        @param propose: how the pool is changed.
        @param counters: gives a server's counter by its id; L{None}: it has none yet.
        @param draining: the servers that have left the pool with requests in flight.
        @param results: gives the outcome of a server's latest check by its id.
        @param unfit: why this node should get no requests; L{None}: it should.
        @param wall: the time, in seconds since the epoch.
        @param cluster: this node's part in it.
        @param own: gives what of this node answers at an IP address and a port; L{None}:
            nothing of it.
        @param token: what callers must know; L{None}: all may call.
        @param hosts: the names by which the API may be called without a token, besides
            C{localhost}.
        @param interval: between checks of a server that asks for none, in seconds.
        """
        self._interval = interval
        self._view = view
        self._propose = propose
        self._stats = stats
        self._counters = counters
        self._draining = draining
        self._results = results
        self._unfit = unfit
        self._wall = wall
        self._cluster = cluster
        self._parts = (self, ClusterCalls(cluster, unfit))
        self._own = own
        self._token = token
        self._hosts = frozenset(hosts)
        self._renderer = Renderer()

    @classmethod
    def calls(cls) -> list[Call]:
        """
        What can be called.
        """
        return [each for part in (cls, ClusterCalls) for each, _ in calls_of(part)]

    def site(
        self, reactor: IReactorTime | None = None, connections: int = CONNECTIONS
    ) -> BoundedSite:
        """
        The API as a factory that ports can listen with.

        @param reactor: for timeouts, and for long answers to let others go first; L{None}:
            the global one.
        @param connections: how many there may be at once, at all ports together.
        """
        self._renderer.clock = reactor
        return BoundedSite(self.resource(), reactor, connections)

    def resource(self) -> Resource:
        """
        The API as a resource. It bounds no bodies; L{site} does.
        """
        open_paths = frozenset(each.path.encode("ascii") for each in self.calls() if each.open)
        return _Root(self._routes().resource(), self._token, open_paths, self._hosts)

    def _routes(self) -> Klein:
        # Klein imports the reactor, which must not be chosen by importing this module.
        from klein import Klein

        app = Klein()
        app.url_map.merge_slashes = False
        for part in self._parts:
            for each, method in calls_of(type(part)):
                path = each.path.replace("{", "<").replace("}", ">")
                app.route(path, methods=[each.method])(getattr(part, method))
        app.handle_errors(Exception)(self._refuse)  # type: ignore[arg-type]
        return app

    # The pool

    @call(
        "POST",
        "/servers",
        "Register a server. The same address again: its check and weight are replaced.",
        takes=RegistrationDocument,
        answers={
            201: Answer("It is new.", ServerDocument, ["Location"]),
            200: Answer("It was known.", ServerDocument, ["Location"]),
        },
        problems=[400, 409, 415, 503, 504],
        names="/servers/{id}",
    )
    async def _register(self, request: Request) -> bytes:
        asked = read_registration(require_json(request), caller(request), self._interval)
        own = self._own(asked.ip, asked.port)
        if own is not None:
            raise Problem(
                409,
                f"port is {asked.port}: at {shown(asked.ip)} that is this node's own {own}, and "
                "requests would go round in circles; allowed: another server's address",
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
            server_document(server, self._results(server.id)),
            201 if outcome.created else 200,
        )

    @call(
        "DELETE",
        "/servers/{id}",
        "Take a server out of the pool. Its requests in flight are finished.",
        answers={204: Answer("It is out.")},
        problems=[400, 404, 503, 504],
    )
    async def _deregister(self, request: Request, id: str) -> bytes:
        outcome = await self._propose(Deregister(id, time=self._wall(), reason="asked to"))
        if not isinstance(outcome, Deregistered):
            raise _no_such(id)
        request.setResponseCode(204)
        return b""

    @call(
        "GET",
        "/servers",
        "All servers.",
        answers={
            200: Answer(
                "In the order in which they were registered.", list[ServerDocument], READ_HEADERS
            )
        },
        problems=[400, 503],
        query=CONSISTENT,
    )
    async def _show_servers(self, request: Request) -> bytes:
        await self._read(request)
        servers = self._view.pool.servers
        leaving = [server for server in self._draining() if server.id not in servers]
        documents = chain(
            (server_document(server, self._results(id)) for id, server in servers.items()),
            (server_document(server, None, draining=True) for server in leaving),
        )
        return respond(request, 200, await self._renderer.render(documents))

    @call(
        "GET",
        "/servers/{id}",
        "One server.",
        answers={200: Answer("It is in the pool, or is leaving it.", ServerDocument, READ_HEADERS)},
        problems=[400, 404, 503],
        query=CONSISTENT,
    )
    async def _show_server(self, request: Request, id: str) -> bytes:
        await self._read(request)
        server = self._view.pool.servers.get(id)
        if server is not None:
            return respond_json(request, server_document(server, self._results(id)))
        for leaving in self._draining():
            if leaving.id == id:
                return respond_json(request, server_document(leaving, None, draining=True))
        raise _no_such(id)

    async def _read(self, request: Request) -> None:
        """
        See that what is read is as new as was asked for, and say how new it is.
        """
        consistent = flag(request, "consistent")
        status = await settled(self._cluster) if consistent else self._cluster.status()
        set_headers(
            request,
            {
                "X-Alacrity-Index": str(self._view.pool.index),
                "X-Alacrity-Stale": "true" if status.stale else "false",
            },
        )

    # Statistics

    @call(
        "GET",
        "/stats",
        "What this node has counted since it started.",
        answers={200: Answer("The counters.", StatsDocument)},
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
        "The same, for each server.",
        answers={200: Answer("The counters of the servers.", list[ServerCounterDocument])},
    )
    async def _show_counters(self, request: Request) -> bytes:
        servers = self._view.pool.servers
        documents = (counter_document(server, self._counters(id)) for id, server in servers.items())
        return respond(request, 200, await self._renderer.render(documents))

    # Health of this node

    @call(
        "GET",
        "/health",
        "Whether this node takes requests.",
        answers={200: Answer("It does.", ServingDocument)},
        problems=[503],
        open=True,
    )
    def _show_health(self, request: Request) -> bytes:
        require_fit(self._unfit())
        return respond_json(request, ServingDocument("serving"))

    # This description

    @call(
        "GET",
        "/openapi.json",
        "This document.",
        answers={200: Answer("An OpenAPI 3.1 document.", dict[str, Any])},
    )
    def _show_description(self, request: Request) -> bytes:
        return respond(request, 200, _description(secured=self._token is not None))

    # What cannot be answered

    def _refuse(self, request: Request, failure: Failure) -> bytes:
        """
        The one place where errors become answers.
        """
        match failure.value:
            case Problem() as problem:
                pass
            case ProposalRefused() as refused:
                detail = f"nothing was changed, and repeating the call is safe: {refused}"
                problem = Problem(503, detail, headers=RETRY)
            case OutcomeUnknown():
                problem = Problem(
                    504, "it is not known whether it was done; repeating the call is safe"
                )
            case MethodNotAllowed(valid_methods=methods):
                allow = ", ".join(sorted({*(methods or ()), "OPTIONS"}))
                if request.method == b"OPTIONS":
                    set_headers(request, {"Allow": allow})
                    request.setResponseCode(204)
                    return b""
                problem = Problem(
                    405,
                    f"the method is {text(request.method)}; allowed: {allow}",
                    headers={"Allow": allow},
                )
            case NotFound():
                problem = Problem(404, f"there is nothing at {text(request.path)}")
            case _:
                problem = incident(request, failure)
        return respond_problem(request, problem)


@cache
def _description(*, secured: bool) -> bytes:
    return encode_json(describe(Api.calls(), secured=secured))


class _Root(Resource):
    """
    Keeps from Klein what it would stumble over, and callers that may not call.
    """

    isLeaf = True

    def __init__(
        self,
        inner: IResource,
        token: bytes | None,
        open_paths: frozenset[bytes],
        hosts: frozenset[str],
    ) -> None:
        """
        @param open_paths: what may be read without the token.
        @param hosts: see L{Api}.
        """
        super().__init__()
        self._inner = inner
        self._token = token
        self._open_paths = open_paths
        self._hosts = hosts

    def render(self, request: Request) -> Any:
        """
        Answer a request.
        """
        # Before anything else is looked at, so that nothing can be learned.
        problem = self._refusal(request)
        if problem is not None:
            return respond_problem(request, problem)
        try:
            b"/".join([*(request.postpath or ()), request.method]).decode("utf-8")
        except UnicodeDecodeError:
            problem = Problem(400, f"the path is not UTF-8: {text(request.path)}")
            return respond_problem(request, problem)
        return self._inner.render(request)

    def _refusal(self, request: Request) -> Problem | None:
        """
        Why the caller may not call; L{None}: it may.
        """
        if self._token is not None:
            if request.method in {b"GET", b"HEAD"} and request.path in self._open_paths:
                return None
            return token.refusal(request.requestHeaders, self._token)
        if isinstance(request.getHost(), UNIXAddress):
            # No page can have a browser connect to it.
            return None
        return pages.refusal(
            request.requestHeaders,
            request.uri,
            self._hosts,
            required=request.clientproto != b"HTTP/1.0",
        )


def _no_such(id: str) -> Problem:
    return Problem(404, f"there is no server {shown(id)}")
