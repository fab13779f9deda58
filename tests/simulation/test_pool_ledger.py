"""
L{tests.simulation.pool_ledger} and L{tests.simulation.leases}: planted violations are found.
"""

from __future__ import annotations

from typing import Final

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.state import Envelope, encode_envelope, version_of
from alacrity.pool import (
    Administer,
    Administration,
    AdminState,
    Command,
    Deregister,
    DrawStickyKey,
    ExpireLease,
    GuardLimits,
    NoCheck,
    Pool,
    Register,
    Server,
    ServerOptions,
    SpendGuard,
    State,
    Verdicts,
    apply,
)
from tests.simulation import leases, pool_ledger
from tests.simulation.leases import LeaseLedger
from tests.simulation.pool_ledger import PoolLedger
from tests.simulation.world import World

LIMITS: Final = GuardLimits(0.2, 10.0)


def _id(port: int) -> str:
    return f"10.0.0.7:{port}"


def _register(port: int, lease: float = 30.0) -> Register:
    return Register("10.0.0.7", port, NoCheck(), 1, 1.0, ServerOptions(lease=lease))


def _expire(port: int, time: float, revision: int | None = None) -> ExpireLease:
    return ExpireLease(_id(port), port if revision is None else revision, time, LIMITS)


def _with(pool: Pool, port: int, **changes: object) -> Pool:
    """
    A pool whose server at a port is another.
    """
    server = msgspec.structs.replace(pool.servers[_id(port)], **changes)
    return msgspec.structs.replace(pool, servers={**pool.servers, server.id: server})


class PoolLedgerTests(SynchronousTestCase):
    """
    L{PoolLedger}.
    """

    def setUp(self) -> None:
        self.violations: list[str] = []
        self.ledger = PoolLedger(self.violations.append)
        self.pool = Pool()
        for port in range(1, 6):
            self.do(_register(port))

    def do(self, command: Command) -> None:
        """
        Apply a command as it should be.
        """
        self.see(command, apply(self.pool, command)[0])

    def see(self, command: Command, after: Pool) -> None:
        """
        Have a command lead to any pool.
        """
        envelope = Envelope(version_of(command), "a", 0, command)
        self.ledger.applied(encode_envelope(envelope), self.pool, after, 2)
        self.pool = after

    def wrong(self, command: Command, **changes: object) -> None:
        """
        Apply a command to the first server, with a result that has changes.
        """
        self.see(command, _with(apply(self.pool, command)[0], 1, **changes))

    def assert_broken(self, invariant: str) -> None:
        """
        The invariant is known, and was found broken.
        """
        self.assertIn(invariant, pool_ledger.INVARIANTS)
        self.assertTrue(self.violations)
        self.assertTrue(self.violations[0].startswith(f"{invariant}: "), self.violations)

    def test_all_is_well(self) -> None:
        """
        What is applied as defined breaks nothing.
        """
        commands: tuple[Command, ...] = (
            Administer(_id(1), 2.0, AdminState.DRAIN, 5, 9.0, "why"),
            _register(1),
            Administer(_id(1), 2.0, version=3),
            SpendGuard(3.0),
            *(_expire(port, 15.0) for port in range(1, 6)),
            *(_expire(port, 26.0) for port in range(1, 6)),
            Administer(_id(1), 2.0, AdminState.READY),
            Deregister(_id(1), 2.0, "asked"),
            DrawStickyKey(b"a"),
            DrawStickyKey(b"b"),
        )
        for command in commands:
            self.do(command)
        self.assertEqual(self.violations, [])

    def test_decision_lost(self) -> None:
        """
        A registration ends a decision.
        """
        self.do(Administer(_id(1), 2.0, AdminState.MAINTENANCE))
        self.wrong(_register(1), administration=Administration())
        self.assert_broken("decisions stay")

    def test_decision_missed(self) -> None:
        """
        A decision has no effect.
        """
        self.see(
            Administer(_id(1), 2.0, weight=9),
            msgspec.structs.replace(self.pool, index=self.pool.index + 1),
        )
        self.assert_broken("decisions stay")

    def test_decision_removed(self) -> None:
        """
        Checks remove a server in maintenance, and one that is up.
        """
        self.do(Administer(_id(1), 2.0, AdminState.MAINTENANCE))
        for port in (1, 2):
            self.violations.clear()
            servers = {id: each for id, each in self.pool.servers.items() if id != _id(port)}
            after = msgspec.structs.replace(self.pool, index=self.pool.index + 1, servers=servers)
            self.see(Deregister(_id(port), 2.0, "down", guard=LIMITS), after)
            self.assert_broken("decisions stay")

    def test_version_stays(self) -> None:
        """
        A change leaves the version as it was.
        """
        self.wrong(Administer(_id(1), 2.0, weight=9), changed=0)
        self.assert_broken("version rises")

    def test_version_of_nothing(self) -> None:
        """
        The version of a server rises by itself.
        """
        self.wrong(_register(2), changed=6)
        self.assert_broken("version rises")

    def test_guard_exceeded(self) -> None:
        """
        Three of five servers expire at once, where one may.
        """
        self.do(SpendGuard(0.0))
        for port in (2, 3, 4):
            command = _expire(port, 20.0)
            after, _ = apply(self.pool, command)
            self.see(command, _with(after, port, state=State.DOWN, changed=after.index))
        self.assert_broken("guard holds")

    def test_guard_not_spent(self) -> None:
        """
        A server expires right after a new leader began.
        """
        self.do(SpendGuard(20.0))
        command = _expire(1, 21.0)
        self.wrong(command, state=State.DOWN, changed=self.pool.index + 1)
        self.assert_broken("guard is spent")

    def test_last_one_lost(self) -> None:
        """
        The last eligible server expires.
        """
        for port in range(2, 6):
            self.do(Administer(_id(port), 2.0, AdminState.DRAIN))
        self.wrong(_expire(1, 21.0), state=State.DOWN, changed=self.pool.index + 1)
        self.assert_broken("last stays")

    def test_other_key(self) -> None:
        """
        The key of sticky cookies is drawn anew.
        """
        self.do(DrawStickyKey(b"a"))
        after, _ = apply(self.pool, DrawStickyKey(b"b"))
        self.see(DrawStickyKey(b"b"), msgspec.structs.replace(after, sticky_key=b"b"))
        self.assert_broken("key stays")


class LeaseLedgerTests(SynchronousTestCase):
    """
    L{LeaseLedger}.
    """

    def setUp(self) -> None:
        self.violations: list[str] = []
        self.world = World(1)
        self.ledger = LeaseLedger(self.world, self.violations.append)
        self.pool = Pool()
        for port in (1, 2):
            self.pool, _ = apply(self.pool, _register(port))
        self.world.now = 105.0
        # Sent at 104, and so good until 134.
        self.ledger.acknowledged(_id(1), 104.0, 30.0)

    def see(self, command: Command) -> Server:
        """
        Apply a command.
        """
        after, _ = apply(self.pool, command)
        data = encode_envelope(Envelope(2, "a", 0, command))
        self.ledger.applied(data, self.pool, after)
        self.pool = after
        return after.servers[_id(1)]

    def test_renewed_lease(self) -> None:
        """
        A lease of which an answer holds expires, alone or among other verdicts; or its server
        is suspected.
        """
        self.assertIn("renewed lasts", leases.INVARIANTS)
        for command in (_expire(1, 133.9), Verdicts((_expire(1, 133.9),))):
            self.setUp()
            self.assertTrue(self.see(command).condition.lease_expired)
            self.assertTrue(self.violations[0].startswith("renewed lasts: "))
        self.setUp()
        self.pool, _ = apply(self.pool, Administer(_id(2), 1.0, AdminState.DRAIN))
        self.assertTrue(self.see(_expire(1, 133.9)).condition.suspect)
        self.assertTrue(self.violations[0].startswith("renewed lasts: "))

    def test_other_leases(self) -> None:
        """
        An expiry may be proposed after the answer has ended, or before it came; or have no
        effect.
        """
        for command in (_expire(1, 134.0), _expire(1, 104.5), _expire(1, 120.0, revision=9)):
            self.setUp()
            self.see(command)
            self.assertEqual(self.violations, [])
