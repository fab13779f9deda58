"""
Joining: a new node asks a member of a cluster, over the management API, to add it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from alacrity.client import ApiClient, CallFailed, CallRefused, persist
from alacrity.client.documents import NodeContact
from alacrity.cluster.log.members import Member
from alacrity.cluster.raft.peer import Peer

ATTEMPT_INTERVAL: Final = 1.0
"""Seconds between a failed attempt to join and the next."""

ANSWER_TIMEOUT: Final = 25.0
"""Seconds to wait for an answer of the API. The new node has to catch up first, for which the
leader gives it 15 seconds, and there may be no leader for 5 seconds."""

_log: Final = Logger()


async def join(
    api: ApiClient,
    url: str,
    me: Member,
    transport: Any,
    waiting: Callable[[], bool],
    clock: IReactorTime,
) -> None:
    """
    Ask a cluster to add this node, again and again, until it is added or refused.

    @param api: the management API of any member.
    @param url: the URL of that API, for the log.
    @param transport: the transport, to which the members are added.
    @param waiting: whether this node is not a member yet.
    """
    reported = ""

    async def attempt() -> None:
        # An earlier request may have succeeded meanwhile.
        if waiting():
            await _ask(api, me, transport)

    def report(failure: CallFailed) -> None:
        nonlocal reported
        why = str(failure)
        if why != reported:
            reported = why
            _log.warn("cannot join the cluster through {url} yet: {why}", url=url, why=why)

    try:
        await persist(
            attempt,
            repeat(ATTEMPT_INTERVAL),
            lambda seconds: deferLater(clock, seconds),
            report,
        )
    except CallRefused as refusal:
        _log.critical(
            "{url} refuses to add this node to the cluster: {why}", url=url, why=str(refusal)
        )
    else:
        # The node may not know yet that it is a member. Even so, it must not ask again: a
        # removal from now on is intended.
        _log.info("this node, {name}, is in the cluster", name=me.name)


async def _ask(api: ApiClient, me: Member, transport: Any) -> None:
    """
    Connect to the members, and ask one of them to add this node.
    """
    for contact in (await api.show_cluster()).members:
        if contact.name != me.name:
            transport.addNode(Peer(Member(contact.name, contact.address)))
    await api.add_node(NodeContact(me.name, me.address))
