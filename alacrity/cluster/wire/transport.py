"""
The transport between replicas, with PySyncObj's interface: it sends and receives messages, by
node.

A replica may rely on this: the messages of a connection arrive in order, each once, and no
message of an older connection arrives after a newer one was made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from pysyncobj.node import Node
from pysyncobj.transport import Transport
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger

from alacrity.cluster.log.members import Member
from alacrity.cluster.wire.connections import Connect, Connections
from alacrity.cluster.wire.credentials import Credentials
from alacrity.cluster.wire.frames import LONGEST_PAYLOAD
from alacrity.cluster.wire.greeting import Greeting
from alacrity.cluster.wire.handshake import AdmissionCheck, Identity
from alacrity.cluster.wire.introductions import Manners
from alacrity.cluster.wire.openings import VERSIONS, Versions
from alacrity.cluster.wire.payloads import MalformedMessage, decode_message, encode_message

_log: Final = Logger()


class PeerTransport(Transport):  # type: ignore[misc] # it is not annotated
    """
    Sends messages to the other members of the cluster, and receives theirs.
    """

    def __init__(
        self,
        me: Member,
        identity: Callable[[], Identity],
        secrets: tuple[bytes, ...],
        accept: AdmissionCheck,
        listen: Sequence[IStreamServerEndpoint],
        connect: Connect,
        clock: IReactorTime,
        rng: Random,
        random_bytes: Callable[[int], bytes] = os.urandom,
        versions: Callable[[], Versions] = lambda: VERSIONS,
        *,
        manners: Manners | None = None,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        """
        @param me: this node.
        @param identity: gives the present identity of this node.
        @param secrets: the secrets that other nodes may prove; this node proves the first one.
            If that is empty, any host that can connect can pretend to be a member.
        @param accept: called in each handshake, and when a node is added that is connected
            already. See L{PeerAdmission<alacrity.cluster.wire.admission.PeerAdmission>}.
        @param elsewhere: other addresses at which nodes may be, by name.
        @param manners: the greetings of this node, and its look at others'.
        @param random_bytes: makes unpredictable bytes; deterministic in simulations only.
        @param versions: gives the versions of the protocol that this node speaks at present.
        """
        super().__init__(None, None, ())
        self._nodes: dict[str, Node] = {}
        self._credentials = Credentials(identity, secrets, accept, random_bytes, versions)
        self._connections = Connections(
            me.name,
            self._credentials,
            listen,
            connect,
            clock,
            rng,
            lambda name: self._tell(self._onNodeConnected, name),
            self._received,
            lambda name: self._tell(self._onNodeDisconnected, name),
            manners or Manners(),
            elsewhere or {},
        )

    # For the service

    @property
    def ready(self) -> bool:
        """
        Whether the transport was started, and not stopped since.
        """
        return self._connections.started

    @property
    def ports(self) -> list[IListeningPort]:
        """
        The ports on which this node listens, once it is started.
        """
        return self._connections.ports

    def start(self) -> Deferred[None]:
        """
        Listen, and connect to all nodes that were added; see L{Connections.start}.
        """
        return self._connections.start()

    def stop(self) -> Deferred[None]:
        """
        Stop listening, and close all connections; see L{Connections.stop}.
        """
        return self._connections.stop()

    def replace_secrets(self, secrets: tuple[bytes, ...]) -> None:
        """
        Use other secrets from now on. Connections that were made with one that is not among
        them are soon made anew; the others stay.
        """
        self._credentials.replace_secrets(secrets)

    def last_contact(self, name: str) -> float | None:
        """
        Seconds since a member was last heard; L{None}: it never was.
        """
        return self._connections.last_contact(name)

    def connected(self, name: str) -> bool:
        """
        Whether there is a connection with a member.
        """
        return self._connections.connected(name)

    def understood(self, name: str) -> int:
        """
        The newest version of commands that a member's program understands; 0: there is no
        connection with it.
        """
        return self._connections.understood(name)

    def greeting(self, name: str) -> Greeting | None:
        """
        The last greeting of a connected member; L{None}: it is not connected, or its program
        does not know greetings.
        """
        return self._connections.greeting(name)

    def fault(self, name: str) -> str | None:
        """
        The reason why there is no connection with a node, as far as it is known, in a few words;
        L{None}: there is a connection, or no attempt has ended yet.
        """
        return self._connections.fault(name)

    def refused(self) -> dict[str, str]:
        """
        The reasons why nodes that were not added were refused lately, by their names. They have
        the secret.
        """
        return self._connections.refused()

    def greet_again(self) -> None:
        """
        Tell all connected nodes what has changed in this node's greeting.
        """
        self._connections.greet_again()

    # For the replica: sending

    def addNode(self, node: Node) -> None:
        """
        @param node: a node whose C{id} is a member's name, and whose C{address} is the
            member's address.
        """
        known = self._nodes.get(node.id)
        if known is not None and known.address != node.address:
            greeting = self.greeting(node.id)
            if greeting is None or greeting.address != node.address:
                self.dropNode(known)
            # Otherwise it has told the address itself, on the connection that there is.
        self._nodes[node.id] = node
        self._connections.add(node.id, node.address)

    def dropNode(self, node: Node) -> None:
        self._nodes.pop(node.id, None)
        self._connections.drop(node.id)

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        if not self._connections.connected(node.id):
            return False
        payload = encode_message(message)
        if len(payload) > LONGEST_PAYLOAD:
            _log.error(
                "a message of {size} bytes for {name} is not sent; at most {most} are allowed",
                size=len(payload),
                name=node.id,
                most=LONGEST_PAYLOAD,
            )
            return False
        return self._connections.send(node.id, payload)

    # For the replica: receiving

    def _received(self, name: str, payload: bytes) -> str | None:
        try:
            message = decode_message(payload)
        except MalformedMessage as error:
            # The peer has the secret, so the cause is another version or a fault of the program.
            return f"a message that cannot be decoded: {error}"
        self._tell(self._onMessageReceived, name, message)
        return None

    def _tell(self, callback: Callable[..., object], name: str, *message: object) -> None:
        """
        Call the replica with an event of a node. If the replica raises, the connection
        continues.
        """
        try:
            callback(self._nodes.get(name) or Node(name), *message)
        except Exception:
            _log.failure("the replica has raised on an event of {name}", name=name)
