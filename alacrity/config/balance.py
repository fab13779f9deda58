"""
The tables of the choice of a server: C{[balance]}, C{[sticky]} and C{[queue]}.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from alacrity.config.readers import (
    choice,
    cookie_domain,
    cookie_name,
    count_or_zero,
    duration_or_zero,
    group_weights,
    hash_bound,
    hash_key,
    time_limit,
    whole_seconds,
)

Method: TypeAlias = Literal["round_robin", "least_requests", "hash"]
SameSite: TypeAlias = Literal["Strict", "Lax", "None"]
Scope: TypeAlias = Literal["node", "cluster"]


class BalanceSettings(msgspec.Struct, frozen=True):
    """
    C{[balance]}: the server that gets the next request.

    @ivar method: in turn; the less busy one of two; or by a hash of the key.
    @ivar key: of the hash: C{ip}, C{path}, C{header:NAME}, C{cookie:NAME} or C{query:NAME}.
    @ivar bound: how many times the mean load a server may have under C{hash}, before its keys
        go to the next.
    @ivar slow_start: seconds in which the weight of a server that has come up rises from a
        tenth to the whole; 0: at once.
    @ivar groups: the weights of the groups that servers name at registration; those without a
        group are one of weight 1, as is a group that is not named here.
    """

    method: Annotated[Method, choice(Method)] = "round_robin"
    key: Annotated[str, hash_key] = "ip"
    bound: Annotated[float, hash_bound] = 1.5
    slow_start: Annotated[float, duration_or_zero] = 0.0
    groups: Annotated[dict[str, int], group_weights] = {}


class StickySettings(msgspec.Struct, frozen=True):
    """
    C{[sticky]}: sessions, whose requests go to one server.

    @ivar cookie: the name of the cookie; empty: there are no sessions.
    @ivar max_age: of the cookie, in seconds; 0: it lasts as long as the browser runs.
    @ivar domain: of the cookie; empty: the host that was asked.
    @ivar same_site: of the cookie.
    """

    cookie: Annotated[str, cookie_name] = ""
    max_age: Annotated[int, whole_seconds] = 0
    domain: Annotated[str, cookie_domain] = ""
    same_site: Annotated[SameSite, choice(SameSite)] = "Lax"


class QueueSettings(msgspec.Struct, frozen=True):
    """
    C{[queue]}: servers that are full, and requests that wait for one.

    @ivar max_requests: requests that a server may have at a time, unless it was registered with
        another number; 0: any number.
    @ivar max_requests_scope: whether that number is each node's, or that of the cluster.
    @ivar size: requests that may wait; 0: none does.
    @ivar timeout: seconds that one may wait.
    """

    max_requests: Annotated[int, count_or_zero] = 0
    max_requests_scope: Annotated[Scope, choice(Scope)] = "node"
    size: Annotated[int, count_or_zero] = 1000
    timeout: Annotated[float, time_limit] = 5.0
