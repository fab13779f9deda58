"""
Reading responses from a server's bytes.
"""

from __future__ import annotations

from typing import Protocol

from alacrity.http1.errors import ProtocolError
from alacrity.http1.parser import ResponseParser
from alacrity.net.gate import HELD, SLOW, TURN, ReadGate
from alacrity.net.turns import LARGE_READ, QUEUE_ABOVE, Turns
from alacrity.proxy.events import FailureKind
from alacrity.proxy.interfaces import ResponseReceiver


class ResponseOwner(Protocol):
    """
    A connection to a server, as its reader sees it.

    @ivar attempt: receives the response; L{None}: none is awaited.
    """

    attempt: ResponseReceiver | None

    def finish(self, attempt: ResponseReceiver, *, reusable: bool) -> None:
        """
        The response is complete.

        @param reusable: whether nothing has come after it.
        """

    def leave_http(self, attempt: ResponseReceiver, said: bytes) -> None:
        """
        The server has switched to another protocol.

        @param said: bytes that it sent after its response.
        """

    def abort(self) -> None:
        """Drop the connection."""


class ResponseReader:
    """
    Reads the response to one request at a time, and a bounded number of bytes in each turn of
    the loop. The rest waits here, and the connection is not read from meanwhile.

    @ivar held: the bytes that wait.
    """

    __slots__ = ("_gate", "_owner", "_parser", "_turns", "held")

    def __init__(
        self, owner: ResponseOwner, parser: ResponseParser, gate: ReadGate, turns: Turns
    ) -> None:
        """
        @param gate: decides whether the connection is read from.
        @param turns: the queue of connections that wait to go on with what they have.
        """
        self._owner = owner
        self._parser = parser
        self._gate = gate
        self._turns = turns
        self.held = b""

    def receive(self, attempt: ResponseReceiver, data: bytes) -> None:
        """Read what has come, if nothing waits."""
        if self.held:
            # It is not read from, but what came before its end may come all the same.
            self.held += data
        elif len(data) > QUEUE_ABOVE and self._turns:
            # Others wait to go on already.
            self._hold(data)
        else:
            self.read(attempt, data)
            if len(data) >= LARGE_READ and self._owner.attempt is not None:
                self._gate.count_large_read(self.go_on)

    def read(self, attempt: ResponseReceiver, data: bytes) -> None:
        """Read on in a response, as far as the parser goes in one turn of the loop."""
        try:
            end = self._parser.feed(data)
        except ProtocolError as error:
            self._owner.abort()
            attempt.failed(FailureKind.BAD_RESPONSE, str(error))
            return
        if attempt.answered:
            self._owner.finish(attempt, reusable=end == len(data))
        elif attempt.switching:
            self._owner.leave_http(attempt, data[end:])
        else:
            if end < len(data):
                self._hold(data[end:])
            attempt.progress()

    def _hold(self, rest: bytes) -> None:
        """Hold the rest for a later turn of the loop, after other connections."""
        self.held = rest
        self._gate.close(HELD)
        self._gate.await_turn(self.go_on)

    def go_on(self) -> None:
        """Read on in a turn of the loop that was waited for."""
        self._gate.open(TURN)
        self.read_held()

    def read_held(self) -> None:
        """Read the bytes that wait, unless they wait for a turn, or for the client to read."""
        if self._gate.reasons & (TURN | SLOW):
            return
        self._read_on()
        if not self.held:
            self._gate.open(HELD)

    def read_rest(self) -> None:
        """
        Read all bytes that wait, at once: they came before the connection was lost.
        """
        while self.held and self._owner.attempt is not None:
            self._read_on()

    def _read_on(self) -> None:
        held, self.held = self.held, b""
        attempt = self._owner.attempt
        if held and attempt is not None:
            self.read(attempt, held)
