"""
What the engine sends, held back until what it depends on is on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pysyncobj.transport import Transport

from alacrity.cluster.raft.peer import Peer

_Sent: TypeAlias = tuple[str, Peer, dict[str, Any] | None, int]


class Outbox(Transport):  # type: ignore[misc] # it is not annotated
    """
    The transport that the engine sees, in front of the real one.

    What was sent on one connection is not delivered on a later one: the engine relies
    on the order that a connection keeps.
    """

    def __init__(self, transport: Transport, dropped: Callable[[str], object]) -> None:
        """
        @param transport: the real one.
        @param dropped: called with the name of a node that the engine has nothing to do
            with any more, within the step.
        """
        super().__init__(None, None, [])
        self._transport = transport
        self._dropped = dropped
        self._sent: list[_Sent] = []
        self._happened: dict[str, int] = {}
        self._handled: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """Always: the real one is started and stopped elsewhere."""
        return True

    def addNode(self, node: Peer) -> None:
        self._sent.append(("add", node, None, 0))

    def dropNode(self, node: Peer) -> None:
        self._dropped(node.id)
        self._sent.append(("drop", node, None, 0))

    def send(self, node: Peer, message: dict[str, Any]) -> bool:
        self._sent.append(("send", node, message, self._handled.get(node.id, 0)))
        return True

    def send_at_once(self, node: Peer, message: dict[str, Any]) -> None:
        """
        Send what depends on nothing that is not on disk, unless the connection is another
        one than the engine knows of.
        """
        if self._handled.get(node.id, 0) == self._happened.get(node.id, 0):
            self._transport.send(node, message)

    def destroy(self) -> None:
        """The real one is stopped elsewhere."""

    def connection_changed(self, node: Peer) -> None:
        """
        A connection has come or gone. The engine does not know yet.
        """
        self._happened[node.id] = self._happened.get(node.id, 0) + 1

    def connection(self, node: Peer) -> int:
        """
        Which of its connections to a node the engine knows of.
        """
        return self._handled.get(node.id, 0)

    def handle_change(self, node: Peer) -> None:
        """The engine hears that a connection has come or gone."""
        self._handled[node.id] = self._handled.get(node.id, 0) + 1

    def discard(self) -> None:
        """
        Forget the messages that are held back.
        """
        self._sent = [each for each in self._sent if each[0] != "send"]

    def release(self) -> None:
        """
        Let go what is held back.
        """
        sent, self._sent = self._sent, []
        for what, node, message, connection in sent:
            if what == "add":
                self._transport.addNode(node)
            elif what == "drop":
                self._transport.dropNode(node)
            elif connection == self._happened.get(node.id, 0):
                self._transport.send(node, message)
