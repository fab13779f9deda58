"""
L{alacrity.cluster.wire.frames}: only the frame that the peer sent next is opened.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.frames import (
    LONGEST_PAYLOAD,
    MAC_SIZE,
    FrameError,
    FrameSplitter,
    Opener,
    Sealer,
    handshake_frame,
)

KEY = b"k" * 32
PAYLOADS = st.lists(st.binary(max_size=100), min_size=1, max_size=6)


def opened(data: bytes, key: bytes = KEY, piece: int = 0) -> tuple[list[bytes], bool]:
    """
    The payloads in the bytes that come in, and whether a frame was refused.
    """
    splitter = FrameSplitter(LONGEST_PAYLOAD + MAC_SIZE)
    opener = Opener(key)
    payloads = []
    size = piece or max(1, len(data))
    try:
        for start in range(0, len(data), size):
            splitter.add(data[start : start + size])
            while (body := splitter.take_body()) is not None:
                payloads.append(opener.open(body))
    except FrameError:
        return payloads, True
    return payloads, False


class FramesTests(SynchronousTestCase):
    @given(PAYLOADS, st.integers(0, 9))
    def test_round_trip(self, payloads: list[bytes], piece: int) -> None:
        """
        All payloads arrive, wherever the bytes are split on the way.
        """
        sealer = Sealer(KEY)
        data = b"".join(map(sealer.seal, payloads))
        self.assertEqual(opened(data, piece=piece), (payloads, False))

    @given(PAYLOADS, st.data())
    def test_flipped_bit(self, payloads: list[bytes], data: st.DataObject) -> None:
        """
        The frames before a wrong bit are opened; the frame with it and all after it are
        refused.
        """
        sealer = Sealer(KEY)
        frames = [sealer.seal(each) for each in payloads]
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
        sealer = Sealer(KEY)
        frames = [sealer.seal(each) for each in payloads]
        order = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=8))
        found, refused = opened(b"".join(frames[n] for n in order))
        right = 0
        while right < len(order) and order[right] == right:
            right += 1
        self.assertEqual((found, refused), (payloads[:right], right < len(order)))

    def test_other_key(self) -> None:
        """
        A frame of the other direction, or of another connection, is refused.
        """
        self.assertEqual(opened(Sealer(b"other" * 7).seal(b"payload")), ([], True))

    @given(st.binary(max_size=200))
    def test_garbage(self, garbage: bytes) -> None:
        self.assertEqual(opened(garbage)[0], [])

    def test_short_body(self) -> None:
        """
        A body that is shorter than a MAC is refused.
        """
        for length in range(MAC_SIZE):
            self.assertEqual(opened(handshake_frame(bytes(length))), ([], True))

    def test_too_long(self) -> None:
        """
        A length that is too great is refused before memory is taken for the body.
        """
        splitter = FrameSplitter()
        splitter.add((1025).to_bytes(4))
        with self.assertRaises(FrameError) as caught:
            splitter.take_body()
        self.assertEqual(str(caught.exception), "a frame of more than 1024 bytes")

    def test_too_long_is_one_fault(self) -> None:
        """
        The fault does not depend on the length, so that it is logged once.
        """
        faults = set()
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4, b"\x16\x03\x01\x02"):
            splitter = FrameSplitter()
            splitter.add(garbage)
            with self.assertRaises(FrameError) as caught:
                splitter.take_body()
            faults.add(str(caught.exception))
        self.assertEqual(len(faults), 1)

    def test_longest(self) -> None:
        payload = bytes(LONGEST_PAYLOAD)
        self.assertEqual(opened(Sealer(KEY).seal(payload)), ([payload], False))
        self.assertEqual(opened(Sealer(KEY).seal(payload + b"x")), ([], True))

    def test_partial(self) -> None:
        splitter = FrameSplitter()
        self.assertFalse(splitter.partial)
        splitter.add(handshake_frame(b"body")[:-1])
        self.assertIsNone(splitter.take_body())
        self.assertTrue(splitter.partial)
        splitter.add(b"y")
        self.assertEqual(splitter.take_body(), b"body")
        self.assertFalse(splitter.partial)
