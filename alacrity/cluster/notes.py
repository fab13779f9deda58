"""
Notes: messages between members that are not of the engine's.

They use the same connections, and are neither logged nor written to disk, nor do they wait for
a step. So they are for facts that may be lost: renewals of leases, hints, counts of requests in
flight. A note arrives once or not at all; the connection guarantees the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

LEAST_FORMAT: Final = 2
"""The lowest format of a cluster in which notes are sent: older programs do not know them."""

MOST_ASKS: Final = 256
"""Asks to one member that may wait for their answers at a time."""

MOST_HANDLED: Final = 512
"""Asks of one member that may be handled at a time. More than L{MOST_ASKS}, because a member
that gives up an ask may ask again."""

LONGEST_BODY: Final = 1 << 16
"""Bytes that a body may have, encoded."""

_LONGEST_KIND: Final = 64


class NoteUnanswered(Exception):
    """
    An ask got no answer. The message is the reason, in one line.
    """


class NoteRefused(NoteUnanswered):
    """
    The member that was asked refuses to answer. A handler may raise it, with the reason.
    """


class Tell(msgspec.Struct, frozen=True, tag_field="type", tag="note"):
    """A note that wants no answer."""

    kind: str
    body: Any


class Ask(msgspec.Struct, frozen=True, tag_field="type", tag="note_ask"):
    """
    A note that wants an answer.

    @ivar id: the number of the ask, on its connection.
    """

    id: int
    kind: str
    body: Any


class Answer(msgspec.Struct, frozen=True, tag_field="type", tag="note_answer"):
    """The answer to an L{Ask}."""

    id: int
    body: Any


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="note_refusal"):
    """The reason why an L{Ask} gets no answer."""

    id: int
    reason: str


Note: TypeAlias = Tell | Ask | Answer | Refusal

NOTE_TYPES: Final = frozenset({"note", "note_ask", "note_answer", "note_refusal"})
"""The types of the messages that are notes."""

Handler: TypeAlias = Callable[[str, Any], Any | Awaitable[Any]]
"""Answers an ask: is called with the sender's name and the body, and returns the body of the
answer."""

_PLAIN: Final = (bytes,)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


NoteSender: TypeAlias = Callable[[str, dict[str, Any]], bool]
"""Sends a message to a member; returns whether there is a connection, which takes it."""


class Notes:
    """
    The notes of one node: sends them, and has those of others handled.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        send: NoteSender,
        connection: Callable[[str], int],
        format: Callable[[], int],
        clock: IReactorTime,
    ) -> None:
        """
        @param name: the name of this node.
        @param connection: gives the number of the connection with a member, which changes when
            the connection does.
        @param format: gives the format of the cluster.
        """
        self._name = name
        self._send = send
        self._connection = connection
        self._format = format
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._asks: dict[int, _Waiting] = {}
        self._last_id = 0
        self._asked: Counter[str] = Counter()
        self._handled: Counter[str] = Counter()
        # Members whose malformed notes were logged.
        self._malformed: set[str] = set()

    def __repr__(self) -> str:
        return f"<Notes of {self._name}: {len(self._asks)} unanswered>"

    def answer(self, kind: str, handler: Handler) -> None:
        """
        Have a kind of notes handled, both asked and told ones.

        @param handler: called with the name of the sender, which may be this node, and the body;
            returns the body of the answer, or an awaitable of it. It may raise L{NoteRefused}.
        @raise ValueError: the kind has a handler.
        """
        if kind in self._handlers or not 0 < len(kind) <= _LONGEST_KIND:
            raise ValueError(f"the kind of notes {kind!r} has a handler, or is no name")
        self._handlers[kind] = handler

    def ask(self, node: str, kind: str, body: Any, *, timeout: float) -> Deferred[Any]:
        """
        Ask a member, or this node itself.

        @param body: plain values of msgpack.
        @param timeout: seconds, after which the ask fails.
        @return: fires with the body of the answer; fails with L{NoteUnanswered}, at once if
            there is no connection with the member.
        @raise ValueError: the body is too long.
        @raise TypeError: it has other values.
        """
        body = _plain(body)
        waiting = _Waiting(node)
        if self._asked[node] >= MOST_ASKS:
            waiting.fail(f"too many asks of {node} wait for their answers")
            return waiting.deferred
        self._last_id += 1
        id = self._last_id
        self._asks[id] = waiting
        self._asked[node] += 1
        waiting.deferred.addBoth(self._ended, id, waiting)
        waiting.timeout = self._clock.callLater(timeout, self._expire, id, timeout)
        if node == self._name:
            self._handle(node, Ask(id, kind, body))
        elif fault := self._fault_of_sending(node, Ask(id, kind, body)):
            waiting.fail(fault)
        return waiting.deferred

    def tell(self, node: str, kind: str, body: Any) -> bool:
        """
        Send a note that wants no answer to a member, or to this node itself.

        @param body: plain values of msgpack.
        @return: whether it was sent. It may still not arrive.
        @raise ValueError: the body is too long.
        @raise TypeError: it has other values.
        """
        note = Tell(kind, _plain(body))
        if node == self._name:
            self._handle(node, note)
            return True
        return not self._fault_of_sending(node, note)

    def stop(self) -> None:
        """
        End all asks: this node takes no part in the cluster any more.
        """
        for waiting in list(self._asks.values()):
            waiting.fail("this node stops")

    # From the transport

    def received(self, name: str, message: dict[str, Any]) -> bool:
        """
        Take a message that has come from a member, if it is a note.

        @return: whether it was a note, valid or not.
        """
        kind = message.get("type")
        if not isinstance(kind, str) or kind not in NOTE_TYPES:
            return False
        try:
            note = msgspec.convert(message, Note, builtin_types=_PLAIN)
        except msgspec.ValidationError as error:
            self._log_malformed(name, str(error))
            return True
        match note:
            case Tell() | Ask():
                self._handle(name, note)
            case Answer(id, body):
                waiting = self._asks.get(id)
                if waiting is not None and waiting.node == name:
                    waiting.deferred.callback(body)
            case Refusal(id, reason):
                waiting = self._asks.get(id)
                if waiting is not None and waiting.node == name:
                    waiting.deferred.errback(NoteRefused(f"{name} refuses: {reason}"))
        return True

    def connection_changed(self, name: str) -> None:
        """
        End the asks of a member: the connection on which they were sent is no more.
        """
        self._malformed.discard(name)
        for waiting in list(self._asks.values()):
            if waiting.node == name:
                waiting.fail(f"the connection with {name} is lost")

    def _log_malformed(self, name: str, fault: str) -> None:
        """
        Log a note that is not valid, once for each connection: the sender has the secret, so
        the cause is another version, or a fault of the program.
        """
        if name not in self._malformed:
            self._malformed.add(name)
            self._log.warn(
                "{name} has sent an invalid note: {fault}; more of them are not logged",
                name=name,
                fault=fault,
            )

    # Asks of this node

    def _fault_of_sending(self, node: str, note: Note) -> str:
        """
        Send a note to another member.

        @return: the reason why it was not sent; empty: it was.
        """
        if self._format() < LEAST_FORMAT:
            return "not all members are known to understand notes yet"
        if not self._send(node, msgspec.to_builtins(note, builtin_types=_PLAIN)):
            return f"there is no connection with {node}"
        return ""

    def _expire(self, id: int, timeout: float) -> None:
        waiting = self._asks[id]
        waiting.timeout = None
        waiting.fail(f"{waiting.node} has not answered in {timeout:g} s")

    def _ended(self, result: Any, id: int, waiting: _Waiting) -> Any:
        del self._asks[id]
        self._asked[waiting.node] -= 1
        if waiting.timeout is not None:
            waiting.timeout.cancel()
        return result

    # Notes of others

    def _handle(self, name: str, note: Tell | Ask) -> None:
        """
        Have a note handled, and answer it if it wants an answer.
        """
        handler = self._handlers.get(note.kind)
        connection = self._connection(name)
        reply: Callable[[Answer | Refusal], None] = (
            (lambda answer: self._reply(name, connection, answer))
            if isinstance(note, Ask)
            else _drop
        )
        id = note.id if isinstance(note, Ask) else 0
        if handler is None:
            reply(Refusal(id, f"notes of kind {note.kind[:_LONGEST_KIND]!a} are not known"))
        elif len(_encode(note.body)) > LONGEST_BODY:
            reply(Refusal(id, f"the body is longer than {LONGEST_BODY} bytes"))
        elif self._handled[name] >= MOST_HANDLED:
            reply(Refusal(id, "too many notes are being handled"))
        else:
            self._handled[name] += 1
            handling = maybeDeferred(_call, handler, name, note.body)
            handling.addCallback(lambda body: Answer(id, _plain(body)))
            handling.addErrback(self._refusal, name, note.kind, id)
            handling.addCallback(reply)
            handling.addBoth(self._handling_ended, name)

    def _refusal(self, failure: Failure, name: str, kind: str, id: int) -> Refusal:
        if failure.check(NoteRefused):
            return Refusal(id, failure.getErrorMessage())
        self._log.failure(
            "a note of kind {kind} from {name} cannot be handled", failure, kind=kind, name=name
        )
        return Refusal(id, "it has failed to handle the note")

    def _handling_ended(self, result: object, name: str) -> None:
        self._handled[name] -= 1
        if isinstance(result, Failure):
            self._log.failure("a note from {name} cannot be answered", result, name=name)

    def _reply(self, name: str, connection: int, reply: Answer | Refusal) -> None:
        """
        Answer an ask. Its number has a meaning on its own connection only.
        """
        message = msgspec.to_builtins(reply, builtin_types=_PLAIN)
        if name == self._name:
            self.received(name, message)
        elif self._connection(name) == connection:
            self._send(name, message)


class _Waiting:
    """
    An ask that waits for its answer.
    """

    __slots__ = ("deferred", "node", "timeout")

    def __init__(self, node: str) -> None:
        self.node = node
        self.deferred: Deferred[Any] = Deferred()
        self.timeout: IDelayedCall | None = None

    def fail(self, reason: str) -> None:
        """Fail, with L{NoteUnanswered}."""
        self.deferred.errback(NoteUnanswered(reason))


def _drop(answer: Answer | Refusal) -> None:
    """Send no answer."""


def _call(handler: Handler, name: str, body: Any) -> Any:
    answer = handler(name, body)
    if isinstance(answer, Deferred) or not isinstance(answer, Awaitable):
        return answer
    return ensureDeferred(answer)  # type: ignore[arg-type] # any awaitable of Deferreds will do


def _plain(body: Any) -> Any:
    """
    A body as it arrives, which shares nothing with the given one.

    @raise ValueError: it is too long.
    @raise TypeError: it has values that are not plain.
    """
    encoded = _encode(body)
    if len(encoded) > LONGEST_BODY:
        raise ValueError(f"a body of {len(encoded)} bytes; at most {LONGEST_BODY} are allowed")
    return _decode(encoded)
