"""
One connection between two nodes: handshake, then sealed or encrypted frames both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from alacrity.cluster.wire.encryption import DecryptingOpener, EncryptingSealer
from alacrity.cluster.wire.frames import (
    FrameError,
    FrameOpener,
    FrameSealer,
    FrameSplitter,
    Opener,
    Sealer,
    handshake_frame,
)
from alacrity.cluster.wire.handshake import Handshake, Session
from alacrity.cluster.wire.openings import ENCRYPTED_VERSION, HandshakeRefused
from alacrity.cluster.wire.sending import FrameWriter

HANDSHAKE_TIMEOUT: Final = 3.0
"""Seconds that a handshake may take."""

IDLE_TIMEOUT: Final = 1.5
"""Seconds without a byte from the peer, after which the connection is closed."""

KEEP_ALIVE: Final = 0.4
"""Seconds without a frame to the peer, after which an empty one is sent."""

FRAME_TIMEOUT: Final = 10.0
"""Seconds from the first byte of a frame until it must be complete."""

STABLE_AFTER: Final = 2.0
"""Seconds after which a connection counts as stable."""


class LinkPhase(Enum):
    """
    Phases of a link.
    """

    NEW = "new"
    """There is no connection yet."""
    HANDSHAKE = "handshake"
    """The two nodes prove their identities."""
    ESTABLISHED = "established"
    """Payloads are sent and received."""
    CLOSING = "closing"
    """Nothing more is sent or received; bytes written before may still be sent."""
    CLOSED = "closed"
    """The connection has ended."""


class Link(Protocol):
    """
    A connection that delivers each received payload once, in the order in which the payloads
    were sent, and nothing after L{close}.

    @ivar phase: the present phase.
    @ivar target: the name of the node that this node connects to; L{None}: an incoming
        connection.
    @ivar session: the result of the handshake; L{None}: it is not done yet.
    @ivar started: the time at which the connection was made, by the clock.
    @ivar last_received: the time at which a byte was last received, by the clock.
    @ivar host: the address of the other end, for log lines.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        handshake: Handshake,
        on_session: Callable[[Link, Session], None],
        on_payload: Callable[[Link, bytes], None],
        on_lost: Callable[[Link, str | None], None],
        target: str | None = None,
    ) -> None:
        """
        @param on_session: called once the handshake is done.
        @param on_payload: called with each received payload that is not empty.
        @param on_lost: called once, when the connection has ended, with the reason why one of
            the sides refuses the other; L{None}: neither does.
        """
        self.phase = LinkPhase.NEW
        self.target = target
        self.session: Session | None = None
        self.host = "?"
        self.started = self.last_received = clock.seconds()
        self._clock = clock
        self._handshake = handshake
        self._on_session = on_session
        self._on_payload = on_payload
        self._on_lost = on_lost
        self._splitter = FrameSplitter()
        self._writer: FrameWriter | None = None
        self._opener: FrameOpener | None = None
        self._received_any = False
        self._frame_began: float | None = None
        self._fault: str | None = None

    def __repr__(self) -> str:
        direction = "from" if self.target is None else f"to {self.target} at"
        return f"<Link {direction} {self.host}: {self.phase.value}>"

    @property
    def outgoing(self) -> bool:
        """
        Whether this node has made the connection.
        """
        return self.target is not None

    @property
    def closed(self) -> bool:
        """
        Whether nothing more is sent or received.
        """
        return self.phase in {LinkPhase.CLOSING, LinkPhase.CLOSED}

    @property
    def peer(self) -> str | None:
        """
        The name of the other node, proven or only expected; L{None}: it is unknown.
        """
        return self.target if self.session is None else self.session.peer.name

    # From the transport

    def connectionMade(self) -> None:
        if self.phase is LinkPhase.NEW:
            self.phase = LinkPhase.HANDSHAKE
        transport = self.transport
        self.started = self.last_received = self._clock.seconds()
        self.host = str(getattr(transport.getPeer(), "host", "?"))
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        opening = next(self._handshake)
        if opening:
            transport.write(handshake_frame(opening))

    def dataReceived(self, data: bytes) -> None:
        if self.closed:
            return
        self._received_any = True
        self.last_received = self._clock.seconds()
        splitter = self._splitter
        splitter.add(data)
        try:
            while not self.closed and (body := splitter.take_body()) is not None:
                self._frame_began = None
                if self._opener is None:
                    self._continue_handshake(body)
                elif payload := self._opener.open(body):
                    self._on_payload(self, payload)
        except FrameError as error:
            fault = str(error)
            self.fail(fault if self.session else f"it does not speak this protocol: {fault}")
        except HandshakeRefused as refused:
            if refused.answer is not None:
                self.transport.write(handshake_frame(refused.answer))
            self.fail(str(refused), flush=refused.answer is not None)
        if not splitter.partial:
            self._frame_began = None
        elif self._frame_began is None:
            self._frame_began = self.last_received

    def _continue_handshake(self, body: bytes) -> None:
        try:
            answer = self._handshake.send(body)
        except StopIteration as stop:
            session: Session = stop.value
        else:
            self.transport.write(handshake_frame(answer))
            return
        self.phase = LinkPhase.ESTABLISHED
        sealer, self._opener = _ciphers(session)
        self._splitter.set_longest(self._opener.longest)
        self.session = session
        if session.answer:
            self.transport.write(handshake_frame(session.answer))
        self._writer = FrameWriter(self.transport, sealer, self._clock, self._overflow)
        self.transport.registerProducer(self._writer, True)
        self._on_session(self, session)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(LinkPhase.CLOSED)
        self._handshake.close()
        self._on_lost(self, self._fault)

    # To the transport

    def send(self, payload: bytes) -> bool:
        """
        Send a payload of at most L{LONGEST_PAYLOAD} bytes.

        @return: whether the link has taken the payload. The peer may still not receive it.
        """
        if self.phase is not LinkPhase.ESTABLISHED:
            return False
        assert self._writer is not None
        self._writer.send(payload)
        return not self.closed

    def _overflow(self) -> None:
        self.fail("it does not read what is sent to it")

    def fail(self, reason: str, *, flush: bool = False) -> None:
        """
        Close the link for a reason that is logged as a warning.

        @param flush: whether to send the bytes that were written before.
        """
        if not self.closed:
            self._fault = reason
            self.close(flush=flush)

    def close(self, *, flush: bool = False) -> None:
        """
        Close the link. No more payloads are delivered.

        @param flush: whether to send the bytes that were written before.
        """
        if self.closed:
            return
        if flush and self._writer is not None:
            self._writer.finish()
        self._end(LinkPhase.CLOSING)
        if flush:
            if self._writer is not None:
                self.transport.unregisterProducer()
            self.transport.loseConnection()
        else:
            self.abort()

    def abort(self) -> None:
        """
        Abort the link, even if it is closing and still sends its last bytes. No more payloads
        are delivered.
        """
        self._end(LinkPhase.CLOSING)
        if self.transport is not None:
            self.transport.abortConnection()

    def _end(self, phase: LinkPhase) -> None:
        if self.phase is not LinkPhase.CLOSED:
            self.phase = phase
        if self._writer is not None:
            self._writer.stop()

    # From the clock

    def extend_deadlines(self, seconds: float) -> None:
        """
        Extend the deadlines of the peer, because this process did not run and could not
        receive its bytes.
        """
        now = self._clock.seconds()
        self.last_received = min(now, self.last_received + seconds)
        self.started = min(now, self.started + seconds)
        if self._frame_began is not None:
            self._frame_began = min(now, self._frame_began + seconds)

    def check_deadlines(self) -> None:
        """
        Close the link if the peer is late, or send an empty frame if one is due. Called several
        times a second.
        """
        now = self._clock.seconds()
        last_sent = self.started if self._writer is None else self._writer.last_sent
        if self.closed:
            # The last bytes could not be sent in time.
            if now - max(self.last_received, last_sent, self.started) > HANDSHAKE_TIMEOUT:
                self.abort()
        elif self.session is None:
            if now - self.started <= HANDSHAKE_TIMEOUT:
                return
            if self._received_any:
                self.fail(f"it does not finish the handshake in {HANDSHAKE_TIMEOUT:g} seconds")
            else:
                self.close()
        elif now - self.last_received > IDLE_TIMEOUT:
            self.close()
        elif self._frame_began is not None and now - self._frame_began > FRAME_TIMEOUT:
            self.fail(f"it does not finish a frame in {FRAME_TIMEOUT:g} seconds")
        elif now - last_sent > KEEP_ALIVE:
            self.send(b"")


def _ciphers(session: Session) -> tuple[FrameSealer, FrameOpener]:
    """
    The two directions of a connection after its handshake.
    """
    if session.version >= ENCRYPTED_VERSION:
        return EncryptingSealer(session.send_key), DecryptingOpener(session.receive_key)
    return Sealer(session.send_key), Opener(session.receive_key)
