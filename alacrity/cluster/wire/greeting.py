"""
Greetings: the first payloads on a new connection, in which two nodes tell each other about their
clusters. There is no I/O here.

A node answers a greeting with a welcome, or refuses the other node with a reason. A connection is
used once both sides are welcome. A node may greet again when what it said has changed; then it
gets no answer, or is refused. All of this is authenticated, as all frames after the handshake
are. They begin as no message of the engine does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from alacrity.cluster.wire.handshake import Identity

_MARK: Final = b"\xc1greeting"
"""Begins with a byte that msgpack never uses."""

_LONGEST_REASON: Final = 1024


class Greeting(msgspec.Struct, frozen=True, tag="greeting"):
    """
    A node's words about its cluster. Unknown fields are ignored, so that more can be added.

    @ivar name: the name of the node.
    @ivar cluster_id: the id of the cluster; empty: it has none yet, or the node does not know it.
    @ivar has_entries: whether the node's log has more than the beginning of a cluster.
    @ivar waits: whether the node waits to be added to a cluster.
    @ivar members: the members by the node's log, as in C{cluster.members}, sorted.
    @ivar address: the address at which the node can be reached; empty: it does not say.
    """

    name: str = ""
    cluster_id: str = ""
    has_entries: bool = False
    waits: bool = False
    members: tuple[str, ...] = ()
    address: str = ""


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The answer to the first greeting of a node that is accepted."""


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """The reason why a node refuses the other one."""

    reason: str


Said: TypeAlias = Greeting | Welcome | Refusal

GreetingCheck: TypeAlias = Callable[[Identity, Greeting | None], str | None]
"""Gives the reason to refuse a node by its greeting, which is L{None} if its program does not know
greetings; returns L{None} if there is no reason."""


class MalformedGreeting(Exception):
    """
    A payload begins like a greeting, but is none.
    """


_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(Said)


def is_greeting(payload: bytes) -> bool:
    """
    Whether a payload is a greeting or the answer to one, rather than a message of the engine.
    """
    return payload[: len(_MARK)] == _MARK


def encode_greeting(said: Said) -> bytes:
    """
    The payload of a greeting, or of the answer to one.
    """
    if isinstance(said, Refusal):
        said = Refusal(said.reason[:_LONGEST_REASON])
    return _MARK + _encode(said)


def decode_greeting(payload: bytes) -> Said:
    """
    The greeting in a payload, or the answer to one.

    @raise MalformedGreeting: there is none.
    """
    try:
        decoded: Said = _decoder.decode(memoryview(payload)[len(_MARK) :])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedGreeting(str(error)) from error
    return decoded
