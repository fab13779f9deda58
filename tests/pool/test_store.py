"""
L{alacrity.pool.store}: the file that the pool was in formerly.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import HttpCheck, Pool, Server, State, TcpCheck
from alacrity.pool.store import Damaged, decode
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

NOW = 1700000000.0


class DecodeTests(SynchronousTestCase):
    """
    L{decode}.
    """

    def test_golden(self) -> None:
        """
        Format 1 is read as it always was.
        """
        self.assertEqual(decode(POOL_1.read_bytes()), POOL)

    @given(st.data())
    def test_any_damage_is_found(self, data: st.DataObject) -> None:
        """
        Whichever byte is changed, and wherever the file ends, it is not mistaken for
        another pool.
        """
        content = bytearray(POOL_1.read_bytes())
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

    def test_faults(self) -> None:
        """
        What cannot be used, is told.
        """
        wrong = msgspec.json.encode(Pool(servers={"nobody": POOL.servers["10.0.0.7:8080"]}))
        for content, fault in (
            (b"", "truncated"),
            (b"pool", "malformed"),
            (b"[" * 100_000, ""),
            (POOL_1.read_bytes().replace(b'"up"', b'"UP"'), "its checksum is wrong"),
            (kept(b"{}", format=2), "it has format 2; known here: up to 1"),
            (kept(wrong), "server 10.0.0.7:8080 stands under the id 'nobody'"),
        ):
            with self.assertRaises(Damaged) as caught:
                decode(content)
            self.assertIn(fault, str(caught.exception))


def kept(pool: bytes, *, format: int = 1) -> bytes:
    """
    The content of a file.
    """
    checksum = f"sha256:{sha256(pool).hexdigest()}"
    document = {"format": format, "checksum": checksum, "pool": msgspec.Raw(pool)}
    return msgspec.json.encode(document) + b"\n"
