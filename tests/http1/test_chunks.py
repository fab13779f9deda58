"""
L{alacrity.http1.chunks}: content and trailers, however the bytes arrive.
"""

from __future__ import annotations

import gc
from random import Random
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.chunks import PIECES, SIZE_LINE, ChunkedBody
from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import MessageLimits

REST: Final = b"GET / HTTP/1.1\r\n"


def read(
    data: bytes, *cuts: int, limits: MessageLimits = MessageLimits()
) -> tuple[bytes, list[bytes], int]:
    """
    Read a body: content, trailers, and the offset of its end; -1: it is not complete.
    """
    got: list[bytes] = []
    body = ChunkedBody(limits, got.append)
    begun = 0
    for end in (*cuts, len(data)):
        piece, at = data[begun:end], 0
        while at < len(piece) and not body.complete:
            at = body.feed(piece, at)
        if body.complete:
            return b"".join(got), body.trailers, begun + at
        begun = end
    return b"".join(got), body.trailers, -1


class SizeTests(SynchronousTestCase):
    """
    The numbers on the lines before chunks.
    """

    def test_digits(self) -> None:
        """
        Fifteen digits may follow any number of zeros, up to the longest line; a line that is
        too long is refused as such, wherever it is cut.
        """
        zeros = SIZE_LINE - len(b"\r\n") - 1
        for data in (b"0" * zeros + b"2\r\nab\r\n0\r\n\r\n", b"000000000000002\r\nab\r\n0\r\n\r\n"):
            for cut in (1, 2, 14, 15, 16, len(data) - 12, len(data) - 1):
                self.assertEqual(read(data, cut)[0], b"ab")
        for size in (b"0" * 17 + b"f" * 15, b"f" * 15):
            read(size + b"\r\n")
        for data, status in (
            (b"f" * 16 + b"\r\n", 400),
            (b"1" + b"0" * 15 + b"\r\n", 400),
            (b"0" * 3000 + b"f" * 16, 400),
            (b"0" * (zeros + 1) + b"2\r\nab", 431),
            (b"0" * (zeros + 2) + b"2\r\nab", 431),
            (b"0" * 262144, 431),
            (b"5" + b";a" * 131072, 431),
            (b"0" * 14 + b"5" + b" " * 262144, 400),
        ):
            for cut in (0, 1, 15, 4000):
                error = self.assertRaises(ProtocolError, read, data, min(cut, len(data)))
                self.assertEqual(error.status, status, data[:20])


class ContentTests(SynchronousTestCase):
    """
    Well-formed bodies.
    """

    BODIES: Final = {
        b"0\r\n\r\n": b"",
        b"000\r\n\r\n": b"",
        b"0;a\r\n\r\n": b"",
        b"1\r\na\r\n0\r\n\r\n": b"a",
        b"01\r\na\r\nA\r\n0123456789\r\n00\r\n\r\n": b"a0123456789",
        b'f;a;b=c;d="\\"\t;\xff"\r\n012345678901234\r\n0\r\n\r\n': b"012345678901234",
        b"11\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n": b"\r\n" + b"0\r\n\r\n" * 3,
        b"10\r\n0123456789abcdef\r\n2\r\n\r\n\r\n11\r\n" + b"\r\n" * 8 + b"x\r\n0\r\n\r\n": (
            b"0123456789abcdef\r\n" + b"\r\n" * 8 + b"x"
        ),
        b"000000000000000000000000000000001\r\nx\r\n0\r\n\r\n": b"x",
        b"1000\r\n" + b"0\r\n\r\n\r\n" * 585 + b"x\r\n0\r\n\r\n": b"0\r\n\r\n\r\n" * 585 + b"x",
    }

    def test_any_cut(self) -> None:
        """
        Content and end are the same, wherever the data is split.
        """
        for data, content in self.BODIES.items():
            end = len(data)
            for rest in (b"", REST, b"\r\n", b"1\r\na\r\n"):
                self.assertEqual(read(data + rest), (content, [], end), data)
                for cut in range(1, min(end, 200)):
                    self.assertEqual(read(data + rest, cut), (content, [], end), (data, cut))
            self.assertEqual(read(data, *range(1, end)), (content, [], end), data)

    def test_random(self) -> None:
        """
        The same holds for random chunks of many sizes.
        """
        random = Random(1)
        for _ in range(300):
            chunks = [
                random.randbytes(random.choice((1, 2, 9, 15, 16, 17, 255, 256, 4097)))
                for _ in range(random.randrange(6))
            ]
            data = b"".join(
                b"%b%x%b\r\n%b\r\n"
                % (
                    b"0" * random.randrange(3),
                    len(chunk),
                    random.choice((b"", b";a", b';a="\\""')),
                    chunk,
                )
                for chunk in chunks
            )
            data += b"0\r\nX: y\r\n\r\n" + REST
            cuts = sorted(random.randrange(1, len(data)) for _ in range(random.randrange(5)))
            found = read(data, *cuts)
            self.assertEqual(found, (b"".join(chunks), [b"X: y"], len(data) - len(REST)))

    def test_turn(self) -> None:
        """
        The chunks that are read at once are bounded; their content comes in one piece.
        """
        for unit in (b"1\r\na\r\n", b"10\r\n" + b"a" * 16 + b"\r\n"):
            got: list[bytes] = []
            body = ChunkedBody(MessageLimits(), got.append)
            data = unit * (3 * PIECES)
            at = body.feed(data, 0)
            self.assertLessEqual(at, len(unit) * (PIECES + PIECES))
            self.assertEqual(len(got), 1)
            while at < len(data):
                at = body.feed(data, at)
            self.assertEqual(len(b"".join(got)), data.count(b"a"))


class CyclesTests(SynchronousTestCase):
    """
    The memory of bodies that were read, or in part.
    """

    def test_freed(self) -> None:
        """
        A body is freed at once, without the collector of cycles, wherever the data was
        split.
        """
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        whole = b"1\r\na\r\n0\r\nX: y\r\n\r\n"
        bare = b"1\r\na\r\n0\r\n\r\n"
        for data in (whole, bare, whole[:-3], whole[:-1], bare[:-1], b"0\r\nX : y\r\n\r\n"):
            for cut in range(1, len(data)):
                try:
                    read(data, cut)
                except ProtocolError:
                    pass
        self.assertEqual(gc.collect(), 0)


class FaultTests(SynchronousTestCase):
    """
    Bodies that are malformed, or have too much framing.
    """

    def refused(
        self, data: bytes, status: int = 400, limits: MessageLimits = MessageLimits()
    ) -> None:
        """
        Assert that a body is refused, as a whole and byte by byte.
        """
        for cuts in ((), range(1, len(data))):
            with self.assertRaises(ProtocolError, msg=data) as caught:
                read(data, *cuts, limits=limits)
            self.assertEqual(caught.exception.status, status, data[:60])

    def test_malformed(self) -> None:
        """
        Malformed sizes, extensions and line ends.
        """
        for data in (
            b"g\r\n",
            b"-1\r\n",
            b"0x1\r\n",
            b"1 \r\n",
            b"1\t;a\r\n",
            b" 1\r\n",
            b"1;\r\n",
            b"1; a\r\n",
            b"1;a=\r\n",
            b"1;=a\r\n",
            b"1;a;;b\r\n",
            b'1;a="\r\n',
            b'1;a="\x01"\r\n',
            b'1;a="x"y\r\n',
            b"1;a\x00\r\n",
            b"1;a\n\r\nx\r\n",
            b"1;a\rb\r\n",
            # Found by fuzzing: refused in pieces, and kept as a whole.
            b"5;x=" + b"\0" * 150,
            b"5;" + b"x" * 150 + b"\x7f",
            b"5;" + b"x" * 150 + b"\ry",
            b"1\nx",
            b"1\rx",
            b"\r\n",
            b"1234567890abcdef0\r\n",
            b"2\r\nabc\r\n",
            b"1\r\na\r1",
            b"1\r\na0",
            b"10\r\n0123456789abcdefg",
            b"1\r\nab1\r\nc\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\nX: y\nZ: a\r\n\r\n",
            b"0\r\n\n",
            b"0\n\n",
        ):
            self.refused(data)
            self.refused(b"1\r\na\r\n" + data)

    def test_too_much(self) -> None:
        """
        Size lines, all extensions together, and trailers are bounded.
        """
        self.refused(b"1;" + b"x" * SIZE_LINE + b"\r\n", 431)
        self.refused(b"1;" + b"x" * SIZE_LINE, 431)
        self.refused(b"0" * SIZE_LINE + b"1\r\n", 431)
        for run in (b"1\r\na\r\n", b"1;a\r\na\r\n1f\r\n" + b"x" * 31 + b"\r\n"):
            self.refused(run + b"1;" + b"x" * SIZE_LINE + b"\r\na\r\n", 431)
            self.refused(run + b"0" * SIZE_LINE + b"1\r\na\r\n" + run, 431)
        limits = MessageLimits(header_bytes=500, header_count=3)
        self.refused(b"1;aaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 60, 431, limits)
        self.refused(b"0\r\n" + b"X: y\r\n" * 5 + b"\r\n", 431, limits)
        self.refused(b"0\r\nX: " + b"y" * 500, 431, limits)

    def test_longest(self) -> None:
        """
        The longest that is allowed is read, also in two pieces.
        """
        line = b"1;" + b"x" * (SIZE_LINE - 4) + b"\r\n"
        data = line + b"a\r\n0\r\n\r\n"
        for cut in (1, 3, 4000, len(line) - 2, len(line) - 1, len(line)):
            self.assertEqual(read(data, cut)[0], b"a", cut)
