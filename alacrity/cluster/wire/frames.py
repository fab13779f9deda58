"""
Frames between nodes, and the seal that proves them. Without I/O.

A frame is the length of its body, in 4 bytes, and the body. After the handshake, a
body is a payload and an HMAC-SHA256 of the frame's number, the length and the payload.
The number is not sent: both sides count. Each direction of each connection has a key of
its own. So a frame that is changed, repeated, left out, swapped, sent back or taken
from another connection does not open, and nothing of its payload was looked at by then.
"""

from __future__ import annotations

import hmac
from typing import Final

MAC_SIZE: Final = 32

LONGEST_HANDSHAKE: Final = 1024
"""Bytes that a body may have before the peer has proven anything."""

LONGEST_PAYLOAD: Final = 8 << 20
"""Bytes that a payload between members may have."""

_LENGTH: Final = 4


class FrameError(Exception):
    """
    The bytes that came in are not what the peer sent, or the peer is no node. Nothing that
    follows can be trusted. The message says what is wrong.
    """


class FrameSplitter:
    """
    Splits the bytes that come in into the bodies of frames.
    """

    def __init__(self, longest: int = LONGEST_HANDSHAKE) -> None:
        """
        @param longest: bytes that a body may have.
        """
        self._longest = longest
        self._buffer = bytearray()

    def set_longest(self, longest: int) -> None:
        """
        Change how many bytes a body may have.
        """
        self._longest = longest

    def add(self, data: bytes) -> None:
        """
        Add bytes that came in. Call L{take_body} until it has no more.
        """
        self._buffer += data

    def take_body(self) -> bytes | None:
        """
        Remove the next body, and return it; L{None}: it is not complete yet.

        @raise FrameError: it is too long; this is known before it comes in.
        """
        buffer = self._buffer
        if len(buffer) < _LENGTH:
            return None
        length = int.from_bytes(buffer[:_LENGTH])
        if length > self._longest:
            # Without the length: a stranger's garbage is one warning, not one each time.
            raise FrameError(f"a frame of more than {self._longest} bytes")
        end = _LENGTH + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[_LENGTH:end])
        del buffer[:end]
        return body

    @property
    def partial(self) -> bool:
        """
        Whether a part of a frame has come in.
        """
        return bool(self._buffer)


def handshake_frame(body: bytes) -> bytes:
    """
    The frame of a body without a seal, as in the handshake.
    """
    return len(body).to_bytes(_LENGTH) + body


class Sealer:
    """
    Maker of the sealed frames of one direction.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def seal(self, payload: bytes) -> bytes:
        """
        Make the next frame.

        @param payload: of at most L{LONGEST_PAYLOAD} bytes.
        """
        length = (len(payload) + MAC_SIZE).to_bytes(_LENGTH)
        mac = _mac(self._key, self._number, payload)
        self._number += 1
        return b"".join((length, payload, mac))


class Opener:
    """
    Verifier of the sealed frames of one direction.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def open(self, body: bytes) -> bytes:
        """
        Verify the body of the next frame.

        @return: the payload in it.
        @raise FrameError: it is not the frame that the peer sent next.
        """
        payload, mac = body[:-MAC_SIZE], body[-MAC_SIZE:]
        if not hmac.compare_digest(mac, _mac(self._key, self._number, payload)):
            raise FrameError("a frame that is not the one its peer sent next")
        self._number += 1
        return payload


def _mac(key: bytes, number: int, payload: bytes) -> bytes:
    prefix = number.to_bytes(8) + len(payload).to_bytes(8)
    return hmac.digest(key, prefix + payload, "sha256")
