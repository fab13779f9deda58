"""
L{alacrity.health.lease_keeper}, with L{alacrity.health.loss_guard} and L{alacrity.health.endings}:
what the leader proposes where renewals are missing, and where administrative states are over.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.lease_keeper import LOOK, LeaseKeeper
from alacrity.health.loss_guard import LossGuard
from alacrity.pool import (
    Administer,
    AdminState,
    Check,
    Command,
    Deregister,
    ExpireLease,
    GuardLimits,
    NoCheck,
    Outcome,
    PoolView,
    Register,
    Report,
    ReviveLease,
    Server,
    ServerOptions,
    SpendGuard,
    State,
    TcpCheck,
)
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal
from tests.health.bench import EPOCH
from tests.support.pools import apply_to

LIMITS = GuardLimits(0.2, 60.0)
MARGIN = 1.5
LEASE = 30.0


class KeeperCase(SynchronousTestCase):
    """
    A keeper with a pool, whose commands are applied at once.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.set_by = 0.0
        self.view = PoolView()
        self.commands: list[Command] = []
        self.fails = 0
        self.held: Deferred[None] | None = None
        guard = LossGuard(self.view, self.propose, LIMITS, self.wall)
        self.keeper = LeaseKeeper(
            self.view,
            self.propose,
            guard,
            margin=MARGIN,
            deregister_after=300.0,
            clock=self.clock,
            wall=self.wall,
        )

    def wall(self) -> float:
        return EPOCH + self.set_by + self.clock.seconds()

    async def propose(self, command: Command) -> Outcome:
        self.commands.append(command)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("no majority")
        if self.held is not None:
            await self.held
        return apply_to(self.view, command)

    def register(self, port: int, check: Check | None = None, lease: float | None = LEASE) -> str:
        options = ServerOptions(lease=lease)
        apply_to(
            self.view,
            Register("10.0.0.7", port, check or NoCheck(), 1, self.wall(), options),
        )
        return f"10.0.0.7:{port}"

    def server(self, id: str) -> Server:
        return self.view.pool.servers[id]

    def advance(self, seconds: float) -> None:
        self.clock.pump([LOOK] * round(seconds / LOOK))

    def proposed(self, kind: type[Command]) -> list[Command]:
        return [each for each in self.commands if isinstance(each, kind)]

    def lead_long(self) -> None:
        """
        Lead for longer than a window of the guard, with one server that stays.
        """
        self.keeper.startService()
        self.staying = self.register(9, TcpCheck(), lease=None)
        apply_to(self.view, Report(self.staying, 1, State.UP, "", self.wall()))
        self.advance(70.0)


class RenewalTests(KeeperCase):
    def test_renewed_in_time_it_stays(self) -> None:
        self.lead_long()
        id = self.register(1)
        for _ in range(20):
            self.advance(29.5)
            self.assertEqual(self.keeper.renew(id), Renewal(30.0, 10.0))
        self.assertEqual(self.commands, [])
        self.assertIs(self.server(id).state, State.UP)

    def test_not_renewed_it_goes_down_and_away(self) -> None:
        self.lead_long()
        id = self.register(1)
        with capturedLogs() as events:
            self.advance(31.25)
            self.assertEqual(self.commands, [])
            self.advance(0.5)
            spent, expiry = self.commands
            self.assertEqual(spent, SpendGuard(EPOCH))
            assert isinstance(expiry, ExpireLease)
            self.assertEqual((expiry.id, expiry.revision, expiry.guard), (id, 3, LIMITS))
            self.assertIs(self.server(id).state, State.DOWN)
            self.advance(299.0)
            self.assertIs(self.server(id).state, State.DOWN)
            self.advance(2.0)
        self.assertNotIn(id, self.view.pool.servers)
        (removal,) = self.proposed(Deregister)
        assert isinstance(removal, Deregister)
        self.assertEqual((removal.revision, removal.guard), (3, LIMITS))
        lines = [event["log_format"].format(**event) for event in events]
        self.assertEqual(
            lines,
            [
                f"server {id} is down: its lease of 30 s expired",
                f"server {id} is removed: its lease expired 300 s ago",
            ],
        )

    def test_renewed_late_it_comes_back_once(self) -> None:
        self.lead_long()
        for check, state in ((NoCheck(), State.UP), (TcpCheck(), State.PENDING)):
            id = self.register(1, check)
            apply_to(self.view, Report(id, self.server(id).revision, State.UP, "", self.wall()))
            self.advance(100.0)
            self.assertIs(self.server(id).state, State.DOWN)
            self.commands.clear()
            self.keeper.renew(id)
            self.keeper.renew(id)
            self.assertEqual([type(each) for each in self.commands], [ReviveLease])
            self.assertIs(self.server(id).state, state)
            self.advance(29.0)
            self.assertEqual(len(self.commands), 1)

    def test_renewed_while_its_expiry_is_decided(self) -> None:
        self.lead_long()
        id = self.register(1)
        self.held = Deferred()
        self.advance(32.0)
        self.keeper.renew(id)
        held, self.held = self.held, None
        held.callback(None)
        self.assertEqual(
            [type(each) for each in self.commands], [SpendGuard, ExpireLease, ReviveLease]
        )
        self.assertIs(self.server(id).state, State.UP)
        self.assertFalse(self.server(id).condition.lease_expired)

    def test_a_proposal_that_fails_is_made_again(self) -> None:
        self.lead_long()
        id = self.register(1)
        self.fails = 3
        self.advance(40.0)
        self.assertIs(self.server(id).state, State.DOWN)
        self.assertEqual(len(self.commands), 5)
        self.fails = 1
        self.keeper.renew(id)
        self.assertIs(self.server(id).state, State.DOWN)
        self.keeper.renew(id)
        self.assertIs(self.server(id).state, State.UP)

    def test_those_without_a_lease(self) -> None:
        self.lead_long()
        with self.assertRaises(HasNoLease):
            self.keeper.renew(self.staying)
        with self.assertRaises(NoSuchServer):
            self.keeper.renew("10.0.0.9:9")
        id = self.register(1)
        self.register(1, TcpCheck(), lease=None)
        with self.assertRaises(HasNoLease):
            self.keeper.renew(id)
        self.advance(500.0)
        self.assertEqual(self.commands, [])

    def test_registered_again_it_has_a_full_lease(self) -> None:
        self.lead_long()
        id = self.register(1)
        self.advance(25.0)
        self.register(1)
        self.advance(30.0)
        self.assertEqual(self.commands, [])
        self.advance(400.0)
        self.assertNotIn(id, self.view.pool.servers)
        id = self.register(1)
        self.advance(100.0)
        self.assertIs(self.server(id).state, State.DOWN)
        self.register(1)
        self.assertIs(self.server(id).state, State.UP)
        self.advance(25.0)
        self.keeper.renew(id)
        self.advance(25.0)
        self.assertIs(self.server(id).state, State.UP)


class LeaderTests(KeeperCase):
    def test_a_new_leader_grants_a_full_lease_and_the_margin(self) -> None:
        self.register(9, TcpCheck(), lease=None)
        id = self.register(1)
        self.advance(1000.0)
        self.keeper.startService()
        self.advance(31.25)
        self.assertEqual(self.commands, [])
        self.keeper.renew(id)
        self.advance(20.0)
        self.keeper.stopService()
        self.advance(1000.0)
        self.keeper.startService()
        self.advance(31.25)
        self.assertEqual(self.commands, [])
        self.advance(1.0)
        self.assertEqual(len(self.proposed(ExpireLease)), 1)

    def test_a_process_that_was_stopped_grants_it_again(self) -> None:
        self.lead_long()
        self.register(1)
        self.advance(25.0)
        self.clock.advance(10.0)
        self.advance(31.0)
        self.assertEqual(self.commands, [])
        self.advance(1.0)
        self.assertEqual(len(self.proposed(ExpireLease)), 1)

    def test_a_short_stall_is_discounted(self) -> None:
        self.lead_long()
        id = self.register(1)
        self.advance(31.25)
        self.clock.advance(0.75)
        self.assertEqual(self.commands, [])
        self.keeper.renew(id)
        self.advance(29.75)
        self.assertEqual(self.commands, [])

    def test_a_stop_waits_for_what_is_in_flight(self) -> None:
        self.lead_long()
        self.register(1)
        self.held = Deferred()
        self.advance(32.0)
        stopping = self.keeper.stopService()
        self.assertNoResult(stopping)
        held, self.held = self.held, None
        held.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_does_not_lead_proposes_nothing(self) -> None:
        self.register(1)
        self.advance(1000.0)
        self.assertEqual(self.commands, [])
        with self.assertRaises(HasNoLease):
            self.keeper.renew("10.0.0.7:1")


class GuardTests(KeeperCase):
    def test_at_its_rate_and_then_on(self) -> None:
        """
        30 % of 20 servers expire at once: four in the first window, two in the next.
        """
        self.keeper.startService()
        self.advance(70.0)
        ids = [self.register(port) for port in range(1, 21)]
        down: list[int] = []
        for _ in range(8):
            for _ in range(5):
                self.advance(4.0)
                for id in ids[6:]:
                    self.keeper.renew(id)
            down.append(sum(self.server(id).state is State.DOWN for id in ids))
        self.assertEqual(down, [0, 4, 4, 4, 6, 6, 6, 6])
        self.assertEqual(len(self.proposed(SpendGuard)), 1)
        # Those that are kept are tried again with each window, not with each look.
        self.assertLessEqual(len(self.proposed(ExpireLease)), 8)

    def test_a_new_leader_begins_with_a_spent_window(self) -> None:
        self.keeper.startService()
        ids = [self.register(port) for port in range(1, 4)]
        self.advance(35.0)
        self.assertEqual(self.commands[0], SpendGuard(EPOCH))
        self.assertEqual([self.server(id).state for id in ids], [State.UP] * 3)
        self.assertEqual([self.server(id).condition.suspect for id in ids], [True] * 3)
        self.advance(30.0)
        self.assertEqual([self.server(id).state for id in ids].count(State.DOWN), 1)

    def test_a_suspect_that_renews_is_cleared(self) -> None:
        self.keeper.startService()
        id = self.register(1)
        self.advance(35.0)
        self.assertTrue(self.server(id).condition.suspect)
        self.keeper.renew(id)
        self.assertFalse(self.server(id).condition.suspect)
        self.assertEqual(len(self.proposed(ReviveLease)), 1)

    def test_the_last_one_is_kept(self) -> None:
        self.keeper.startService()
        self.advance(70.0)
        id = self.register(1)
        with capturedLogs() as events:
            self.advance(1000.0)
        self.assertIs(self.server(id).state, State.UP)
        self.assertTrue(self.server(id).condition.suspect)
        self.assertLess(len(self.proposed(ExpireLease)), 20)
        self.assertEqual(len(events), 1)

    def test_what_an_operator_decided_is_not_lost(self) -> None:
        self.lead_long()
        id = self.register(1)
        self.advance(40.0)
        apply_to(self.view, Administer(id, self.wall(), state=AdminState.MAINTENANCE))
        self.advance(1000.0)
        self.assertIn(id, self.view.pool.servers)
        self.assertEqual(self.proposed(Deregister), [])
        apply_to(self.view, Administer(id, self.wall(), state=AdminState.READY))
        self.advance(100.0)
        self.assertNotIn(id, self.view.pool.servers)

    def test_a_clock_that_is_set(self) -> None:
        self.lead_long()
        ids = [self.register(port) for port in range(1, 4)]
        self.advance(32.0)
        self.set_by = -7200.0
        self.advance(250.0)
        self.assertEqual(sum(self.server(id).state is State.DOWN for id in ids), 3)


class EndingTests(KeeperCase):
    def administer(self, id: str, until: float) -> None:
        apply_to(
            self.view,
            Administer(id, self.wall(), state=AdminState.DRAIN, until=until, reason="deploy"),
        )

    def test_it_ends_at_its_time(self) -> None:
        self.lead_long()
        self.administer(self.staying, self.wall() + 10.0)
        version = self.server(self.staying).version
        self.advance(9.5)
        self.assertEqual(self.commands, [])
        self.advance(0.75)
        (command,) = self.commands
        assert isinstance(command, Administer)
        self.assertEqual((command.state, command.version), (AdminState.READY, version))
        self.assertIs(self.server(self.staying).administration.state, AdminState.READY)
        self.advance(10.0)
        self.assertEqual(len(self.commands), 1)

    def test_another_leader_ends_it_when_it_is_due_long_since(self) -> None:
        self.lead_long()
        self.administer(self.staying, self.wall() + 10.0)
        self.keeper.stopService()
        self.advance(1000.0)
        self.assertEqual(self.commands, [])
        self.keeper.startService()
        self.advance(0.5)
        self.assertIs(self.server(self.staying).administration.state, AdminState.READY)

    def test_proposed_again_until_it_is_done(self) -> None:
        self.lead_long()
        self.administer(self.staying, self.wall() + 1.0)
        self.fails = 2
        self.advance(3.0)
        self.assertIs(self.server(self.staying).administration.state, AdminState.READY)
        self.assertEqual(len(self.commands), 3)

    def test_a_later_decision_is_not_undone(self) -> None:
        self.lead_long()
        self.administer(self.staying, self.wall() + 1.0)
        self.held = Deferred()
        self.advance(2.0)
        self.administer(self.staying, self.wall() + 100.0)
        held, self.held = self.held, None
        held.callback(None)
        self.advance(5.0)
        self.assertIs(self.server(self.staying).administration.state, AdminState.DRAIN)

    def test_a_server_that_is_gone(self) -> None:
        self.lead_long()
        self.administer(self.staying, self.wall() + 1.0)
        apply_to(self.view, Deregister(self.staying, self.wall(), "asked to"))
        self.advance(5.0)
        self.assertEqual(self.commands, [])
