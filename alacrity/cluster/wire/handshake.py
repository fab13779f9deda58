"""
The handshake: two nodes prove to each other that they have the same secret, and tell each other
their identities. There is no I/O here.

Each side is a generator. It yields the body of a frame to send, receives the body of a received
frame, and returns a L{Session}::

    initiator                               responder
    H, versions, ephemeral key     ->
                                   <-       C, versions, ephemeral key
    I, own name, incarnation, seat
      and format, the other's
      name, proof                  ->
                                   <-       R, the same, proof
    A, proof                       ->

At any point, a side may send C{X} and a reason instead: that side refuses the other.

Each proof is an HMAC-SHA256 over all bytes that were sent before it, with a key that is derived
from the secret and both openings; each side has its own label. So an attacker cannot use a
recorded handshake, a node's own proof sent back to it, or a handshake with another node, nor make
the two sides speak an older version. No clock is needed. The keys of the session depend on every
byte of the handshake.

Since version 4, the frames C{I}, C{R} and C{A} are encrypted, and so is all traffic after them
(see L{alacrity.cluster.wire.keys}). For programs that speak older versions, the ephemeral keys
are nonces; the traffic with them is authenticated, but can be read on the network.

A responder may have two secrets, while the cluster's secret is being changed. It accepts the
proof of either, and answers with the one that the initiator has used.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Generator, Sequence
from struct import Struct, error
from typing import Final, TypeAlias

import msgspec

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.log.members import Seat
from alacrity.cluster.wire.frames import MAC_SIZE, FrameError
from alacrity.cluster.wire.keys import (
    EncryptedCover,
    EphemeralKey,
    HandshakeCover,
    PlainCover,
    derive,
)
from alacrity.cluster.wire.openings import (
    ENCRYPTED_VERSION,
    VERSIONS,
    HandshakeRefused,
    Versions,
    make_opening,
    raise_refusal,
    read_opening,
    refusal,
)

LONGEST_NAME: Final = 255
"""Bytes that a node's name may have, in UTF-8."""

_SEAT: Final = Struct(">QQ")
_FORMAT: Final = Struct(">H")
_encode: Final = msgspec.msgpack.Encoder().encode


class Identity(msgspec.Struct, frozen=True):
    """
    The identity of a node.

    @ivar incarnation: the id of the node's files, 32 hexadecimal digits.
    @ivar seat: the entry that added the node as a member, by the applied part of its log.
    @ivar format: the newest version of commands that the node's program understands.
    """

    name: str
    incarnation: str
    seat: Seat = (0, 0)
    format: int = NEWEST_FORMAT


class _Statement(msgspec.Struct, frozen=True):
    """
    The statement in a proof, since version 4. Members that are not known are ignored, so that
    later programs can add some.

    @ivar me: the node that makes it.
    @ivar to: the name of the node that it is for.
    """

    me: Identity
    to: str


_decode: Final = msgspec.msgpack.Decoder(_Statement).decode


class Session(msgspec.Struct, frozen=True):
    """
    The result of a handshake.

    @ivar peer: the proven identity of the other node.
    @ivar version: the highest version of the protocol that both nodes speak.
    @ivar send_key: the key of the frames from this node.
    @ivar receive_key: the key of the frames from the other node.
    @ivar secret: the secret that both sides have proven.
    @ivar answer: the body of a last handshake frame to send, before any other frame; empty:
        there is none.
    """

    peer: Identity
    version: int
    send_key: bytes
    receive_key: bytes
    secret: bytes
    answer: bytes = b""

    def __repr__(self) -> str:
        # Without what must not be in a log.
        return f"<Session with {self.peer.name}: version {self.version}>"


Handshake: TypeAlias = Generator[bytes, bytes, Session]
"""A handshake. It yields an empty body if there is nothing to send yet."""

AdmissionCheck: TypeAlias = Callable[[Identity], str | None]
"""Gives the reason to refuse a node that has the secret; L{None}: there is none."""


class _OtherSecret(Exception):
    """
    The other side has proven another secret.
    """


def initiate(
    secret: bytes,
    me: Identity,
    target: str,
    accept: AdmissionCheck,
    random: bytes,
    versions: Versions = VERSIONS,
) -> Handshake:
    """
    The handshake of the side that connects, the initiator.

    @param target: the name that the other node must have.
    @param accept: called with the other node once it has proven that it has the secret.
    @param random: L{alacrity.cluster.wire.keys.KEY_SIZE} unpredictable bytes.
    @raise HandshakeRefused: either side refuses the other.
    """
    ephemeral = EphemeralKey(random)
    opening = make_opening(b"H", versions, ephemeral)
    challenge = yield opening
    version, theirs = read_opening(b"C", challenge, versions)
    so_far = opening + challenge
    shared = _shared(version, ephemeral, theirs)
    cover = _cover(secret, shared, so_far, initiates=True)
    proof = cover.cover(_prove(secret, b"I", version, so_far, me, target))
    answer = yield proof
    raise_refusal(answer)
    try:
        peer, addressee = _check(secret, cover, b"R", version, so_far, answer, seen=proof)
    except _OtherSecret:
        raise refusal("it has another secret") from None
    if addressee != me.name:
        raise refusal(f"it replies to {addressee!a}, but this node is {me.name!a}", cover)
    if peer.name != target:
        raise refusal(f"{target!a} was expected, but the node there is {peer.name!a}", cover)
    reason = accept(peer)
    if reason is not None:
        raise refusal(reason, cover)
    send, receive = cover.session_keys(so_far + proof + answer)
    consent = cover.cover(b"A" + _proof(secret, b"A", so_far, proof + answer))
    return Session(peer, version, send, receive, secret, consent)


def respond(
    secrets: Sequence[bytes],
    me: Identity,
    accept: AdmissionCheck,
    random: bytes,
    versions: Versions = VERSIONS,
) -> Handshake:
    """
    The handshake of the side that listens, the responder.

    @param secrets: the secrets of which the other node must prove one.
    @param accept: called with the other node once it has proven that it has one.
    @param random: as for L{initiate}.
    @raise HandshakeRefused: either side refuses the other.
    """
    opening = yield b""
    version, theirs = read_opening(b"H", opening, versions)
    ephemeral = EphemeralKey(random)
    challenge = make_opening(b"C", versions, ephemeral)
    proof = yield challenge
    raise_refusal(proof)
    so_far = opening + challenge
    shared = _shared(version, ephemeral, theirs)
    for secret in secrets:
        cover = _cover(secret, shared, so_far, initiates=False)
        try:
            peer, target = _check(secret, cover, b"I", version, so_far, proof)
            break
        except _OtherSecret:
            continue
    else:
        raise refusal("it has another secret")
    if target != me.name:
        raise refusal(f"it wants to connect to {target!a}, but this node is {me.name!a}", cover)
    if peer.name == me.name:
        raise refusal(f"it has the name of this node, {me.name!a}, too", cover)
    reason = accept(peer)
    if reason is not None:
        raise refusal(reason, cover)
    answer = cover.cover(_prove(secret, b"R", version, so_far, me, peer.name, seen=proof))
    consent = yield answer
    raise_refusal(consent)
    expected = b"A" + _proof(secret, b"A", so_far, proof + answer)
    if not hmac.compare_digest(_last_frame(cover, consent), expected):
        raise HandshakeRefused("the last frame of its handshake is wrong")
    receive, send = cover.session_keys(so_far + proof + answer)
    return Session(peer, version, send, receive, secret)


def _shared(version: int, ephemeral: EphemeralKey, theirs: bytes) -> bytes | None:
    """
    The bytes that both sides have in common by their ephemeral keys; L{None}: the version does
    not encrypt.
    """
    if version < ENCRYPTED_VERSION:
        return None
    try:
        return ephemeral.shared_with(theirs)
    except ValueError:
        raise HandshakeRefused("it does not speak this protocol") from None


def _cover(
    secret: bytes, shared: bytes | None, so_far: bytes, *, initiates: bool
) -> HandshakeCover:
    if shared is None:
        return PlainCover(secret)
    return EncryptedCover(secret, shared, so_far, initiates=initiates)


def _last_frame(cover: HandshakeCover, body: bytes) -> bytes:
    """
    The content of the last frame; empty: it is not what the other side sent.
    """
    try:
        text = cover.uncover(body)
    except FrameError:
        return b""
    raise_refusal(text)
    return text


def _prove(
    secret: bytes,
    kind: bytes,
    version: int,
    so_far: bytes,
    me: Identity,
    other: str,
    *,
    seen: bytes = b"",
) -> bytes:
    """
    Make a statement of both names and this node's incarnation, seat and format, with a proof
    that this node has the secret.

    @param so_far: both openings.
    @param seen: the bytes that were sent after the openings.
    """
    if version >= ENCRYPTED_VERSION:
        statement = kind + _encode(_Statement(me, other))
    else:
        statement = kind + _text(me.name) + bytes.fromhex(me.incarnation)
        if version > 1:
            statement += _SEAT.pack(*me.seat)
        if version > 2:
            statement += _FORMAT.pack(me.format)
        statement += _text(other)
    return statement + _proof(secret, kind, so_far, seen + statement)


def _check(
    secret: bytes,
    cover: HandshakeCover,
    kind: bytes,
    version: int,
    so_far: bytes,
    body: bytes,
    *,
    seen: bytes = b"",
) -> tuple[Identity, str]:
    """
    Verify a statement.

    @return: the identity of the node that made it, and the name of the node that it is for.
    @raise _OtherSecret: it is not proven by this secret.
    """
    try:
        text = cover.uncover(body)
    except FrameError:
        raise _OtherSecret from None
    raise_refusal(text)
    statement, proof = text[:-MAC_SIZE], text[-MAC_SIZE:]
    if not hmac.compare_digest(proof, _proof(secret, kind, so_far, seen + statement)):
        raise _OtherSecret
    try:
        if statement[:1] != kind:
            raise ValueError(statement[:1])
        if version < ENCRYPTED_VERSION:
            return _read_plain(version, statement[1:])
        read = _decode(statement[1:])
        if len(bytes.fromhex(read.me.incarnation)) != 16:
            raise ValueError(read.me.incarnation)
    except (ValueError, error, msgspec.MsgspecError):
        raise HandshakeRefused(
            "it does not speak this protocol, though it has the secret"
        ) from None
    return read.me, read.to


def _read_plain(version: int, statement: bytes) -> tuple[Identity, str]:
    """
    Read a statement of a version up to 3, after its kind.

    @raise ValueError: it is malformed.
    @raise error: likewise.
    """
    name, rest = _read_text(statement)
    incarnation, rest = rest[:16], rest[16:]
    seat: Seat = (0, 0)
    if version > 1:
        seat = _SEAT.unpack_from(rest)
        rest = rest[_SEAT.size :]
    format = 1
    if version > 2:
        (format,) = _FORMAT.unpack_from(rest)
        rest = rest[_FORMAT.size :]
    other, rest = _read_text(rest)
    if rest or len(incarnation) != 16:
        raise ValueError(rest)
    return Identity(name, incarnation.hex(), seat, format), other


def _text(text: str) -> bytes:
    data = text.encode()
    assert len(data) <= LONGEST_NAME
    return bytes([len(data)]) + data


def _read_text(data: bytes) -> tuple[str, bytes]:
    if not data or len(data) <= data[0]:
        raise ValueError(data)
    end = 1 + data[0]
    return data[1:end].decode(), data[end:]


def _proof(secret: bytes, kind: bytes, so_far: bytes, said: bytes) -> bytes:
    key = derive(secret, b"proof", so_far, kind)
    return hmac.digest(key, so_far + said, "sha256")
