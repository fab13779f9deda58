"""
The openings of a handshake, with the versions of the protocol, and refusals. There is no I/O here.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final, TypeAlias

from alacrity.cluster.log.formats import ENCRYPTED_FORMAT
from alacrity.cluster.wire.keys import KEY_SIZE, EphemeralKey, HandshakeCover

Versions: TypeAlias = tuple[int, int]
"""The lowest and the highest version of the protocol that a node speaks."""

ENCRYPTED_VERSION: Final = 4
"""The lowest version that encrypts."""

VERSIONS: Final = (1, ENCRYPTED_VERSION)
"""
The versions that this program speaks. Version 2 adds the seat to the proofs, version 3 the
format; version 4 encrypts.
"""

_MAGIC: Final = b"alacrity"
_OPENING: Final = Struct(f">c8sHH{KEY_SIZE}s")
_LONGEST_REASON: Final = 300


class HandshakeRefused(Exception):
    """
    One of the two nodes refuses the other. The message is the reason, for this side's operator.

    @ivar answer: the body of a last frame to send; L{None}: there is none.
    """

    def __init__(self, reason: str, answer: bytes | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


def versions_at(format: int) -> Versions:
    """
    The versions that this program speaks in a cluster of a format.
    """
    low, high = VERSIONS
    return (ENCRYPTED_VERSION if format >= ENCRYPTED_FORMAT else low, high)


def make_opening(kind: bytes, versions: Versions, ephemeral: EphemeralKey) -> bytes:
    """
    Make an opening.

    @param kind: one byte, which says whose opening it is.
    """
    return _OPENING.pack(kind, _MAGIC, *versions, ephemeral.public)


def read_opening(kind: bytes, body: bytes, versions: Versions) -> tuple[int, bytes]:
    """
    Read an opening.

    @param versions: those that this node speaks.
    @return: the highest version that both sides speak, and the ephemeral key of the other side.
    @raise HandshakeRefused: the other side refuses, or speaks no common version.
    """
    raise_refusal(body)
    try:
        found, magic, low, high, theirs = _OPENING.unpack(body)
    except error:
        raise HandshakeRefused("it does not speak this protocol") from None
    if found != kind or magic != _MAGIC:
        raise HandshakeRefused("it does not speak this protocol")
    version = min(high, versions[1])
    if high < versions[0] and versions[0] >= ENCRYPTED_VERSION:
        raise refusal(
            f"it speaks versions {low} to {high} of the protocol, which do not encrypt, and this "
            f"cluster does not speak them any more: upgrade its program"
        )
    if version < max(low, versions[0]):
        raise refusal(
            f"it speaks versions {low} to {high}, and this node {versions[0]} to {versions[1]}: "
            f"none in common"
        )
    return version, theirs


def refusal(reason: str, cover: HandshakeCover | None = None) -> HandshakeRefused:
    """
    A refusal that is sent to the other side.

    @param cover: encrypts the reason; L{None}: the other side could not decrypt it.
    """
    body = b"X" + reason.encode()[:_LONGEST_REASON]
    return HandshakeRefused(reason, body if cover is None else cover.cover(body))


def raise_refusal(body: bytes) -> None:
    """
    Raise the refusal in a body, if the other side refuses this one. The reason is quoted, because
    it is not authenticated.
    """
    if body[:1] == b"X":
        raise HandshakeRefused(
            f"it refuses: {body[1 : 1 + _LONGEST_REASON].decode(errors='replace')!a}"
        )
