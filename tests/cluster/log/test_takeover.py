"""
L{alacrity.cluster.log.takeover}: the former pool file.
"""

from __future__ import annotations

from hashlib import sha256
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.storage import NAME, LogEntry, Snapshot
from alacrity.cluster.log.takeover import (
    FORMER_POOL_FILE,
    TAKEN_OVER,
    MalformedPoolFile,
    decode_pool_file,
)
from alacrity.pool import HttpCheck, Pool, Server, State, TcpCheck
from tests.support.fake_files import Crashed, FakeFiles
from tests.support.logs import MEMBERS, filled, opened, state_of
from tests.support.places import GOLDEN

POOL_1 = GOLDEN / "pool-1.json"

POOL = Pool(
    index=7,
    servers={
        "10.0.0.7:8080": Server(
            ip="10.0.0.7",
            port=8080,
            check=TcpCheck(),
            weight=1,
            state=State.UP,
            reason="connected",
            since=1700000001.5,
            registered=1700000000.25,
            revision=1,
        ),
        "2001:db8::1:443": Server(
            ip="2001:db8::1",
            port=443,
            check=HttpCheck(
                path="/health",
                status=(200, 204),
                host="example.org",
                interval=2.5,
                timeout=1.0,
                rise=3,
                fall=4,
                port=8443,
            ),
            weight=256,
            state=State.DOWN,
            reason="answered 503",
            since=1700000002.0,
            registered=1700000000.5,
            revision=4,
        ),
    },
)
"""The pool in the golden file."""


class DecodeTests(SynchronousTestCase):
    """
    L{decode_pool_file}.
    """

    def test_golden(self) -> None:
        """
        Format 1 is read.
        """
        self.assertEqual(decode_pool_file(POOL_1.read_bytes()), POOL)

    @given(st.data())
    def test_any_damage_is_found(self, data: st.DataObject) -> None:
        """
        A file with one byte changed, or cut off anywhere, is refused or means the same
        pool.
        """
        content = bytearray(POOL_1.read_bytes())
        at = data.draw(st.integers(0, len(content) - 2))
        if data.draw(st.booleans()):
            del content[at:]
        else:
            content[at] ^= data.draw(st.integers(1, 255))
        try:
            pool = decode_pool_file(bytes(content))
        except MalformedPoolFile:
            return
        self.assertEqual(pool, POOL)

    def test_faults(self) -> None:
        """
        The fault of an unusable file is named.
        """
        wrong = msgspec.json.encode(Pool(servers={"nobody": POOL.servers["10.0.0.7:8080"]}))
        for content, fault in (
            (b"", "truncated"),
            (b"pool", "malformed"),
            (b"[" * 100_000, ""),
            (POOL_1.read_bytes().replace(b'"up"', b'"UP"'), "its checksum is wrong"),
            (pool_file(b"{}", format=2), "it has format 2; known here: up to 1"),
            (pool_file(wrong), "server 10.0.0.7:8080 has the key 'nobody'"),
        ):
            with self.assertRaises(MalformedPoolFile) as caught:
                decode_pool_file(content)
            self.assertIn(fault, str(caught.exception))


def pool_file(pool: bytes, *, format: int = 1) -> bytes:
    """
    The content of a former pool file.
    """
    checksum = f"sha256:{sha256(pool).hexdigest()}"
    document = {"format": format, "checksum": checksum, "pool": msgspec.Raw(pool)}
    return msgspec.json.encode(document) + b"\n"


class TakeOverTests(SynchronousTestCase):
    """
    The take-over of the former pool file, L{Storage.open}'s C{first}.
    """

    def first(self, pool: Pool) -> tuple[Snapshot, list[LogEntry]]:
        self.pool = pool
        snapshot = Snapshot(b"the pool", 2, 0, MEMBERS[:1], (1, 0))
        return snapshot, [(b"\1", 1, 0), (b"\1", 2, 0)]

    def test_taken_over(self) -> None:
        content = POOL_1.read_bytes()
        files = FakeFiles({FORMER_POOL_FILE: content})
        with capturedLogs() as logs:
            storage = opened(files, first=self.first)
        self.assertEqual(self.pool, POOL)
        self.assertEqual(storage.getRaftCommitIndex(), 2)
        survivors = files.crash()
        self.assertEqual(set(survivors.content()), {NAME, TAKEN_OVER})
        self.assertEqual(survivors.content()[TAKEN_OVER], content)
        self.assertEqual(state_of(opened(survivors, first=self.first)), state_of(storage))
        self.assertIn("is taken over", eventAsText(logs[0]))

    def test_any_crash(self) -> None:
        """
        The pool is in one of the two files, at whatever operation the machine stops.
        """
        for crash_at in range(8):
            files = FakeFiles({FORMER_POOL_FILE: POOL_1.read_bytes()})
            files.crash_at = crash_at
            with capturedLogs():
                try:
                    opened(files, first=self.first)
                except Crashed:
                    pass
                storage = opened(files.crash(Random(crash_at)), first=self.first)
            self.assertEqual(self.pool, POOL)
            self.assertIsNotNone(storage.snapshot)

    def test_not_asked_for(self) -> None:
        files = FakeFiles({FORMER_POOL_FILE: POOL_1.read_bytes()})
        self.assertIsNone(opened(files).snapshot)
        self.assertIn(FORMER_POOL_FILE, files.content())

    def test_nothing_there(self) -> None:
        self.assertIsNone(opened(FakeFiles(), first=self.first).snapshot)

    def test_damaged(self) -> None:
        """
        A damaged file is put aside as well, and the pool is empty.
        """
        files = FakeFiles({FORMER_POOL_FILE: b"{"})
        with capturedLogs() as logs:
            opened(files, first=self.first)
        self.assertEqual(self.pool, Pool())
        self.assertIn("cannot be used", eventAsText(logs[0]))
        self.assertEqual(files.content()[TAKEN_OVER], b"{")

    def test_log_wins(self) -> None:
        files = filled()
        disk = FakeFiles({**files.content(), FORMER_POOL_FILE: POOL_1.read_bytes()})
        with capturedLogs() as logs:
            storage = opened(disk, first=self.first)
        self.assertEqual(len(storage), 3)
        self.assertIn("is ignored, because", eventAsText(logs[0]))
