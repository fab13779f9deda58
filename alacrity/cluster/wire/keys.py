"""
The keys of a handshake and of the session after it, and the cover of the handshake's last three
frames. There is no I/O here.

Up to version 3 of the handshake, these frames are sent as they are, and the keys depend on the
secret and on all bytes of the handshake.

Since version 4, each side makes an ephemeral key of X25519 (RFC 7748), and sends the public part
in its opening. All keys are derived by HKDF (RFC 5869) from what the two ephemeral keys have in
common, from the secret, and from all bytes of the handshake so far. The last three frames are
encrypted, so that nobody on the network learns who talks to whom. The ephemeral keys are
forgotten when the handshake is done: whoever learns the secret later cannot decrypt recorded
traffic (forward secrecy).
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from alacrity.cluster.wire.encryption import NumberedCipher
from alacrity.cluster.wire.frames import FrameError

KEY_SIZE: Final = 32

_COVERED: Final = b"E"
"""The first byte of an encrypted frame of the handshake."""


class EphemeralKey:
    """
    One side's key of X25519, for one handshake.

    @ivar public: the part that the other side is sent.
    """

    def __init__(self, random: bytes) -> None:
        """
        @param random: L{KEY_SIZE} unpredictable bytes.
        """
        self._private = X25519PrivateKey.from_private_bytes(random)
        self.public = self._private.public_key().public_bytes_raw()

    def shared_with(self, public: bytes) -> bytes:
        """
        The bytes that only the owners of both keys can compute.

        @raise ValueError: the other side's key is one that makes them predictable (RFC 7748
            6.1).
        """
        return self._private.exchange(X25519PublicKey.from_public_bytes(public))


class HandshakeCover(Protocol):
    """
    The form in which one side sends and receives the last three frames of a handshake.
    """

    def cover(self, body: bytes) -> bytes:
        """The body as it is sent."""

    def uncover(self, body: bytes) -> bytes:
        """
        A received body as it was before it was covered.

        @raise FrameError: the other side has another secret, or the body was changed.
        """

    def session_keys(self, transcript: bytes) -> tuple[bytes, bytes]:
        """
        The keys of the frames from the initiator, and of the frames from the responder.

        @param transcript: all bytes of the handshake.
        """


class PlainCover:
    """
    The frames of versions up to 3, which are not encrypted.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def cover(self, body: bytes) -> bytes:
        """See L{HandshakeCover}."""
        return body

    def uncover(self, body: bytes) -> bytes:
        """See L{HandshakeCover}."""
        return body

    def session_keys(self, transcript: bytes) -> tuple[bytes, bytes]:
        """See L{HandshakeCover}."""
        return (
            derive(self._secret, b"frames", transcript, b"I"),
            derive(self._secret, b"frames", transcript, b"R"),
        )


class EncryptedCover:
    """
    The frames of version 4, which are encrypted.
    """

    def __init__(self, secret: bytes, shared: bytes, openings: bytes, *, initiates: bool) -> None:
        """
        @param shared: see L{EphemeralKey.shared_with}.
        @param openings: the first two bodies of the handshake.
        @param initiates: whether this is the initiator's side.
        """
        # The shared part has one length, so that no two pairs give the same bytes.
        self._material = shared + secret
        initiator = NumberedCipher(self._derive(openings, b"handshake I"))
        responder = NumberedCipher(self._derive(openings, b"handshake R"))
        self._own, self._other = (initiator, responder) if initiates else (responder, initiator)

    def cover(self, body: bytes) -> bytes:
        """See L{HandshakeCover}."""
        return _COVERED + self._own.encrypt(body, _COVERED)

    def uncover(self, body: bytes) -> bytes:
        """See L{HandshakeCover}."""
        if body[:1] != _COVERED:
            raise FrameError("a frame of the handshake is not encrypted")
        return self._other.decrypt(body[1:], _COVERED)

    def session_keys(self, transcript: bytes) -> tuple[bytes, bytes]:
        """See L{HandshakeCover}."""
        return self._derive(transcript, b"frames I"), self._derive(transcript, b"frames R")

    def _derive(self, transcript: bytes, label: bytes) -> bytes:
        return HKDF(
            algorithm=SHA256(),
            length=KEY_SIZE,
            salt=sha256(transcript).digest(),
            info=b"alacrity cluster 4 " + label,
        ).derive(self._material)


def derive(secret: bytes, purpose: bytes, transcript: bytes, side: bytes) -> bytes:
    """
    HKDF (RFC 5869) for one block: extract from the secret, expand to a label.
    """
    salt = b"alacrity cluster " + purpose + sha256(transcript).digest()
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, side + b"\x01", "sha256")
