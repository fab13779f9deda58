"""
The engine's transport, on Twisted's endpoints.

Whoever is told of a node connects with it: of two, it may be one alone. If both are,
the one whose name is the greater does so at once, the other after a while without a
connection. Should both have made one, that of the greater name stays.

What the engine is told keeps its assumptions: messages of a connection in order, each
once, none of an older connection after a newer one was made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias

import msgspec
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.addresses import split_address
from alacrity.cluster.wire.complaints import Complaints
from alacrity.cluster.wire.dialer import FIRST, Dialer
from alacrity.cluster.wire.frames import LONGEST_PAYLOAD
from alacrity.cluster.wire.handshake import (
    NONCE_SIZE,
    Accept,
    Handshake,
    Identity,
    Session,
    initiate,
    respond,
)
from alacrity.cluster.wire.link import IDLE, Link

CONNECT: Final = 1.0
"""Seconds that a connection may take to one address."""

MOST_UNKNOWN: Final = 64
"""Connections at once from somebody who has not proven anything. The oldest goes."""

YIELD: Final = 0.5
"""Seconds that the lesser name leaves the greater to connect, about."""

_LOOK: Final = 0.2
"""Seconds between two looks at the clock."""

_LASTING: Final = 2.0
"""Seconds after which a connection was none that breaks again and again."""

Connect: TypeAlias = Callable[[str, int, float], IStreamClientEndpoint]
"""Where to connect to: a host, a port, and the seconds it may take."""

_log: Final = Logger()
_encode: Final = msgspec.msgpack.Encoder().encode


def _no_extensions(code: int, data: memoryview) -> object:
    raise ValueError(f"an extension of type {code}")


_decode: Final = msgspec.msgpack.Decoder(dict[str, Any], ext_hook=_no_extensions).decode


class Acquaintances:
    """
    Who may talk to this node: members, each under the incarnation in which it was
    taken in, or, of those that began the cluster, first met. One without an address
    may be a member or not: it is let in, and not remembered. Nobody is let in whose
    program does not understand what is in the log: it could take nothing of it, and vote.
    """

    def __init__(
        self,
        known: Callable[[str], Member | None],
        storage: Storage,
        format: Callable[[], int] = lambda: 1,
    ) -> None:
        """
        @param known: the member of a name; L{None}: there is none.
        @param format: the version of the log's commands that all have to understand.
        """
        self._known = known
        self._storage = storage
        self._format = format

    def __call__(self, peer: Identity) -> str | None:
        """
        Why a node is refused that has the secret; L{None}: it is not.
        """
        if peer.format < self._format():
            return (
                f"{peer.name!a} understands commands up to version {peer.format}, and this "
                f"cluster has had some of version {self._format()}: upgrade its program"
            )
        member = self._known(peer.name)
        if member is None:
            return f"{peer.name!a} is not a member of the cluster"
        if not member.address:
            return None
        expected = member.incarnation or self._storage.peers.get(peer.name)
        if expected is None:
            self._storage.remember_peer(peer.name, peer.incarnation)
        elif expected != peer.incarnation and peer.seat <= member.seat:
            return (
                f"{peer.name!a} came back with an empty disk, or two nodes have this name: "
                f"remove it from the cluster and add it again"
            )
        # Else it was taken in again, by an entry that this node does not have yet, and
        # may get from nobody else.
        return None


class PeerTransport(Transport):  # type: ignore[misc] # it is not annotated
    """
    Connections with the members of the cluster.

    @ivar ready: whether it is started and not stopped.
    @ivar ports: what it listens on, once it is started.
    """

    ready = False

    def __init__(
        self,
        me: Member,
        identity: Callable[[], Identity],
        secret: bytes,
        accept: Accept,
        listen: Sequence[IStreamServerEndpoint],
        connect: Connect,
        clock: IReactorTime,
        rng: Random,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        @param identity: of this node, at present.
        @param secret: what all members have. Empty: whoever can connect may be a
            member.
        @param accept: why a node is refused, though it has the secret; L{None}: it is
            not. Asked in each handshake, and when a node is added that is connected
            already. See L{Acquaintances}.
        @param random_bytes: nobody may foresee them; deterministic in simulations only.
        """
        super().__init__(None, None, ())
        self._me = me
        self._identity = identity
        self._secret = secret
        self._accept = accept
        self._listen = listen
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._random_bytes = random_bytes
        self._nodes: dict[str, Node] = {}
        self._dialers: dict[str, Dialer] = {}
        self._links: dict[str, Link] = {}
        # All connections, in the order in which they were made, and to whom; those that
        # came in: to nobody.
        self._open: dict[Link, str | None] = {}
        self._heard: dict[str, float] = {}
        self._complaints = Complaints(_log, clock)
        self._looking = LoopingCall(self._look_at_clock)
        self._looking.clock = clock
        self._looked_at = 0.0
        self._stopped: list[Deferred[None]] = []
        # One start or stop at a time.
        self._lock = DeferredLock()
        self.ports: list[IListeningPort] = []

    # For the service

    def start(self) -> Deferred[None]:
        """
        Listen, and connect to all nodes that were added. A stop that is under way is
        waited for.

        @return: fails with L{CannotListenError
            <twisted.internet.error.CannotListenError>}; nothing listens then.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._start()))

    async def _start(self) -> None:
        if self.ready:
            return
        factory = _LinkFactory(self._incoming)
        try:
            for endpoint in self._listen:
                self.ports.append(await endpoint.listen(factory))
        except Exception:
            await self._stop()
            raise
        self.ready = True
        self._looked_at = self._clock.seconds()
        self._looking.start(_LOOK, now=False)
        for name in list(self._nodes):
            self._dial(name)

    def stop(self) -> Deferred[None]:
        """
        Listen no more, and close all connections; L{start} begins anew.

        @return: fires once all is closed.
        """
        self.ready = False
        return self._lock.run(lambda: Deferred.fromCoroutine(self._stop()))

    async def _stop(self) -> None:
        self.ready = False
        for dialer in self._dialers.values():
            dialer.stop()
        self._dialers.clear()
        ports, self.ports = self.ports, []
        await DeferredList([maybeDeferred(port.stopListening) for port in ports])
        for link in list(self._open):
            self._guarded(link, partial(link.close, politely=link.session is not None))
        if self._open:
            stopped: Deferred[None] = Deferred()
            self._stopped.append(stopped)
            # A peer that does not read is not waited for.
            abort = self._clock.callLater(1.0, self._abort)
            await stopped
            if abort.active():
                abort.cancel()
        if self._looking.running:
            self._looking.stop()

    def _abort(self) -> None:
        for link in list(self._open):
            self._guarded(link, link.abort)

    def last_contact(self, name: str) -> float | None:
        """
        How many seconds ago a member was last heard; L{None}: never.
        """
        link = self._links.get(name)
        heard = self._heard.get(name) if link is None else link.heard
        return None if heard is None else self._clock.seconds() - heard

    def connected(self, name: str) -> bool:
        """
        Whether there is a connection with a member.
        """
        return name in self._links

    # For the engine

    def addNode(self, node: Node) -> None:
        """
        @param node: its C{id} is the name of a member, its C{address} that member's.
        """
        known = self._nodes.get(node.id)
        if known is not None and known.address != node.address:
            self.dropNode(known)
        self._nodes[node.id] = node
        link = self._links.get(node.id)
        if link is not None and link.session is not None:
            # It was let in when less was known of it.
            reason = self._accept(link.session.peer)
            if reason is not None:
                self._guarded(link, partial(link.refuse, reason))
        if self.ready:
            self._dial(node.id)

    def dropNode(self, node: Node) -> None:
        self._nodes.pop(node.id, None)
        self._heard.pop(node.id, None)
        dialer = self._dialers.pop(node.id, None)
        if dialer is not None:
            dialer.stop()
        link = self._links.get(node.id)
        if link is not None:
            # What was sent to it may be the news that it is removed.
            self._lose(link)
            self._guarded(link, partial(link.close, politely=True))
        for other, target in list(self._open.items()):
            if target == node.id and other is not link:
                self._guarded(other, other.close)

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        link = self._links.get(node.id)
        if link is None:
            return False
        payload = _encode(message)
        if len(payload) > LONGEST_PAYLOAD:
            _log.error(
                "a message of {size} bytes for {name} is not sent; at most {most} are allowed",
                size=len(payload),
                name=node.id,
                most=LONGEST_PAYLOAD,
            )
            return False
        return bool(self._guarded(link, partial(link.send, payload)))

    def destroy(self) -> None:
        self.setOnMessageReceivedCallback(None)
        self.setOnNodeConnectedCallback(None)
        self.setOnNodeDisconnectedCallback(None)
        self.setOnReadonlyNodeConnectedCallback(None)
        self.setOnReadonlyNodeDisconnectedCallback(None)
        self.stop()

    # Connections

    def _incoming(self) -> Link:
        unknown = [
            link for link, target in self._open.items() if target is None and link.session is None
        ]
        if len(unknown) >= MOST_UNKNOWN:
            self._guarded(unknown[0], unknown[0].abort)
        nonce = self._random_bytes(NONCE_SIZE)

        def accept(peer: Identity) -> str | None:
            return self._accept(peer) or self._copied(peer, link)

        link = self._link(respond(self._secret, self._identity(), accept, nonce), None)
        return link

    def _dial(self, name: str) -> None:
        """
        Connect to a node, and again whenever it is lost.
        """
        if name in self._dialers:
            return
        first = self._is_greater_than(name)
        dialer = Dialer(
            partial(self._try, name),
            self._clock,
            self._rng,
            lambda reason: self._complaints.complain(
                self._called(name), f"cannot be reached: {reason}; trying on"
            ),
            FIRST if first else YIELD,
        )
        self._dialers[name] = dialer
        if name in self._links:
            dialer.rest()
        elif first:
            dialer.dial()
        else:
            dialer.again()

    def _is_greater_than(self, name: str) -> bool:
        return self._me.name > name

    def _called(self, name: str) -> str:
        node = self._nodes.get(name)
        return name if node is None or node.address == name else f"{name} ({node.address})"

    def _try(self, name: str) -> Deferred[Any]:
        host, port = split_address(self._nodes[name].address)
        nonce = self._random_bytes(NONCE_SIZE)
        shake = initiate(self._secret, self._identity(), name, self._accept, nonce)
        factory = _LinkFactory(lambda: self._link(shake, name))
        trying: Deferred[Any] = self._connect(host, port, CONNECT).connect(factory)
        return trying

    def _link(self, handshake: Handshake, target: str | None) -> Link:
        """
        A new connection.

        @param target: to whom; L{None}: it comes in.
        """
        link = Link(
            self._clock,
            handshake,
            self._known,
            self._message,
            self._lost,
        )
        self._open[link] = target
        return link

    def _known(self, link: Link, session: Session) -> None:
        """
        A peer is who it says.
        """
        name = session.peer.name
        older = self._links.get(name)
        if older is not None:
            if self._stays(older, link, name):
                link.close()
                return
            self._lose(older)
            self._guarded(older, older.close)
        self._links[name] = link
        self._rest(name)
        self._complaints.settled(self._called(name))
        self._complaints.settled(link.host)
        _log.info("connected with {name}", name=self._called(name))
        self._tell(self._onNodeConnected, name)

    def _made_here(self, link: Link) -> bool:
        return self._open[link] is not None

    def _stays(self, older: Link, newer: Link, name: str) -> bool:
        """
        Whether a connection stays though there is a newer one with the same node.

        If the same side made both, it knows that the older one is dead. If each made
        one, both come to the same decision: that of the greater name stays, whichever
        they know of first.
        """
        here = self._made_here(older)
        return (
            here != self._made_here(newer)
            and here == self._is_greater_than(name)
            and self._clock.seconds() - older.heard <= IDLE
        )

    def _copied(self, peer: Identity, newer: Link) -> str | None:
        """
        Why a node is refused that comes from another host than one that is connected, with
        the same name and files: both would vote, and acknowledge what the other has not.
        L{None}: it may be the same one.
        """
        older = self._links.get(peer.name)
        if older is None or older.session is None or older.host == newer.host:
            return None
        if older.session.peer.incarnation != peer.incarnation:
            return None
        now = self._clock.seconds()
        # When both sides connect at once, a node with two addresses shows both.
        crossed = self._made_here(older) and now - older.begun < _LASTING
        if crossed or now - older.heard > IDLE:
            return None
        return (
            f"{peer.name!a} is connected from {older.host} already, with the same files: "
            f"one of the two is a copy, which must not run"
        )

    def _rest(self, name: str) -> None:
        """
        There is a connection with a node: make no other. One whose handshake is not done
        on this side, which began it, is not done on the other either.
        """
        if name in self._dialers:
            self._dialers[name].rest()
        for link, target in list(self._open.items()):
            if target == name and link.session is None:
                self._guarded(link, link.close)

    def _message(self, link: Link, payload: bytes) -> None:
        assert link.session is not None
        name = link.session.peer.name
        try:
            message = _decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            # It has the secret: another version, or a fault, but no stranger.
            link.refuse(f"a message that is none: {error}")
            return
        self._tell(self._onMessageReceived, name, message)

    def _tell(self, callback: Callable[..., object], name: str, *what: object) -> None:
        """
        Tell the engine of a member. Its faults are not the connection's.
        """
        try:
            callback(self._nodes.get(name) or Node(name), *what)
        except Exception:
            _log.failure("the engine failed on what came from {name}", name=name)

    def _lose(self, link: Link) -> None:
        """
        A connection is not used any more.
        """
        if link.session is None or self._links.get(link.session.peer.name) is not link:
            return
        name = link.session.peer.name
        del self._links[name]
        if name in self._nodes:
            self._heard[name] = link.heard
        _log.info("the connection with {name} is gone", name=self._called(name))
        self._tell(self._onNodeDisconnected, name)

    def _lost(self, link: Link, reason: str | None) -> None:
        """
        A connection is closed.
        """
        if link not in self._open:
            return  # It was given up before.
        target = self._open.pop(link)
        if not self._open:
            stopped, self._stopped = self._stopped, []
            for waiting in stopped:
                waiting.callback(None)
        self._lose(link)
        name = target if link.session is None else link.session.peer.name
        failed = target is not None and link.session is None and target not in self._links
        if reason is None and failed and self.ready:
            reason = "the connection was closed before the handshake was done"
        if reason is not None:
            who = link.host if target is None else self._called(target)
            self._complaints.complain(who, f"refused: {reason}")
        if name is not None:
            self._connect_again(name, link)

    def _connect_again(self, name: str, lost: Link) -> None:
        """
        See that there is a connection with a node again, unless there is one, or will
        be.
        """
        dialer = self._dialers.get(name)
        if dialer is None or name in self._links:
            return
        if any(target == name and not link.closed for link, target in self._open.items()):
            return
        if lost.session is not None and self._clock.seconds() - lost.begun >= _LASTING:
            dialer.succeeded()
        dialer.again()

    def _look_at_clock(self) -> None:
        now = self._clock.seconds()
        stalled = now - self._looked_at - _LOOK
        self._looked_at = now
        for link in list(self._open):
            if stalled > _LOOK:
                # This process did not run. What was said meanwhile is read next.
                link.discount_stall(min(stalled, IDLE))
            self._guarded(link, link.look_at_clock)

    def _guarded(self, link: Link, act: Callable[[], Any]) -> Any:
        """
        Do something with one connection. If that raises, this connection is given up, and
        all others go on.

        @return: what comes of it; L{None}, if it raised.
        """
        try:
            return act()
        except Exception:
            _log.failure("the connection with {host} has failed, and is given up", host=link.host)
        try:
            link.abort()
        except Exception:
            _log.failure("the connection with {host} cannot be aborted", host=link.host)
        self._lost(link, None)
        return None


class _LinkFactory(Factory):
    """
    Builds what it is told to.
    """

    noisy = False

    def __init__(self, build: Callable[[], Link]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Link:
        return self._build()
