"""
One connection between two nodes: handshake, then sealed frames both ways.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from alacrity.cluster.wire.frames import (
    LONGEST_PAYLOAD,
    MAC_SIZE,
    FrameError,
    Opener,
    Sealer,
    Splitter,
    plain,
)
from alacrity.cluster.wire.handshake import Handshake, Refused, Session

HANDSHAKE: Final = 3.0
"""Seconds that a handshake may take."""

IDLE: Final = 1.5
"""Seconds without a byte from the peer, after which it is not there any more."""

KEEP_ALIVE: Final = 0.4
"""Seconds without a frame to the peer, after which an empty one is sent."""

FRAME: Final = 10.0
"""Seconds in which a frame is to be complete, once it has begun."""

MOST_UNSENT: Final = 16 << 20
"""Bytes that wait for a peer that does not read, before it is given up."""


@implementer(IPushProducer)
class Link(Protocol):
    """
    What is received is told in the order in which it was sent, each payload once, and
    nothing after L{close}.

    @ivar session: L{None} until the handshake is done.
    @ivar closed: whether nothing more is sent or told.
    @ivar begun: when it was made, by the clock.
    @ivar heard: when a byte last came in, by the clock.
    @ivar spoke: whether one ever came.
    @ivar host: the other end's address, for messages.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        handshake: Handshake,
        on_session: Callable[[Link, Session], None],
        on_payload: Callable[[Link, bytes], None],
        on_lost: Callable[[Link, str | None], None],
    ) -> None:
        """
        @param on_session: called once both sides know each other.
        @param on_payload: called with each that comes, but not with empty ones.
        @param on_lost: called once, when the connection is over, with why this side or
            the other refuses to talk; L{None}: it does not, the connection just broke.
        """
        self._clock = clock
        self._handshake = handshake
        self._on_session = on_session
        self._on_payload = on_payload
        self._on_lost = on_lost
        self._splitter = Splitter()
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._paused = False
        self._reason: str | None = None
        self.begun = self.heard = self._told = clock.seconds()
        self._frame_begun: float | None = None
        self.session: Session | None = None
        self.spoke = False
        self.closed = False
        self.host = "?"

    # From the transport

    def connectionMade(self) -> None:
        transport = self.transport
        self.begun = self.heard = self._clock.seconds()
        self.host = str(getattr(transport.getPeer(), "host", "?"))
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        opening = next(self._handshake)
        if opening:
            transport.write(plain(opening))

    def dataReceived(self, data: bytes) -> None:
        if self.closed:
            return
        self.spoke = True
        self.heard = self._clock.seconds()
        splitter = self._splitter
        splitter.add(data)
        try:
            while not self.closed and (body := splitter.next()) is not None:
                self._frame_begun = None
                if self._opener is None:
                    self._shake(body)
                elif payload := self._opener.open(body):
                    self._on_payload(self, payload)
        except FrameError as error:
            what = str(error)
            self.refuse(what if self.session else f"it does not speak this protocol: {what}")
        except Refused as refused:
            if refused.answer is not None:
                self.transport.write(plain(refused.answer))
            self.refuse(str(refused), politely=refused.answer is not None)
        if not splitter.partial:
            self._frame_begun = None
        elif self._frame_begun is None:
            self._frame_begun = self.heard

    def _shake(self, body: bytes) -> None:
        """
        Go on with the handshake.
        """
        try:
            answer = self._handshake.send(body)
        except StopIteration as stop:
            session: Session = stop.value
        else:
            self.transport.write(plain(answer))
            return
        self._splitter.longest = LONGEST_PAYLOAD + MAC_SIZE
        self._sealer = Sealer(session.send_key)
        self._opener = Opener(session.receive_key)
        self.session = session
        if session.answer:
            self._write(plain(session.answer))
        self._on_session(self, session)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._close()
        self._handshake.close()
        self._on_lost(self, self._reason)

    # To the transport

    def send(self, payload: bytes) -> bool:
        """
        Send a payload of at most L{LONGEST_PAYLOAD} bytes.

        @return: whether the link takes it. That says nothing of the peer.
        """
        if self.closed or self._sealer is None:
            return False
        self._write(self._sealer.seal(payload))
        return not self.closed

    def _write(self, data: bytes) -> None:
        self._told = self._clock.seconds()
        if not self._paused:
            self.transport.write(data)
            return
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes > MOST_UNSENT:
            self.refuse("it does not read what is sent to it")

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._unsent and not self._paused:
            data = self._unsent.popleft()
            self._unsent_bytes -= len(data)
            self.transport.write(data)

    def stopProducing(self) -> None:
        """The connection is over; L{connectionLost} follows."""

    def refuse(self, reason: str, *, politely: bool = False) -> None:
        """
        End it for a reason that is worth a complaint.

        @param politely: whether what was written is to arrive.
        """
        if not self.closed:
            self._reason = reason
            self.close(politely=politely)

    def close(self, *, politely: bool = False) -> None:
        """
        End it. Nothing is told from now on.
        """
        if self.closed:
            return
        self._close()
        if politely:
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        else:
            self.abort()

    def abort(self) -> None:
        """
        End it at once, also if it is closed and waits for its last words to arrive. Nothing
        is told from now on.
        """
        self._close()
        if self.transport is not None:
            self.transport.abortConnection()

    def _close(self) -> None:
        self.closed = True
        self._unsent.clear()
        self._unsent_bytes = 0

    # From the clock

    def discount_stall(self, seconds: float) -> None:
        """
        Let some time not count as the peer's silence.
        """
        now = self._clock.seconds()
        self.heard = min(now, self.heard + seconds)
        self.begun = min(now, self.begun + seconds)
        if self._frame_begun is not None:
            self._frame_begun = min(now, self._frame_begun + seconds)

    def look_at_clock(self) -> None:
        """
        See whether the peer is late, or wants to hear something. Called several times
        a second.
        """
        now = self._clock.seconds()
        if self.closed:
            # Its last words do not arrive.
            if now - max(self.heard, self._told, self.begun) > HANDSHAKE:
                self.abort()
        elif self.session is None:
            if now - self.begun > HANDSHAKE:
                if self.spoke:
                    self.refuse(f"it does not finish the handshake in {HANDSHAKE:g} seconds")
                else:
                    self.close()
        elif now - self.heard > IDLE:
            self.close()
        elif self._frame_begun is not None and now - self._frame_begun > FRAME:
            self.refuse(f"it does not finish a frame in {FRAME:g} seconds")
        elif now - self._told > KEEP_ALIVE:
            self.send(b"")
