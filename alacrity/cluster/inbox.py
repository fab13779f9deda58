"""
The inbox: it queues all mail for the engine, from the transport and from the disk. Notes are
taken out first, as they are not for the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from pysyncobj.node import Node

from alacrity.cluster.log.members import Member
from alacrity.cluster.notes import Notes
from alacrity.cluster.raft.mail import Connected, Connections, Disconnected, Mail, Received
from alacrity.cluster.raft.peer import Peer


class Inbox:
    """
    A queue of mail, until the next step takes it.
    """

    def __init__(
        self,
        transport: Any,
        connections: Connections,
        notes: Notes,
        wake: Callable[[], object],
    ) -> None:
        """
        @param transport: the transport, whose callbacks are set here.
        @param notes: are given the messages that are notes.
        @param wake: called when new mail is queued.
        """
        self._transport = transport
        self._connections = connections
        self._notes = notes
        self._wake = wake
        self._waiting: deque[Mail] = deque()
        transport.setOnMessageReceivedCallback(self._received)
        transport.setOnNodeConnectedCallback(self._connected)
        transport.setOnNodeDisconnectedCallback(self._disconnected)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, incoming: Mail) -> None:
        """
        Queue mail for the next step.
        """
        self._waiting.append(incoming)
        self._wake()

    def take(self, most: int) -> list[Mail]:
        """
        Remove the oldest pieces of mail, at most so many, and return them.
        """
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def _received(self, node: Node, message: dict[str, Any]) -> None:
        if not self._notes.received(node.id, message):
            self.put(Received(_peer(node), message))

    def _connected(self, node: Node) -> None:
        peer = _peer(node)
        self._connections.note_change(peer.id)
        greeting = self._transport.greeting(peer.id)
        self.put(Connected(peer, greeting is not None and greeting.has_entries))
        self._notes.connection_changed(peer.id)

    def _disconnected(self, node: Node) -> None:
        peer = _peer(node)
        self._connections.note_change(peer.id)
        self.put(Disconnected(peer))
        self._notes.connection_changed(peer.id)


def _peer(node: Node) -> Peer:
    """
    The peer of a node. A node that was not added to the transport has no address.
    """
    return node if isinstance(node, Peer) else Peer(Member(node.id, ""))
