"""
Frames between nodes, and the seal that authenticates them in versions 1 to 3 of the handshake.
There is no I/O here.

A frame is the length of its body, in 4 bytes, and the body. Since version 4, bodies are
encrypted after the handshake (see L{alacrity.cluster.wire.encryption}). Before, a body is a
payload and its seal: an HMAC-SHA256 of the frame's number, the length and the payload. The
number is not sent, because both sides count. Each direction of each connection has its own key.
So a frame that is changed, repeated, left out, swapped, sent back, or taken from another
connection is detected before its payload is decoded.
"""

from __future__ import annotations

import hmac
from typing import Final, Protocol

MAC_SIZE: Final = 32

LONGEST_HANDSHAKE: Final = 1024
"""Bytes that a body may have before the peer has proven its identity."""

LONGEST_PAYLOAD: Final = 8 << 20
"""Bytes that a payload between members may have."""

LENGTH: Final = 4
"""Bytes of the length before a body."""


class FrameError(Exception):
    """
    The received bytes are not those that the peer sent, or the peer is no node of the cluster.
    The bytes that follow cannot be trusted. The message is the fault.
    """


class FrameSealer(Protocol):
    """
    The frames of one direction, on the side that sends.
    """

    @property
    def piece(self) -> int:
        """Bytes of a payload in one frame."""

    def seal(self, payload: bytes, start: int = 0) -> bytes:
        """Make the next frame, with the piece of a payload that begins at an offset."""


class FrameOpener(Protocol):
    """
    The frames of one direction, on the side that receives.
    """

    @property
    def longest(self) -> int:
        """Bytes that the body of a frame may have."""

    def open(self, body: bytes) -> bytes | None:
        """
        Verify the body of the next frame.

        @return: the payload that ends in it; L{None}: more frames of the payload follow.
        @raise FrameError: the frame is not the next one that the peer sent.
        """


class FrameSplitter:
    """
    Splits received bytes into the bodies of frames.
    """

    def __init__(self, longest: int = LONGEST_HANDSHAKE) -> None:
        """
        @param longest: bytes that a body may have.
        """
        self._longest = longest
        self._buffer = bytearray()

    def set_longest(self, longest: int) -> None:
        """
        Set the number of bytes that a body may have.
        """
        self._longest = longest

    def add(self, data: bytes) -> None:
        """
        Add received bytes. Then call L{take_body} until it returns L{None}.
        """
        self._buffer += data

    def take_body(self) -> bytes | None:
        """
        Remove the next body, and return it; L{None}: it is not complete yet.

        @raise FrameError: the body is too long; this is raised before the body is received.
        """
        buffer = self._buffer
        if len(buffer) < LENGTH:
            return None
        length = int.from_bytes(buffer[:LENGTH])
        if length > self._longest:
            # The message lacks the length, so that random bytes from a stranger always give
            # the same warning, which is logged once.
            raise FrameError(f"a frame of more than {self._longest} bytes")
        end = LENGTH + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[LENGTH:end])
        del buffer[:end]
        return body

    @property
    def partial(self) -> bool:
        """
        Whether a part of a frame was received.
        """
        return bool(self._buffer)


def handshake_frame(body: bytes) -> bytes:
    """
    Make a frame without a seal, as in the handshake.
    """
    return len(body).to_bytes(LENGTH) + body


class Sealer:
    """
    Makes the sealed frames of one direction.

    @cvar piece: bytes of a payload in one frame: all of it.
    """

    piece = LONGEST_PAYLOAD

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def seal(self, payload: bytes, start: int = 0) -> bytes:
        """
        Make the next frame.

        @param payload: of at most L{LONGEST_PAYLOAD} bytes.
        """
        length = (len(payload) + MAC_SIZE).to_bytes(LENGTH)
        mac = _mac(self._key, self._number, payload)
        self._number += 1
        return b"".join((length, payload, mac))


class Opener:
    """
    Verifies the sealed frames of one direction.

    @cvar longest: bytes that the body of a frame may have.
    """

    longest = LONGEST_PAYLOAD + MAC_SIZE

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def open(self, body: bytes) -> bytes:
        """
        Verify the body of the next frame.

        @return: the payload in it.
        @raise FrameError: the frame is not the next one that the peer sent.
        """
        payload, mac = body[:-MAC_SIZE], body[-MAC_SIZE:]
        if not hmac.compare_digest(mac, _mac(self._key, self._number, payload)):
            raise FrameError("a frame is not the next one that the peer sent")
        self._number += 1
        return payload


def _mac(key: bytes, number: int, payload: bytes) -> bytes:
    prefix = number.to_bytes(8) + len(payload).to_bytes(8)
    return hmac.digest(key, prefix + payload, "sha256")
