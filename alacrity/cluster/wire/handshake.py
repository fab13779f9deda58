"""
The handshake: two nodes prove to each other that they have the same secret, and tell each other
their identities. There is no I/O here.

Each side is a generator. It yields the body of a frame to send, receives the body of a received
frame, and returns a L{Session}::

    initiator                               responder
    H, versions, nonce             ->
                                   <-       C, versions, nonce
    I, own name, incarnation and
      seat, the other's name,
      proof                        ->
                                   <-       R, the same, proof
    A, proof                       ->

At any point, a side may send C{X} and a reason instead: that side refuses the other.

Each proof is an HMAC-SHA256 over all bytes that were sent before it, with a key that is derived
from the secret and both nonces; each side has its own label. So an attacker cannot use a recorded
handshake, a node's own proof sent back to it, or a handshake with another node. No clock is
needed. The keys of the session depend on every byte of the handshake.

The traffic is authenticated, but not encrypted: it can be read on the network.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Generator
from hashlib import sha256
from struct import Struct, error
from typing import Final, TypeAlias

import msgspec

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.log.members import Seat
from alacrity.cluster.wire.frames import MAC_SIZE

NONCE_SIZE: Final = 32

VERSIONS: Final = (1, 3)
"""
The lowest and the highest version of the protocol that this program speaks. Version 2 adds the
seat to the proofs, version 3 the format.
"""

LONGEST_NAME: Final = 255
"""Bytes that a node's name may have, in UTF-8."""

_MAGIC: Final = b"alacrity"
_OPENING: Final = Struct(f">c8sHH{NONCE_SIZE}s")
_SEAT: Final = Struct(">QQ")
_FORMAT: Final = Struct(">H")
_LONGEST_REASON: Final = 300


class HandshakeRefused(Exception):
    """
    One of the two nodes refuses the other. The message is the reason, for this side's operator.

    @ivar answer: the body of a last frame to send; L{None}: there is none.
    """

    def __init__(self, reason: str, answer: bytes | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


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


class Session(msgspec.Struct, frozen=True):
    """
    The result of a handshake.

    @ivar peer: the proven identity of the other node.
    @ivar version: the highest version of the protocol that both nodes speak.
    @ivar send_key: the key of the frames from this node.
    @ivar receive_key: the key of the frames from the other node.
    @ivar answer: the body of a last handshake frame to send, before any other frame; empty:
        there is none.
    """

    peer: Identity
    version: int
    send_key: bytes
    receive_key: bytes
    answer: bytes = b""


Handshake: TypeAlias = Generator[bytes, bytes, Session]
"""A handshake. It yields an empty body if there is nothing to send yet."""

AdmissionCheck: TypeAlias = Callable[[Identity], str | None]
"""Gives the reason to refuse a node that has the secret; L{None}: there is none."""

Versions: TypeAlias = tuple[int, int]


def initiate(
    secret: bytes,
    me: Identity,
    target: str,
    accept: AdmissionCheck,
    nonce: bytes,
    versions: Versions = VERSIONS,
) -> Handshake:
    """
    The handshake of the side that connects, the initiator.

    @param target: the name that the other node must have.
    @param accept: called with the other node once it has proven that it has the secret.
    @param nonce: L{NONCE_SIZE} unpredictable bytes.
    @raise HandshakeRefused: either side refuses the other.
    """
    opening = _opening(b"H", versions, nonce)
    challenge = yield opening
    version, _ = _read_opening(b"C", challenge, versions)
    so_far = opening + challenge
    proof = _prove(secret, b"I", version, so_far, me, target)
    answer = yield proof
    peer, addressee = _check(secret, b"R", version, so_far, answer, seen=proof)
    if addressee != me.name:
        raise _refusal(f"it replies to {addressee!a}, but this node is {me.name!a}")
    if peer.name != target:
        raise _refusal(f"{target!a} was expected, but the node there is {peer.name!a}")
    reason = accept(peer)
    if reason is not None:
        raise _refusal(reason)
    send, receive = _session_keys(secret, so_far + proof + answer)
    consent = b"A" + _proof(secret, b"A", so_far, proof + answer)
    return Session(peer, version, send, receive, consent)


def respond(
    secret: bytes, me: Identity, accept: AdmissionCheck, nonce: bytes, versions: Versions = VERSIONS
) -> Handshake:
    """
    The handshake of the side that listens, the responder.

    @param accept: called with the other node once it has proven that it has the secret.
    @param nonce: as for L{initiate}.
    @raise HandshakeRefused: either side refuses the other.
    """
    opening = yield b""
    version, _ = _read_opening(b"H", opening, versions)
    challenge = _opening(b"C", versions, nonce)
    proof = yield challenge
    so_far = opening + challenge
    peer, target = _check(secret, b"I", version, so_far, proof)
    if target != me.name:
        raise _refusal(f"it wants to connect to {target!a}, but this node is {me.name!a}")
    if peer.name == me.name:
        raise _refusal(f"it has the name of this node, {me.name!a}, too")
    reason = accept(peer)
    if reason is not None:
        raise _refusal(reason)
    answer = _prove(secret, b"R", version, so_far, me, peer.name, seen=proof)
    consent = yield answer
    _raise_refusal(consent)
    expected = b"A" + _proof(secret, b"A", so_far, proof + answer)
    if not hmac.compare_digest(consent, expected):
        raise HandshakeRefused("the last frame of its handshake is wrong")
    receive, send = _session_keys(secret, so_far + proof + answer)
    return Session(peer, version, send, receive)


def _opening(kind: bytes, versions: Versions, nonce: bytes) -> bytes:
    return _OPENING.pack(kind, _MAGIC, *versions, nonce)


def _read_opening(kind: bytes, body: bytes, versions: Versions) -> tuple[int, bytes]:
    """
    Read an opening.

    @return: the highest version that both sides speak, and the nonce of the other side.
    """
    _raise_refusal(body)
    try:
        found, magic, low, high, nonce = _OPENING.unpack(body)
    except error:
        raise HandshakeRefused("it does not speak this protocol") from None
    if found != kind or magic != _MAGIC:
        raise HandshakeRefused("it does not speak this protocol")
    version = min(high, versions[1])
    if version < max(low, versions[0]):
        raise _refusal(
            f"it speaks versions {low} to {high}, and this node {versions[0]} to {versions[1]}: "
            f"none in common"
        )
    return version, nonce


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
    statement = kind + _text(me.name) + bytes.fromhex(me.incarnation)
    if version > 1:
        statement += _SEAT.pack(*me.seat)
    if version > 2:
        statement += _FORMAT.pack(me.format)
    statement += _text(other)
    return statement + _proof(secret, kind, so_far, seen + statement)


def _check(
    secret: bytes, kind: bytes, version: int, so_far: bytes, body: bytes, *, seen: bytes = b""
) -> tuple[Identity, str]:
    """
    Verify a statement.

    @return: the identity of the node that made it, and the name of the node that it is for.
    """
    _raise_refusal(body)
    statement, proof = body[:-MAC_SIZE], body[-MAC_SIZE:]
    if not hmac.compare_digest(proof, _proof(secret, kind, so_far, seen + statement)):
        raise _refusal("it has another secret")
    try:
        if statement[:1] != kind:
            raise ValueError(statement[:1])
        name, rest = _read_text(statement[1:])
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
    except (ValueError, error):
        raise HandshakeRefused(
            "it does not speak this protocol, though it has the secret"
        ) from None
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
    key = _derive(secret, b"proof", so_far, kind)
    return hmac.digest(key, so_far + said, "sha256")


def _session_keys(secret: bytes, transcript: bytes) -> tuple[bytes, bytes]:
    """
    The keys of the frames from the initiator, and of the frames from the responder.
    """
    return (
        _derive(secret, b"frames", transcript, b"I"),
        _derive(secret, b"frames", transcript, b"R"),
    )


def _derive(secret: bytes, purpose: bytes, transcript: bytes, side: bytes) -> bytes:
    """
    HKDF (RFC 5869) for one block: extract from the secret, expand to a label.
    """
    salt = b"alacrity cluster " + purpose + sha256(transcript).digest()
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, side + b"\x01", "sha256")


def _refusal(reason: str) -> HandshakeRefused:
    """
    A refusal that is sent to the other side.
    """
    return HandshakeRefused(reason, b"X" + reason.encode()[:_LONGEST_REASON])


def _raise_refusal(body: bytes) -> None:
    """
    Raise the refusal in a body, if the other side refuses this one. The reason is quoted, because
    it is not authenticated.
    """
    if body[:1] == b"X":
        raise HandshakeRefused(
            f"it refuses: {body[1 : 1 + _LONGEST_REASON].decode(errors='replace')!a}"
        )
