"""
The one way out for mail: what the engine sends, once that may leave the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alacrity.cluster.raft.mail import AddPeer, Connections, DropPeer, Send, Traffic
from alacrity.cluster.raft.messages import Message, plain
from alacrity.cluster.raft.peer import Peer


class Outbox:
    """
    Gives the transport what a step has sent. What was made for one connection does not leave
    on a later one.
    """

    def __init__(self, transport: Any, connections: Connections) -> None:
        self._transport = transport
        self._connections = connections

    def release(self, traffic: Iterable[Traffic]) -> None:
        """
        Let go what a step has sent: it is on disk.
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
        Send what depends on nothing that is not on disk, unless the connection is another
        one than the engine knows of.
        """
        if self._connections.heard(peer.id) == self._connections.current(peer.id):
            self._transport.send(peer, plain(message))
