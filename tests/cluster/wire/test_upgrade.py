"""
Nodes that encrypt, nodes that do not, and those who listen or interfere on the way.
"""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.formats import ENCRYPTED_FORMAT, NEWEST_FORMAT
from alacrity.cluster.wire.openings import ENCRYPTED_VERSION, VERSIONS, versions_at
from tests.support.wire_peers import Peer, WireTestCase

BEFORE = (1, ENCRYPTED_VERSION - 1)
ONLY = (ENCRYPTED_VERSION, ENCRYPTED_VERSION)


def _pretend_to_be_older(here: str, there: str, data: bytes) -> bytes:
    """
    Write the versions of the program before into an opening; other bytes stay.
    """
    if data[4:13] in {b"Halacrity", b"Calacrity"}:
        return data[:13] + b"".join(each.to_bytes(2) for each in BEFORE) + data[17:]
    return data


class VersionsAtTests(SynchronousTestCase):
    """
    L{versions_at}.
    """

    def test_by_format(self) -> None:
        """
        Older versions are spoken until the format says that no member needs them.
        """
        for format in range(1, NEWEST_FORMAT + 1):
            self.assertEqual(versions_at(format), ONLY if format >= ENCRYPTED_FORMAT else VERSIONS)


class ListenerTests(WireTestCase):
    """
    Somebody who records what passes.
    """

    def setUp(self) -> None:
        super().setUp()
        self.recorded = b""
        self.network.tap = self.record

    def record(self, here: str, there: str, data: bytes) -> bytes:
        self.recorded += data
        return data

    def exchange(self, a: Peer, b: Peer) -> None:
        """
        Have messages sent both ways, the longer one in pieces.
        """
        a.start()
        b.start()
        self.run_for(1)
        a.told.clear()
        b.told.clear()
        a.send("b", {"server": "10.11.12.13:8080"})
        b.send("a", {"data": b"10.11.12.13" * 20_000})
        self.run_for(0.5)
        self.assertEqual(b.messages(), [{"server": "10.11.12.13:8080"}])
        self.assertEqual(a.messages(), [{"data": b"10.11.12.13" * 20_000}])

    def test_encrypted(self) -> None:
        """
        Neither payloads nor incarnations can be read.
        """
        a, b = self.peer("a", "b"), self.peer("b", "a")
        self.exchange(a, b)
        self.assertEqual(a.link("b").session.version, ENCRYPTED_VERSION)  # type: ignore[union-attr]
        for text in (b"10.11.12.13", b"server", bytes.fromhex(a.storage.incarnation)):
            self.assertNotIn(text, self.recorded)
        self.assertNotIn(a.storage.incarnation.encode(), self.recorded)

    def test_with_a_program_of_before(self) -> None:
        self.exchange(self.peer("a", "b", versions=BEFORE), self.peer("b", "a"))
        self.assertIn(b"10.11.12.13:8080", self.recorded)


class UpgradeTests(WireTestCase):
    """
    The end of versions that do not encrypt.
    """

    def test_rolling(self) -> None:
        """
        One node after the other is upgraded; each connection encrypts as soon as both its nodes
        can, and none is refused.
        """
        names = "abc"
        peers = {n: self.peer(n, names.replace(n, ""), versions=BEFORE).start() for n in names}
        with capturedLogs() as logs:
            self.run_for(1)
            for name in names:
                old = peers[name]
                old.transport.stop()
                self.run_for(0.1)
                peers[name] = self.peer(
                    name, names.replace(name, ""), incarnation=old.storage.incarnation
                ).start()
                self.run_for(2)
                for one in peers.values():
                    for other in set(names) - {one.name}:
                        session = one.link(other).session
                        assert session is not None
                        both = one.versions == peers[other].versions == VERSIONS
                        self.assertEqual(session.version, 4 if both else 3)
        self.assertEqual(
            [e for e in logs if e["log_level"] is LogLevel.warn and "refused:" in formatEvent(e)],
            [],
        )

    def test_raised(self) -> None:
        """
        Once no older version is spoken any more, a connection of one ends, and is refused from
        then on; each side says why, once. Connections that encrypt stay.
        """
        for old, new in ("ab", "ba"):
            with self.subTest(old):
                self.setUp()
                older = self.peer(old, new, versions=BEFORE).start()
                newer = self.peer(new, old + "c").start()
                other = self.peer("c", new).start()
                self.run_for(1)
                self.assertEqual(sorted(newer.told), [("+", old), ("+", "c")])
                newer.told.clear()
                newer.versions = ONLY
                with capturedLogs() as logs:
                    self.run_for(30)
                self.assertEqual(newer.told, [("-", old)])
                self.assertFalse(older.transport.connected(new))
                self.assertEqual(other.told, [("+", new)])
                texts = [formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn]
                reason = "do not encrypt, and this cluster does not speak them any more: upgrade"
                self.assertEqual(len([text for text in texts if reason in text]), 2, texts)
                # It is upgraded.
                older.versions = VERSIONS
                self.run_for(2)
                self.assertTrue(older.transport.connected(new))

    def test_forced(self) -> None:
        """
        An attacker who makes each side believe that the other is an older program gets no
        connection, before the older versions are given up and after.
        """
        for versions in (VERSIONS, ONLY):
            self.setUp()
            self.network.tap = _pretend_to_be_older
            a = self.peer("a", "b", versions=versions).start()
            b = self.peer("b", "a", versions=versions).start()
            with capturedLogs():
                self.run_for(5)
            self.assertEqual((a.told, b.told), ([], []))
            self.network.tap = lambda here, there, data: data
            self.run_for(2)
            self.assertEqual((a.told, b.told), ([("+", "b")], [("+", "a")]))
