"""
The management API of one node, combined from its parts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from alacrity.management.calls.administration import AdministrationCalls, Renew
from alacrity.management.calls.cluster import ClusterCalls
from alacrity.management.calls.consistency import Cluster
from alacrity.management.calls.declaration import Call, calls_of
from alacrity.management.calls.description import DescriptionCalls
from alacrity.management.calls.health import HealthCalls
from alacrity.management.calls.openapi import describe
from alacrity.management.calls.servers import ServerCalls
from alacrity.management.calls.stats import StatsCalls
from alacrity.management.documents.removals import Drains
from alacrity.management.documents.servers import LastCheck
from alacrity.management.web.conditions import refuse_conditions
from alacrity.management.web.failures import respond_failure
from alacrity.management.web.gate import Gate
from alacrity.management.web.rendering import Renderer
from alacrity.management.web.responses import encode_json
from alacrity.management.web.site import BoundedSite
from alacrity.metrics.counters import Counter, Stats
from alacrity.pool import PoolView, Propose, Server

if TYPE_CHECKING:
    from klein import Klein

CALL_CLASSES: Final = (
    ServerCalls,
    AdministrationCalls,
    StatsCalls,
    HealthCalls,
    DescriptionCalls,
    ClusterCalls,
)
"""The classes whose methods are the calls, in the order in which they are described."""


def all_calls() -> list[Call]:
    """
    The calls of the API.
    """
    return [each for kind in CALL_CLASSES for each, _ in calls_of(kind)]


@cache
def describe_all(*, secured: bool) -> bytes:
    """
    Encode the OpenAPI document of all calls as JSON.

    @param secured: whether the API requires a token.
    """
    return encode_json(describe(all_calls(), secured=secured))


class Api:
    """
    The management API of one node.
    """

    def __init__(
        self,
        *,
        view: PoolView,
        propose: Propose,
        stats: Stats,
        counters: Callable[[str], Counter | None],
        draining: Callable[[], Iterable[Server]],
        last_checks: Callable[[str], LastCheck | None],
        unfit: Callable[[], str | None],
        wall: Callable[[], float],
        cluster: Cluster,
        drains: Drains,
        renew: Renew,
        add_node: Callable[[str, str], Awaitable[None]],
        own_listener: Callable[[str, int], str | None],
        clock: IReactorTime,
        default_interval: float,
        token: bytes | None = None,
        hosts: Collection[str] = (),
    ) -> None:
        """
        @param propose: proposes a change of the pool.
        @param counters: gives a server's counter by its id; L{None}: no server has this id.
        @param draining: gives the removed servers that still have requests in flight.
        @param last_checks: gives the outcome of a server's latest check by its id.
        @param unfit: gives the reason why this node should get no requests; L{None}: there is
            none.
        @param wall: gives the time, in seconds since the epoch.
        @param cluster: this node's part in its cluster.
        @param drains: the removed servers whose requests are finished.
        @param renew: renews a lease, see L{Renew}.
        @param add_node: adds a node to the cluster, by its name and its address.
        @param own_listener: gives the name of this node's listener at an IP address and a port;
            L{None}: there is none.
        @param clock: the reactor.
        @param default_interval: seconds between checks where the registration names none.
        @param token: the token that callers need; L{None}: they need none.
        @param hosts: the names by which the API may be called without a token, besides
            C{localhost}.
        """
        self._clock = clock
        self._token = token
        self._hosts = frozenset(hosts)
        renderer = Renderer(clock)
        self._handlers = (
            ServerCalls(
                view=view,
                propose=propose,
                last_checks=last_checks,
                draining=draining,
                own_listener=own_listener,
                wall=wall,
                cluster=cluster,
                renew=renew,
                renderer=renderer,
                default_interval=default_interval,
            ),
            AdministrationCalls(
                view=view,
                propose=propose,
                last_checks=last_checks,
                wall=wall,
                cluster=cluster,
                drains=drains,
                renew=renew,
            ),
            StatsCalls(view, stats, counters, renderer),
            HealthCalls(unfit),
            DescriptionCalls(lambda: describe_all(secured=token is not None)),
            ClusterCalls(cluster, add_node, unfit),
        )

    def site(self, *, connections: int, surplus: int) -> BoundedSite:
        """
        Build the factory for the API's ports.

        @param connections: the limit of connections to all ports together.
        @param surplus: see L{BoundedSite}.
        """
        return BoundedSite(self._resource(), self._clock, limit=connections, surplus=surplus)

    def _resource(self) -> Resource:
        open_paths = frozenset(each.path.encode("ascii") for each in all_calls() if each.open)
        return Gate(self._routes().resource(), self._token, open_paths, self._hosts)

    def _routes(self) -> Klein:
        # Klein imports the reactor. The import of this module must not install a reactor.
        from klein import Klein

        app = Klein()
        app.url_map.merge_slashes = False
        for handler in self._handlers:
            for each, method in calls_of(type(handler)):
                path = each.path.replace("{", "<").replace("}", ">")
                app.route(path, methods=[each.method])(
                    _guarded(getattr(handler, method), each.conditional)
                )
        app.handle_errors(Exception)(respond_failure)  # type: ignore[arg-type]
        return app


def _guarded(method: Callable[..., Any], conditional: bool) -> Callable[..., Any]:
    """
    A call's method that is not called for a request with a condition that it does not look at.

    @param conditional: whether it looks at C{If-Match}.
    """

    @wraps(method)
    def guarded(request: Request, *args: Any, **arguments: Any) -> Any:
        refuse_conditions(request, if_match=conditional)
        return method(request, *args, **arguments)

    return guarded
