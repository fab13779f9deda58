"""
L{alacrity.cluster.log.recovery}: logs that are damaged or cut off.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.errors import DamagedLog
from alacrity.cluster.log.records import (
    HEADER_SIZE,
    Append,
    MalformedLog,
    Term,
    encode_frame,
    encode_header,
    parse_log,
)
from alacrity.cluster.log.storage import NAME
from tests.support.fake_files import FakeFiles
from tests.support.logs import (
    INCARNATION,
    filled,
    opened,
)


class DamageTests(SynchronousTestCase):
    """
    Files whose bytes are not as they were written.
    """

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_flipped_bit(self, data: st.DataObject) -> None:
        """
        A wrong bit before the last frame is reported; a last frame with one is dropped.
        """
        files = filled()
        content = files.content()[NAME]
        last = parse_log(content).frames[-1][0]
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        disk = FakeFiles({NAME: bytes(damaged)})
        if bit // 8 < last:
            with self.assertRaises(DamagedLog) as caught:
                opened(disk)
            message = str(caught.exception)
            self.assertIn("/fake/raft.log is damaged at byte ", message)
            self.assertNotIn("\n", message)
            self.assertEqual(disk.content(), {NAME: bytes(damaged)})
        else:
            with capturedLogs() as logs:
                storage = opened(disk)
            self.assertEqual([e["log_level"] for e in logs], [LogLevel.warn])
            self.assertEqual(storage.peers, {})
            self.assertEqual(len(storage), 3)

    def test_cut_off(self) -> None:
        """
        A last frame that is cut off at any byte is dropped.
        """
        content = filled().content()[NAME]
        last = parse_log(content).frames[-1][0]
        for end in range(last + 1, len(content)):
            with capturedLogs() as logs:
                storage = opened(FakeFiles({NAME: content[:end]}))
            self.assertIn(f"{end - last} bytes from byte {last}", eventAsText(logs[0]))
            self.assertEqual(len(storage), 3)

    def test_short_header(self) -> None:
        """
        A file with a part of a header is damaged: the header was whole when the file got
        its name.
        """
        content = filled().content()[NAME]
        for end in range(HEADER_SIZE):
            self.assertRaises(DamagedLog, opened, FakeFiles({NAME: content[:end]}))

    def test_first_frame(self) -> None:
        """
        A file without its whole first frame is damaged: a node that lost it does not know
        how it voted.
        """
        content = filled().content()[NAME]
        second = parse_log(content).frames[1][0]
        flipped = bytearray(content[:second])
        flipped[-1] ^= 1
        for damaged in (bytes(flipped), *(content[:end] for end in range(HEADER_SIZE, second))):
            self.assertRaises(DamagedLog, opened, FakeFiles({NAME: damaged}))

    def test_zeros(self) -> None:
        """
        Zeros at the end, as file systems leave them, are a torn frame.
        """
        content = filled().content()[NAME]
        with capturedLogs():
            storage = opened(FakeFiles({NAME: content + bytes(5000)}))
        self.assertEqual(storage.peers, {"b": INCARNATION[::-1]})

    def test_repeated_frame(self) -> None:
        """
        A repeated frame is damage, not a torn write.
        """
        content = filled().content()[NAME]
        last = parse_log(content).frames[-1][0]
        self.assertRaises(MalformedLog, parse_log, content + content[last:])

    def test_contradiction(self) -> None:
        """
        A log with a gap is damaged, even if its checksums are right.
        """
        content = encode_header(INCARNATION)
        content += encode_frame(INCARNATION, 1, [Append(1, 0, b""), Append(3, 0, b"")])
        with self.assertRaisesRegex(DamagedLog, "entry 3 follows entry 1"):
            opened(FakeFiles({NAME: content}))

    def test_other_records(self) -> None:
        """
        Unknown records are not skipped.
        """
        good = encode_frame(INCARNATION, 1, [Term(7, None)])
        self.assertIn(b"\x93\xa4term", good)
        with self.assertRaisesRegex(MalformedLog, "header|checksum|frame"):
            parse_log(encode_header(INCARNATION) + good.replace(b"term", b"team") + good)
