"""
The encryption of frames between nodes, since version 4 of the handshake. There is no I/O here.

Each frame is encrypted and authenticated by ChaCha20-Poly1305 (RFC 8439). Its nonce is the
frame's number, which is not sent, because both sides count. Each direction of each connection
has its own key, so that a nonce is used once; keys need no renewal before 2^64 frames. The
length before the frame is authenticated, too. So a frame that is changed, cut, repeated, left
out, moved, sent back, or taken from another connection is detected before its content is used,
and ends the connection.

A payload is sent in pieces of at most L{LONGEST_PIECE} bytes, each in a frame of its own. Thus
a long payload is encrypted, and decrypted, in several turns of the event loop. The first byte
in a frame says whether more pieces of the payload follow.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from alacrity.cluster.wire.frames import LENGTH, LONGEST_PAYLOAD, FrameError

TAG_SIZE: Final = 16
"""Bytes by which an encrypted text is longer than the text."""

LONGEST_PIECE: Final = 1 << 16
"""Bytes of a payload in one frame."""

_NONCE_SIZE: Final = 12
_LAST: Final = b"\0"
_MORE: Final = b"\1"


class NumberedCipher:
    """
    Encrypts, or decrypts, the texts of one direction, each under the next number.
    """

    __slots__ = ("_cipher", "_number")

    def __init__(self, key: bytes) -> None:
        """
        @param key: 32 bytes, used for nothing else.
        """
        self._cipher = ChaCha20Poly1305(key)
        self._number = 0

    def encrypt(self, text: bytes, associated: bytes) -> bytes:
        """
        Encrypt the next text.

        @param associated: bytes that the other side must know, and that are authenticated with
            the text.
        """
        encrypted = self._cipher.encrypt(self._number.to_bytes(_NONCE_SIZE), text, associated)
        self._number += 1
        return encrypted

    def decrypt(self, encrypted: bytes, associated: bytes) -> bytes:
        """
        Decrypt the next text.

        @raise FrameError: it is not the next one that the other side encrypted.
        """
        nonce = self._number.to_bytes(_NONCE_SIZE)
        try:
            text = self._cipher.decrypt(nonce, encrypted, associated)
        except InvalidTag:
            raise FrameError("a frame is not the next one that the peer sent") from None
        self._number += 1
        return text


class EncryptingSealer:
    """
    Makes the encrypted frames of one direction.

    @cvar piece: bytes of a payload in one frame.
    """

    __slots__ = ("_cipher",)

    piece = LONGEST_PIECE

    def __init__(self, key: bytes) -> None:
        self._cipher = NumberedCipher(key)

    def seal(self, payload: bytes, start: int = 0) -> bytes:
        """
        Make the next frame, with the piece of a payload that begins at an offset.

        @param payload: of at most L{LONGEST_PAYLOAD} bytes.
        """
        if len(payload) <= LONGEST_PIECE:
            text = _LAST + payload
        else:
            end = start + LONGEST_PIECE
            text = (_LAST if end >= len(payload) else _MORE) + payload[start:end]
        length = (len(text) + TAG_SIZE).to_bytes(LENGTH)
        return length + self._cipher.encrypt(text, length)


class DecryptingOpener:
    """
    Decrypts the frames of one direction, and joins the pieces of payloads.

    @cvar longest: bytes that the body of a frame may have.
    """

    __slots__ = ("_cipher", "_pieces", "_size")

    longest = 1 + LONGEST_PIECE + TAG_SIZE

    def __init__(self, key: bytes) -> None:
        self._cipher = NumberedCipher(key)
        self._pieces: list[bytes] = []
        self._size = 0

    def open(self, body: bytes) -> bytes | None:
        """
        Decrypt the body of the next frame.

        @return: the payload that ends in it; L{None}: more pieces follow.
        @raise FrameError: the frame is not the next one that the peer sent, or is not valid.
        """
        text = self._cipher.decrypt(body, len(body).to_bytes(LENGTH))
        mark, piece, pieces = text[:1], text[1:], self._pieces
        if mark == _LAST and not pieces:
            return piece
        if mark not in {_LAST, _MORE} or self._size + len(piece) > LONGEST_PAYLOAD:
            raise FrameError("a payload that is not valid, or too long")
        pieces.append(piece)
        self._size += len(piece)
        if mark == _MORE:
            return None
        payload = b"".join(pieces)
        pieces.clear()
        self._size = 0
        return payload
