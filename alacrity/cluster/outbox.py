"""
The outbox: it passes the engine's messages to the transport, once they may leave the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alacrity.cluster.raft.mail import AddPeer, Connections, DropPeer, Send, Traffic
from alacrity.cluster.raft.messages import Message, plain
from alacrity.cluster.raft.peer import Peer


class Outbox:
    """
    Passes messages and changes of the peers to the transport. A message for one connection is
    not sent on a later one.
    """

    def __init__(self, transport: Any, connections: Connections) -> None:
        self._transport = transport
        self._connections = connections

    def release(self, traffic: Iterable[Traffic]) -> None:
        """
        Send the messages of a step that is on disk.
        """
        for each in traffic:
            match each:
                case Send(peer, message, connection):
                    if connection == self._connections.current(peer.id):
                        self._transport.send(peer, message)
                case AddPeer(peer):
                    self._transport.addNode(peer)
                case DropPeer(peer):
                    self._transport.dropNode(peer)

    def send_at_once(self, peer: Peer, message: Message) -> None:
        """
        Send a message that depends only on state that is on disk, unless the connection has
        changed and the engine does not know of that yet.
        """
        if self._connections.heard(peer.id) == self._connections.current(peer.id):
            self._transport.send(peer, plain(message))
