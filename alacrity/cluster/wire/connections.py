"""
The connections of a node with the other members: one in use with each.

A node connects to each node that was added with L{Connections.add}. If two nodes have added
each other, the node with the greater name connects at once, and the other one only after a
while without a connection. If both have connected, the connection made by the node with the
greater name stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger

from alacrity.cluster.wire.credentials import Credentials
from alacrity.cluster.wire.crowding import first_to_go
from alacrity.cluster.wire.dialers import Dialers
from alacrity.cluster.wire.duplicates import copy_refusal, older_stays
from alacrity.cluster.wire.greeting import Greeting, is_greeting
from alacrity.cluster.wire.handshake import Handshake, Identity, Session
from alacrity.cluster.wire.introductions import Introductions, Manners
from alacrity.cluster.wire.link import STABLE_AFTER, Link
from alacrity.cluster.wire.link_faults import LinkFaults
from alacrity.cluster.wire.links import LinkTable
from alacrity.cluster.wire.listener import LinkFactory, LinkListener
from alacrity.cluster.wire.peer_warnings import PeerWarnings
from alacrity.cluster.wire.upkeep import LinkUpkeep
from alacrity.net.addresses import split_address

CONNECT_TIMEOUT: Final = 1.0
"""Seconds that an attempt to connect to one address may take."""

MOST_UNPROVEN: Final = 64
"""Incoming connections at a time before their proof of the secret. When there are more, the
oldest one of the busiest address is closed."""

_FLUSH_TIMEOUT: Final = 1.0
"""Seconds that a stop waits until the last bytes are sent."""

Connect: TypeAlias = Callable[[str, int, float], IStreamClientEndpoint]
"""Makes the endpoint of a host and a port, with a timeout in seconds."""

_log: Final = Logger()


class Connections:
    """
    Makes, accepts and renews the connections with the other members of the cluster.

    This class is longer than others: it is where dialers, links, greetings and warnings meet, and
    most of its methods pass an event from one of them to the others.

    @ivar started: whether it was started, and not stopped since.
    """

    def __init__(
        self,
        name: str,
        credentials: Credentials,
        listen: Sequence[IStreamServerEndpoint],
        connect: Connect,
        clock: IReactorTime,
        rng: Random,
        on_connected: Callable[[str], object],
        on_payload: Callable[[str, bytes], str | None],
        on_disconnected: Callable[[str], object],
        manners: Manners,
        elsewhere: Mapping[str, str],
    ) -> None:
        """
        @param name: the name of this node.
        @param on_connected: called with a node's name when a connection with it is in use.
        @param on_payload: called with a node's name and a payload from it; returns the reason to
            close the connection; L{None}: there is none.
        @param on_disconnected: called with a node's name when the connection with it is no
            longer in use.
        @param elsewhere: other addresses of nodes, by name; each is tried in every other attempt.
        """
        self._elsewhere = elsewhere
        self._attempts: Counter[str] = Counter()
        self.started = False
        self._name = name
        self._credentials = credentials
        self._connect = connect
        self._clock = clock
        self._on_connected = on_connected
        self._on_payload = on_payload
        self._on_disconnected = on_disconnected
        self._addresses: dict[str, str] = {}
        self._links = LinkTable()
        self._introductions = Introductions(manners, clock.seconds)
        self._faults = LinkFaults()
        self._listener = LinkListener(listen, self._incoming)
        self._warnings = PeerWarnings(_log, clock)
        self._dialers = Dialers(name, self._attempt, clock, rng, self._attempt_failed)
        self._upkeep = LinkUpkeep(
            self._links, credentials, clock, self._guarded, self._renew, self._introductions
        )
        # One start or stop at a time.
        self._lock = DeferredLock()

    @property
    def ports(self) -> list[IListeningPort]:
        """
        The ports on which this node listens, once it is started.
        """
        return self._listener.ports

    def start(self) -> Deferred[None]:
        """
        Listen, and connect to all nodes that were added. If a stop is in progress, the start
        waits for its end.

        @return: fails with L{CannotListenError
            <twisted.internet.error.CannotListenError>}; then all ports are closed.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._start()))

    async def _start(self) -> None:
        if self.started:
            return
        try:
            await self._listener.start()
        except Exception:
            await self._stop()
            raise
        self.started = True
        self._upkeep.start()
        for name in list(self._addresses):
            self._dialers.start(name, connected=self._chosen(name))

    def stop(self) -> Deferred[None]:
        """
        Stop listening, and close all connections. L{start} may be called again.

        @return: fires once all connections are closed.
        """
        self.started = False
        return self._lock.run(lambda: Deferred.fromCoroutine(self._stop()))

    async def _stop(self) -> None:
        self.started = False
        self._dialers.stop_all()
        await self._listener.stop()
        for link in list(self._links.open):
            self._guarded(link, partial(link.close, flush=link.session is not None))
        if self._links.open:
            # Do not wait longer for a peer that does not read.
            abort = self._clock.callLater(_FLUSH_TIMEOUT, self._abort_all)
            await self._links.when_empty()
            if abort.active():
                abort.cancel()
        self._upkeep.stop()

    def _abort_all(self) -> None:
        for link in list(self._links.open):
            self._guarded(link, link.abort)

    def last_contact(self, name: str) -> float | None:
        """
        Seconds since a member was last heard; L{None}: it never was.
        """
        received = self._links.last_received(name)
        return None if received is None else self._clock.seconds() - received

    def connected(self, name: str) -> bool:
        """
        Whether there is a connection with a member.
        """
        link = self._links.in_use(name)
        return link is not None and self._introductions.is_done(link)

    def _chosen(self, name: str) -> bool:
        """
        Whether a connection with a member is proven, in use or about to be.
        """
        return self._links.in_use(name) is not None

    def understood(self, name: str) -> int:
        """
        See L{PeerTransport.understood<alacrity.cluster.wire.transport.PeerTransport.understood>}.
        """
        link = self._links.in_use(name)
        return 0 if link is None or link.session is None else link.session.peer.format

    def greeting(self, name: str) -> Greeting | None:
        """
        See L{PeerTransport.greeting<alacrity.cluster.wire.transport.PeerTransport.greeting>}.
        """
        return self._introductions.greeting(self._links.in_use(name))

    def fault(self, name: str) -> str | None:
        """
        See L{PeerTransport.fault<alacrity.cluster.wire.transport.PeerTransport.fault>}.
        """
        return self._faults.get(name)

    def refused(self) -> dict[str, str]:
        """
        See L{PeerTransport.refused<alacrity.cluster.wire.transport.PeerTransport.refused>}.
        """
        faults = self._faults.all().items()
        return {name: fault for name, fault in faults if name not in self._addresses}

    def greet_again(self) -> None:
        """
        Tell all nodes what has changed about this one, and look at them again: what has changed
        may be a reason to refuse some.
        """
        links = list(self._links.all_in_use())
        self._introductions.greet_again(links)
        for link in links:
            self._guarded(link, partial(self._introductions.check, link))

    def add(self, name: str, address: str) -> None:
        """
        Add a node: connect to it, and again after each loss.
        """
        self._addresses[name] = address
        link = self._links.in_use(name)
        if link is not None and link.session is not None:
            # The node was accepted when less was known about it.
            reason = self._credentials.accept(link.session.peer)
            if reason is not None:
                self._guarded(link, partial(link.fail, reason))
            else:
                self._guarded(link, partial(self._introductions.check, link))
        if self.started:
            self._dialers.start(name, connected=self._chosen(name))

    def drop(self, name: str) -> None:
        """
        Drop a node: close the connection with it, and make no more. The messages that were
        sent before are delivered first: one may tell the node that it was removed.
        """
        self._addresses.pop(name, None)
        self._attempts.pop(name, None)
        self._faults.forget(name)
        self._links.forget(name)
        self._dialers.stop(name)
        link = self._links.in_use(name)
        if link is not None:
            self._disuse(link)
            self._guarded(link, partial(link.close, flush=True))
        for other in self._links.made_to(name):
            if other is not link:
                self._guarded(other, other.close)

    def send(self, name: str, payload: bytes) -> bool:
        """
        Send a payload to a node.

        @return: whether there is a connection, which takes the payload.
        """
        link = self._links.in_use(name)
        if link is None or not self._introductions.is_done(link):
            return False
        return bool(self._guarded(link, partial(link.send, payload)))

    # New connections

    def _incoming(self, host: str) -> Link:
        unproven = self._links.unproven()
        if len(unproven) >= MOST_UNPROVEN:
            crowded = first_to_go(unproven, host)
            self._guarded(crowded, crowded.abort)

        def accept(peer: Identity) -> str | None:
            return copy_refusal(peer, self._links.in_use(peer.name), link, self._clock.seconds())

        link = self._link(self._credentials.respond(accept), None)
        return link

    def _attempt(self, name: str) -> Deferred[Any]:
        address = self._addresses[name]
        self._attempts[name] += 1
        if self._attempts[name] % 2 == 0:
            address = self._elsewhere.get(name, address)
        host, port = split_address(address)
        handshake = self._credentials.initiate(name)
        factory = LinkFactory(lambda _: self._link(handshake, name))
        attempt: Deferred[Any] = self._connect(host, port, CONNECT_TIMEOUT).connect(factory)
        return attempt

    def _attempt_failed(self, name: str, reason: str) -> None:
        if not self.connected(name):
            self._faults.note(name, f"it cannot be reached: {reason.rstrip('.')}")
        self._warnings.warn(self._label(name), f"cannot be reached: {reason}; retrying")

    def _label(self, name: str) -> str:
        """
        A node's name for the log, with its address if it is known.
        """
        address = self._addresses.get(name)
        return name if address is None or address == name else f"{name} ({address})"

    def _link(self, handshake: Handshake, target: str | None) -> Link:
        """
        A new link, added to the table.

        @param target: the node that this node connects to; L{None}: an incoming connection.
        """
        link = Link(self._clock, handshake, self._proven, self._received, self._lost, target)
        self._links.add(link)
        return link

    def _proven(self, link: Link, session: Session) -> None:
        """
        Choose a connection whose handshake is done, unless an older one stays. It is used once
        the other side has greeted.
        """
        name = session.peer.name
        if self._credentials.is_outdated(session):
            link.close()  # The secret was replaced meanwhile.
            return
        older = self._links.in_use(name)
        if older is not None:
            greater = self._name > name
            if older_stays(older, link, greater=greater, now=self._clock.seconds()):
                link.close()
                return
            self._disuse(older)
            self._guarded(older, older.close)
        self._links.use(name, link)
        self._dialers.pause(name)
        # A handshake that is not done on this side, the initiator, is not done on the other side
        # either.
        for other in self._links.made_to(name):
            if other.session is None:
                self._guarded(other, other.close)
        if self._introductions.begin(link):
            self._introduced(link, name)

    def _introduced(self, link: Link, name: str) -> None:
        """
        Begin to use a connection: the other side has greeted, and is accepted.
        """
        self._faults.forget(name)
        self._warnings.forget(self._label(name))
        self._warnings.forget(link.host)
        _log.info("connected with {name}", name=self._label(name))
        self._on_connected(name)

    # Connections in use

    def _received(self, link: Link, payload: bytes) -> None:
        assert link.session is not None
        if is_greeting(payload):
            if self._introductions.hear(link, payload):
                self._introduced(link, link.session.peer.name)
            return
        if not self._introductions.is_done(link):
            link.fail("it sends a message before its greeting")
            return
        fault = self._on_payload(link.session.peer.name, payload)
        if fault is not None:
            link.fail(fault)

    def _disuse(self, link: Link) -> None:
        """
        Stop using a connection, if it is in use.
        """
        if link.session is None:
            return
        name = link.session.peer.name
        if self._links.in_use(name) is not link:
            return
        self._links.disuse(name, remember=name in self._addresses)
        if not self._introductions.is_done(link):
            return
        _log.info("the connection with {name} is gone", name=self._label(name))
        self._on_disconnected(name)

    def _lost(self, link: Link, reason: str | None) -> None:
        """
        Remove a connection that has ended, and connect again if needed.
        """
        if not self._links.remove(link):
            return  # The connection was removed before.
        self._disuse(link)
        self._introductions.forget(link)
        target = link.target
        failed = target is not None and link.session is None and not self._chosen(target)
        if reason is None and failed and self.started:
            reason = "the connection was closed before the handshake was done"
        if reason is not None:
            who = link.host if target is None else self._label(target)
            self._warnings.warn(who, f"refused: {reason}")
            if link.peer is not None and not self._chosen(link.peer):
                self._faults.note(link.peer, reason)
        if link.peer is not None:
            self._connect_again(link.peer, link)

    def _connect_again(self, name: str, lost: Link) -> None:
        """
        Connect to a node again, unless there is a connection or an attempt.
        """
        dialer = self._dialers.get(name)
        if dialer is None or self._chosen(name):
            return
        if any(not link.closed for link in self._links.made_to(name)):
            return
        if lost.session is not None and self._clock.seconds() - lost.started >= STABLE_AFTER:
            dialer.reset_wait()
        dialer.dial_later()

    def _renew(self, link: Link) -> None:
        """
        Make a connection anew. The messages that were sent before are delivered first.
        """
        _log.info(
            "the connection with {name} is made anew: its secret, or its version of the protocol, "
            "is no longer accepted",
            name=self._label(str(link.peer)),
        )
        self._disuse(link)
        link.close(flush=True)

    def _guarded(self, link: Link, act: Callable[[], Any]) -> Any:
        """
        Call a function on one connection. If it raises, this connection is aborted, and all
        others continue.

        @return: the result; L{None}: the function has raised.
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
