"""
The way of a new node into a cluster: it asks one that is in it, over the management API.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.client import ResponseNeverReceived

from alacrity.cluster.log.members import Member
from alacrity.cluster.raft.peer import Peer

AGAIN: Final = 1.0
"""Seconds until it asks once more."""

PATIENCE: Final = 25.0
"""Seconds that an answer may take: the new node has to catch up first, for which a
leader gives it 15, and there may be no leader for 5."""

_log: Final = Logger()


class JoinRefused(Exception):
    """
    The cluster's refusal to take the node in.
    """


class _Member(msgspec.Struct):
    name: str
    address: str


class _Cluster(msgspec.Struct):
    members: list[_Member]


async def join(
    http: Any,
    url: str,
    me: Member,
    transport: Any,
    waiting: Callable[[], bool],
    clock: IReactorTime,
    headers: Mapping[str, str],
) -> None:
    """
    Ask until this node is taken in.

    @param http: treq, or what behaves like it.
    @param url: of the management API of any node in the cluster.
    @param transport: is told of the members, so that it connects with them.
    @param waiting: whether this node is not in the cluster yet.
    @param headers: for the calls.
    """
    said = ""
    while waiting():
        try:
            await _until_cancelled(_ask(http, url.rstrip("/"), me, transport, headers))
            # It is in, though it may not know yet. Whoever removes it now, means it.
            break
        except JoinRefused as refusal:
            _log.critical(
                "{url} does not take this node into the cluster: {why}", url=url, why=str(refusal)
            )
            return
        except _Stopped:
            raise CancelledError from None
        except Exception as error:
            why = _why(error)
            if why != said:
                said = why
                _log.warn("cannot join the cluster by {url} yet: {why}", url=url, why=why)
        await deferLater(clock, AGAIN)
    _log.info("this node, {name}, is in the cluster", name=me.name)


class _Stopped(Exception):
    """
    This node does not want to join any more.
    """


def _until_cancelled(asking: Coroutine[Any, Any, None]) -> Deferred[None]:
    """
    A call that can be told apart from one that failed of itself when it is cancelled: the
    client cancels what takes too long, and calls that by the same name.
    """
    asked = Deferred.fromCoroutine(asking)

    def stop(stopped: Deferred[None]) -> None:
        stopped.errback(_Stopped())
        asked.cancel()

    outcome: Deferred[None] = Deferred(stop)

    def tell(result: Any) -> None:
        if not outcome.called:
            outcome.callback(result)

    asked.addBoth(tell)
    return outcome


async def _ask(http: Any, url: str, me: Member, transport: Any, headers: Mapping[str, str]) -> None:
    response = await http.get(f"{url}/cluster", headers=headers, timeout=PATIENCE)
    cluster = msgspec.json.decode(await _body(response), type=_Cluster)
    for member in cluster.members:
        if member.name != me.name:
            transport.addNode(Peer(Member(member.name, member.address)))
    await _body(
        await http.post(
            f"{url}/cluster/nodes",
            json={"name": me.name, "address": me.address},
            headers=headers,
            timeout=PATIENCE,
        )
    )


async def _body(response: Any) -> bytes:
    body: bytes = await response.content()
    if response.code >= 400:
        text = body.decode(errors="replace").strip()
        if response.code < 500:
            raise JoinRefused(f"{response.code} {text}")
        raise RuntimeError(f"{response.code} {text}")
    return body


def _why(error: Exception) -> str:
    if isinstance(error, ResponseNeverReceived) and error.reasons:
        return str(error.reasons[0].value) or type(error.reasons[0].value).__name__
    return str(error) or type(error).__name__
