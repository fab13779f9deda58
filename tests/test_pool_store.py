"""
L{alacrity.pool.store}: the pool's file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import HttpCheck, Pool, Server, State, TcpCheck
from alacrity.pool.store import NAME, Damaged, StateError, decode, encode, load, save
from tests.pools import POOLS

GOLDEN = Path(__file__).parent / "golden" / "pool-1.json"

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

NOW = 1700000000.0


class StoreTests(SynchronousTestCase):
    """
    L{load} and L{save}.
    """

    def setUp(self) -> None:
        """
        A state directory that is not there yet.
        """
        # Not mktemp: under pytest, that would be in the working directory.
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name) / "state"
        self.path = self.directory / NAME

    def aside(self) -> list[str]:
        """
        What else is in the directory.
        """
        return sorted(path.name for path in self.directory.iterdir() if path.name != NAME)

    def load_damaged(self, content: bytes) -> str:
        """
        Load what cannot be used.

        @return: what is logged.
        """
        self.directory.mkdir(parents=True)
        self.path.write_bytes(content)
        with capturedLogs() as logged:
            self.assertEqual(load(self.directory, lambda: NOW), Pool())
        [event] = logged
        self.assertEqual(event["log_level"], LogLevel.error)
        [name] = self.aside()
        self.assertEqual(name, "pool.json.damaged-20231114T221320Z")
        self.assertEqual((self.directory / name).read_bytes(), content)
        self.assertFalse(self.path.exists())
        return eventAsText(event, includeTimestamp=False, includeSystem=False)

    def test_nothing_saved(self) -> None:
        """
        Without a file, the pool is empty. The directory is made, for the owner only.
        """
        with capturedLogs() as logged:
            self.assertEqual(load(self.directory), Pool())
        self.assertEqual(logged, [])
        self.assertEqual(stat.S_IMODE(self.directory.stat().st_mode), 0o700)
        self.assertEqual(self.aside(), [])

    def test_saved(self) -> None:
        """
        What was saved last is loaded; nothing else is left behind.
        """
        load(self.directory)
        save(self.directory, Pool())
        save(self.directory, POOL)
        self.assertEqual(load(self.directory), POOL)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(self.aside(), [])

    def test_golden(self) -> None:
        """
        Format 1 is read as it always was, and written so too. (If this fails, there
        must be a format 2; leave the golden file alone.)
        """
        self.assertEqual(decode(GOLDEN.read_bytes()), POOL)
        self.assertEqual(encode(POOL), GOLDEN.read_bytes())

    @given(POOLS)
    def test_round_trip(self, pool: Pool) -> None:
        """
        Any pool is read as it was written.
        """
        self.assertEqual(decode(encode(pool)), pool)

    @given(st.data())
    def test_any_damage_is_found(self, data: st.DataObject) -> None:
        """
        Whichever byte is changed, and wherever the file ends, it is not mistaken for
        another pool.
        """
        content = bytearray(encode(POOL))
        at = data.draw(st.integers(0, len(content) - 2))
        if data.draw(st.booleans()):
            del content[at:]
        else:
            content[at] ^= data.draw(st.integers(1, 255))
        try:
            pool = decode(bytes(content))
        except Damaged:
            return
        self.assertEqual(pool, POOL)

    def test_truncated(self) -> None:
        """
        A truncated file is set aside.
        """
        self.assertIn("truncated", self.load_damaged(encode(POOL)[:-20]))

    def test_empty(self) -> None:
        """
        So is an empty one.
        """
        self.load_damaged(b"")

    def test_not_json(self) -> None:
        """
        And one that is something else.
        """
        self.load_damaged(b"\x00\xff" * 100)

    def test_deeply_nested(self) -> None:
        """
        And one made to exhaust the stack.
        """
        self.load_damaged(b'{"format":1,"checksum":"","pool":' + b"[" * 100_000)

    def test_wrong_checksum(self) -> None:
        """
        And one in which something was changed.
        """
        changed = encode(POOL).replace(b'"weight":256', b'"weight":255')
        self.assertIn("checksum", self.load_damaged(changed))

    def test_newer_format(self) -> None:
        """
        A file of a newer version is set aside, and the log says so.
        """
        text = self.load_damaged(b'{"format": 2, "servers": []}')
        self.assertIn("it has format 2; known here: up to 1", text)
        self.assertIn("pool.json.damaged-20231114T221320Z", text)

    def test_nothing_set_aside_is_overwritten(self) -> None:
        """
        Two damaged files in one second get two names.
        """
        self.load_damaged(b"1")
        self.path.write_bytes(b"2")
        with capturedLogs():
            load(self.directory, lambda: NOW)
        names = self.aside()
        self.assertEqual(
            names, ["pool.json.damaged-20231114T221320Z", "pool.json.damaged-20231114T221320Z-2"]
        )
        self.assertEqual([(self.directory / name).read_bytes() for name in names], [b"1", b"2"])

    def test_directory_cannot_be_made(self) -> None:
        """
        One line says what is wrong.
        """
        self.directory.write_bytes(b"")
        directory = self.directory / "below"
        error = self.assertRaises(StateError, load, directory)
        self.assertIn(str(directory), str(error))
        self.assertIn("Not a directory", str(error))
        self.assertNotIn("\n", str(error))

    def test_directory_cannot_be_written(self) -> None:
        """
        That is found at the start, not at the first registration.
        """
        with patch("os.open", side_effect=PermissionError(13, "Permission denied")):
            error = self.assertRaises(StateError, load, self.directory)
        self.assertIn("Permission denied", str(error))

    def test_failed_save_leaves_the_old_file(self) -> None:
        """
        Wherever a write breaks off, the pool before it is there.
        """
        load(self.directory)
        save(self.directory, POOL)
        for broken in ("os.open", "os.fsync"):
            with patch(broken, side_effect=OSError(28, "No space left on device")):
                self.assertRaises(OSError, save, self.directory, Pool())
            self.assertEqual(load(self.directory), POOL)

    def test_order_of_writing(self) -> None:
        """
        The content is on disk before it gets its name, the name before L{save} ends.
        """
        load(self.directory)
        steps: list[str] = []
        fsync, replace = os.fsync, Path.replace

        def note_fsync(descriptor: int) -> None:
            kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            steps.append(kind)
            fsync(descriptor)

        def note_replace(path: Path, target: Path) -> Path:
            steps.append("rename")
            return replace(path, target)

        with patch("os.fsync", note_fsync), patch.object(Path, "replace", note_replace):
            save(self.directory, POOL)
        self.assertEqual(steps, ["file", "rename", "directory"])
