"""
L{alacrity.cluster.wire.encryption}: only the frame that the peer encrypted next is opened.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.encryption import (
    LONGEST_PIECE,
    TAG_SIZE,
    DecryptingOpener,
    EncryptingSealer,
    NumberedCipher,
)
from alacrity.cluster.wire.frames import LENGTH, LONGEST_PAYLOAD, FrameError, FrameSplitter

KEY = b"k" * 32
PAYLOADS = st.lists(st.binary(max_size=100), min_size=1, max_size=6)


def opened(data: bytes, key: bytes = KEY, piece: int = 0) -> tuple[list[bytes], bool]:
    """
    The payloads in the bytes that come in, and whether a frame was refused.
    """
    opener = DecryptingOpener(key)
    splitter = FrameSplitter(opener.longest)
    payloads = []
    size = piece or max(1, len(data))
    try:
        for start in range(0, len(data), size):
            splitter.add(data[start : start + size])
            while (body := splitter.take_body()) is not None:
                payload = opener.open(body)
                if payload is not None:
                    payloads.append(payload)
    except FrameError:
        return payloads, True
    return payloads, False


def frames_of(payloads: list[bytes], key: bytes = KEY) -> list[bytes]:
    """
    The frames of payloads.
    """
    sealer = EncryptingSealer(key)
    return [
        sealer.seal(payload, start)
        for payload in payloads
        for start in range(0, max(1, len(payload)), LONGEST_PIECE)
    ]


class EncryptionTests(SynchronousTestCase):
    """
    Payloads of one piece.
    """

    @given(PAYLOADS, st.integers(0, 9))
    def test_round_trip(self, payloads: list[bytes], piece: int) -> None:
        """
        All payloads arrive, wherever the bytes are split on the way.
        """
        data = b"".join(frames_of(payloads))
        self.assertEqual(opened(data, piece=piece), (payloads, False))

    @given(st.binary(min_size=8, max_size=200))
    def test_nothing_is_readable(self, payload: bytes) -> None:
        """
        No frame has the payload in it, and the same payload never looks the same.
        """
        one, two = frames_of([payload, payload])
        self.assertNotIn(payload, one + two)
        self.assertNotEqual(one, two)

    def test_format(self) -> None:
        """
        A frame is the length, and what RFC 8439 makes of the text, under the frame's number.
        """
        frames = frames_of([b"", b"payload"])
        for number, text in enumerate((b"\0", b"\0payload")):
            length = (len(text) + TAG_SIZE).to_bytes(LENGTH)
            nonce = bytes(4) + number.to_bytes(8)
            expected = ChaCha20Poly1305(KEY).encrypt(nonce, text, length)
            self.assertEqual(frames[number], length + expected)

    @given(PAYLOADS, st.data())
    def test_flipped_bit(self, payloads: list[bytes], data: st.DataObject) -> None:
        """
        The frames before a wrong bit are opened; the frame with it and all after it are
        not.
        """
        frames = frames_of(payloads)
        content = bytearray(b"".join(frames))
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
        found, _ = opened(bytes(content))
        whole, end = 0, 0
        for each in frames:
            end += len(each)
            if bit // 8 < end:
                break
            whole += 1
        self.assertEqual(found, payloads[:whole])

    @given(st.lists(st.binary(max_size=20), min_size=2, max_size=5, unique=True), st.data())
    def test_order(self, payloads: list[bytes], data: st.DataObject) -> None:
        """
        A frame that is repeated, left out or moved is refused, and so is all after it.
        """
        frames = frames_of(payloads)
        order = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=8))
        found, refused = opened(b"".join(frames[n] for n in order))
        right = 0
        while right < len(order) and order[right] == right:
            right += 1
        self.assertEqual((found, refused), (payloads[:right], right < len(order)))

    @given(PAYLOADS, st.data())
    def test_cut_short(self, payloads: list[bytes], data: st.DataObject) -> None:
        """
        A frame whose body ends early, with a length that says so, is refused.
        """
        frames = frames_of(payloads)
        which = data.draw(st.integers(0, len(frames) - 1))
        size = data.draw(st.integers(0, len(frames[which]) - LENGTH - 1))
        frames[which] = size.to_bytes(LENGTH) + frames[which][LENGTH : LENGTH + size]
        self.assertEqual(opened(b"".join(frames)), (payloads[:which], True))

    def test_other_key(self) -> None:
        """
        A frame of the other direction, or of another connection, is refused.
        """
        self.assertEqual(opened(frames_of([b"payload"], b"o" * 32)[0]), ([], True))

    @given(st.binary(max_size=200))
    def test_garbage(self, garbage: bytes) -> None:
        self.assertEqual(opened(garbage)[0], [])


class PiecesTests(SynchronousTestCase):
    """
    Payloads of several pieces.
    """

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 5 * LONGEST_PIECE), max_size=4))
    def test_round_trip(self, sizes: list[int]) -> None:
        payloads = [bytes([n]) * size for n, size in enumerate(sizes)]
        frames = frames_of(payloads)
        self.assertLessEqual(max(map(len, frames), default=0), LENGTH + DecryptingOpener.longest)
        self.assertEqual(opened(b"".join(frames), piece=50_000), (payloads, False))

    def test_number_of_pieces(self) -> None:
        for size, count in (
            (0, 1),
            (LONGEST_PIECE, 1),
            (LONGEST_PIECE + 1, 2),
            (3 * LONGEST_PIECE, 3),
        ):
            self.assertEqual(len(frames_of([bytes(size)])), count)

    def test_cut_off(self) -> None:
        """
        A payload of which the last piece is missing is not told, nor is it joined with the next.
        """
        first, second = frames_of([bytes(LONGEST_PIECE + 1)])
        self.assertEqual(opened(first), ([], False))
        [other] = frames_of([b"other"])
        self.assertEqual(opened(first + other), ([], True))
        self.assertEqual(opened(second), ([], True))

    def test_longest(self) -> None:
        payload = bytes(LONGEST_PAYLOAD)
        self.assertEqual(opened(b"".join(frames_of([payload]))), ([payload], False))
        self.assertEqual(opened(b"".join(frames_of([payload + b"x"]))), ([], True))

    def test_one_after_the_other(self) -> None:
        """
        The bound is that of one payload, not of all together.
        """
        payloads = [bytes([n]) * (LONGEST_PAYLOAD // 2 + 1) for n in range(3)]
        self.assertEqual(opened(b"".join(frames_of(payloads))), (payloads, False))

    def test_endless(self) -> None:
        """
        The memory for a payload that does not end is bounded.
        """
        sealer = EncryptingSealer(KEY)
        opener = DecryptingOpener(KEY)
        endless = bytes(2 * LONGEST_PAYLOAD)
        with self.assertRaises(FrameError):
            for _ in range(LONGEST_PAYLOAD // LONGEST_PIECE + 1):
                opener.open(sealer.seal(endless)[LENGTH:])

    def test_unknown_mark(self) -> None:
        for text in (b"", b"\2", b"\2payload"):
            length = (len(text) + TAG_SIZE).to_bytes(LENGTH)
            body = NumberedCipher(KEY).encrypt(text, length)
            self.assertEqual(opened(length + body), ([], True))
