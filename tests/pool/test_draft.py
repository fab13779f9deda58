"""
L{alacrity.pool.draft}: administrative state, leases, the guard, and versions.
"""

from __future__ import annotations

from math import inf, nan
from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import (
    AS_REGISTERED,
    Administer,
    Administered,
    Administration,
    AdminState,
    Command,
    Condition,
    Deregister,
    Deregistered,
    Done,
    DrawStickyKey,
    ExpireLease,
    GuardLimits,
    Judged,
    Kept,
    NoCheck,
    Outcome,
    Pool,
    PoolDraft,
    Register,
    Registered,
    Report,
    Reported,
    ReviveLease,
    Server,
    ServerOptions,
    SpendGuard,
    Stale,
    State,
    TcpCheck,
    Unknown,
    Verdicts,
    VersionMismatch,
    apply,
    format_of,
)
from tests.support.pools import ADMINISTERS, COMMANDS, ID, POOLS, pool_after, register, report

LIMITS: Final = GuardLimits(0.2, 60.0)
LEASE: Final = ServerOptions(lease=30.0)


def after(*commands: Command) -> Pool:
    """
    The pool after commands.
    """
    return pool_after(list(commands))


def leased(port: int = 8080, time: float = 1.0) -> Register:
    """
    The registration of a server with a lease and no check.
    """
    return Register("10.0.0.7", port, NoCheck(), 1, time, LEASE)


def administer(
    state: AdminState | msgspec.UnsetType = msgspec.UNSET, version: int | None = None
) -> Administer:
    """
    An operator's decision about the server L{ID}.
    """
    return Administer(ID, 5.0, state, version=version)


def expire(port: int, revision: int, time: float = 1000.0) -> ExpireLease:
    """
    The expiry of the lease of a server.
    """
    return ExpireLease(f"10.0.0.7:{port}", revision, time, LIMITS)


def remove(revision: int = 1, time: float = 1000.0, port: int = 8080) -> Deregister:
    """
    The removal of a server by its checks.
    """
    return Deregister(f"10.0.0.7:{port}", time, "down too long", revision, guard=LIMITS)


class AdministrationTests(SynchronousTestCase):
    """
    L{Administer}.
    """

    def test_fields(self) -> None:
        """
        A command changes the fields that it names, and the others as documented.
        """
        unset = msgspec.UNSET
        drained = Administration(AdminState.DRAIN, 7, 99.0, "a deploy")
        for before, command, wanted in (
            (AS_REGISTERED, (AdminState.DRAIN, 7, 99.0, "a deploy"), drained),
            (drained, (unset, unset, unset, unset), drained),
            (
                drained,
                (unset, None, unset, unset),
                Administration(AdminState.DRAIN, None, 99.0, "a deploy"),
            ),
            (
                drained,
                (unset, unset, None, unset),
                Administration(AdminState.DRAIN, 7, None, "a deploy"),
            ),
            (drained, (unset, unset, unset, "x"), Administration(AdminState.DRAIN, 7, 99.0, "x")),
            (drained, (AdminState.DRAIN, unset, unset, unset), Administration(AdminState.DRAIN, 7)),
            (drained, (AdminState.READY, unset, 99.0, unset), Administration(weight=7)),
            (drained, (AdminState.READY, None, unset, unset), AS_REGISTERED),
            (AS_REGISTERED, (unset, unset, 99.0, unset), AS_REGISTERED),
        ):
            first = Administer(ID, 2.0, before.state, before.weight, before.until, before.reason)
            pool, outcome = apply(after(register(), first), Administer(ID, 3.0, *command))
            server = pool.servers[ID]
            self.assertEqual(outcome, Administered(server))
            self.assertEqual(server.administration, wanted)

    def test_numbers_that_the_api_does_not_take(self) -> None:
        """
        Weights are brought into their range; an end that is no time is none.
        """
        for weight, wanted in ((-5, 0), (0, 0), (256, 256), (1 << 63, 256)):
            pool = after(register(), Administer(ID, 2.0, weight=weight))
            self.assertEqual(pool.servers[ID].effective_weight, wanted)
        for until in (nan, inf, -inf):
            pool = after(register(), Administer(ID, 2.0, AdminState.DRAIN, until=until))
            self.assertIsNone(pool.servers[ID].administration.until)

    def test_version(self) -> None:
        """
        With a version, a server of another version is not changed.
        """
        before = after(register(), administer(AdminState.DRAIN))
        pool, outcome = apply(before, administer(AdminState.READY, version=1))
        self.assertEqual(outcome, VersionMismatch(before.servers[ID]))
        self.assertIs(pool.servers, before.servers)
        pool, _ = apply(before, administer(AdminState.READY, version=2))
        self.assertEqual(pool.servers[ID].administration, AS_REGISTERED)

    def test_unknown(self) -> None:
        """
        There must be such a server.
        """
        self.assertEqual(apply(Pool(), administer())[1], Unknown(ID))

    def test_after_maintenance(self) -> None:
        """
        A server that was not checked for a while is pending, unless it is not checked at all.
        """
        up = after(register(), report(State.UP, 1, 2.0), administer(AdminState.MAINTENANCE))
        self.assertEqual(up.servers[ID].state, State.UP)
        for state in (AdminState.READY, AdminState.DRAIN):
            server = apply(up, administer(state))[0].servers[ID]
            self.assertEqual((server.state, server.since), (State.PENDING, 5.0))
            self.assertEqual(server.reason, "not checked since its maintenance")
            self.assertEqual(server.revision, 1)
            self.assertTrue(server.condition.was_up)
        self.assertEqual(apply(up, administer())[0].servers[ID].state, State.UP)
        down = after(register(), report(State.DOWN, 1, 2.0), administer(AdminState.MAINTENANCE))
        pool, _ = apply(down, administer(AdminState.READY))
        self.assertEqual((pool.servers[ID].state, pool.servers[ID].since), (State.DOWN, 2.0))
        unchecked = after(leased(), administer(AdminState.MAINTENANCE))
        pool, _ = apply(unchecked, administer(AdminState.READY))
        self.assertEqual(pool.servers[ID].state, State.UP)

    def test_removed_and_registered_anew(self) -> None:
        """
        Decisions end with the removal that a caller asks for.
        """
        pool = after(
            register(), administer(AdminState.DRAIN), Deregister(ID, 6.0, "asked"), register()
        )
        self.assertEqual(pool.servers[ID].administration, AS_REGISTERED)

    @given(POOLS, st.lists(COMMANDS, max_size=12))
    def test_nothing_else_changes_it(self, pool: Pool, commands: list[Command]) -> None:
        """
        Only L{Administer} changes decisions, and only a removal that nobody's drain or
        maintenance forbids, or a caller asks for, ends them.
        """
        for command in commands:
            before = pool.servers
            pool, outcome = apply(pool, command)
            outcomes: tuple[Outcome, ...] = (
                outcome.outcomes if isinstance(outcome, Judged) else (outcome,)
            )
            removed = {each.server.id for each in outcomes if isinstance(each, Deregistered)}
            for id, server in before.items():
                if id in removed:
                    continue
                if not isinstance(command, Administer) or command.id != id:
                    self.assertEqual(pool.servers[id].administration, server.administration)

    @given(ADMINISTERS, st.lists(COMMANDS, max_size=12))
    def test_checks_do_not_remove_what_is_decided(
        self, decision: Administer, commands: list[Command]
    ) -> None:
        """
        The checks remove no server in drain or maintenance.
        """
        decision = msgspec.structs.replace(decision, version=None)
        pool = after(register(), register(80), decision)
        for command in commands:
            before = pool.servers
            pool, outcome = apply(pool, command)
            if isinstance(command, Deregister) and command.guard is not msgspec.UNSET:
                server = before.get(command.id)
                if server is not None and server.administration.state is not AdminState.READY:
                    self.assertIn(command.id, pool.servers)
                    self.assertNotIsInstance(outcome, Deregistered)


class RegistrationTests(SynchronousTestCase):
    """
    L{Register}, with what it keeps.
    """

    def test_options(self) -> None:
        """
        The options are replaced as a whole.
        """
        pool = after(leased(), register())
        self.assertEqual(pool.servers[ID].options, ServerOptions())
        self.assertEqual(pool.servers[ID].state, State.UP)

    def test_without_a_check(self) -> None:
        """
        A server without a check is up at once, also if its lease had expired.
        """
        pool = after(leased(), leased(80), expire(8080, 1))
        self.assertEqual(pool.servers[ID].state, State.DOWN)
        pool, _ = apply(pool, leased(time=9.0))
        server = pool.servers[ID]
        self.assertEqual((server.state, server.since), (State.UP, 9.0))
        self.assertEqual(server.condition, Condition(was_up=True))

    def test_suspicion_ends(self) -> None:
        """
        A suspect that registers again is none.
        """
        pool = after(leased(), expire(8080, 1))
        self.assertTrue(pool.servers[ID].condition.suspect)
        pool, _ = apply(pool, leased())
        self.assertFalse(pool.servers[ID].condition.suspect)

    def test_stopping(self) -> None:
        """
        A server that stops and registers again is pending.
        """
        pool = after(register(), report(State.UP, 1, 2.0), report(State.STOPPING, 1, 3.0))
        pool, _ = apply(pool, register(time=9.0))
        server = pool.servers[ID]
        self.assertEqual((server.state, server.condition), (State.PENDING, Condition(was_up=True)))

    def test_was_up(self) -> None:
        """
        That a server was up is kept until it is removed.
        """
        pool = after(register(), report(State.UP, 1, 2.0), report(State.DOWN, 1, 3.0), register())
        self.assertTrue(pool.servers[ID].condition.was_up)
        pool = after(register(), report(State.DOWN, 1, 3.0), register())
        self.assertFalse(pool.servers[ID].condition.was_up)


class LeaseTests(SynchronousTestCase):
    """
    L{ExpireLease} and L{ReviveLease}.
    """

    def test_expiry(self) -> None:
        """
        A server whose lease expires is down, and its checks do not bring it back.
        """
        pool, outcome = apply(after(leased(), leased(80)), expire(8080, 1))
        server = pool.servers[ID]
        self.assertEqual(outcome, Reported(server))
        self.assertEqual((server.state, server.since), (State.DOWN, 1000.0))
        self.assertEqual(server.condition, Condition(was_up=True, lease_expired=True))
        for state in (State.UP, State.PENDING, State.STOPPING):
            again, stale = apply(pool, report(state, 1, 1001.0))
            self.assertEqual(stale, Stale(server))
            self.assertIs(again.servers, pool.servers)
        self.assertEqual(apply(pool, expire(8080, 1))[1], Stale(server))

    def test_stale(self) -> None:
        """
        Expiry and revival are of one registration, and of a lease in the right state.
        """
        before = after(leased(), leased(), register(80))
        for command in (
            expire(8080, 1),
            expire(80, 3),
            ReviveLease(ID, 1, 2.0),
            ReviveLease(ID, 2, 2.0),
        ):
            pool, outcome = apply(before, command)
            self.assertIsInstance(outcome, Stale)
            self.assertIs(pool.servers, before.servers)

    def test_revival(self) -> None:
        """
        A renewal brings a server back: up, or pending if it is checked too.
        """
        checked = Register("10.0.0.7", 8080, TcpCheck(), 1, 1.0, LEASE)
        for registration, state in ((leased(), State.UP), (checked, State.PENDING)):
            pool = after(registration, leased(80), report(State.UP, 1, 2.0), expire(8080, 1))
            pool, outcome = apply(pool, ReviveLease(ID, 1, 1002.0))
            server = pool.servers[ID]
            self.assertEqual(outcome, Reported(server))
            self.assertEqual((server.state, server.since), (state, 1002.0))
            self.assertEqual(server.condition, Condition(was_up=True))

    def test_lease_and_check(self) -> None:
        """
        Both must hold. A server that is down by its checks is no further loss by its lease.
        """
        checked = Register("10.0.0.7", 8080, TcpCheck(), 1, 1.0, LEASE)
        pool = after(checked, leased(80), leased(81), report(State.DOWN, 1, 2.0), expire(8080, 1))
        self.assertEqual(pool.servers[ID].since, 2.0)
        self.assertEqual(pool.guard.used, 0)
        self.assertEqual(pool_state(apply(pool, expire(80, 2))[0], 80), State.DOWN)

    def test_passing_check_of_a_suspect(self) -> None:
        """
        A passing check ends the suspicion of a server without a lease, and says nothing of a
        lease. A renewal leaves what the checks have shown.
        """
        checked = Register("10.0.0.7", 8080, TcpCheck(), 1, 1.0, LEASE)
        pool = after(checked, report(State.UP, 1, 2.0), expire(8080, 1))
        for state in (State.DOWN, State.UP):
            pool, _ = apply(pool, Report(ID, 1, state, "", 3.0, answered=True))
            self.assertTrue(pool.servers[ID].condition.suspect)
        pool, _ = apply(pool, Report(ID, 1, State.DOWN, "", 3.0, answered=True))
        pool, _ = apply(pool, ReviveLease(ID, 1, 4.0))
        self.assertEqual(pool.servers[ID].condition, Condition(was_up=True, answered=True))
        pool = after(register(), report(State.DOWN, 1, 2.0), remove())
        self.assertTrue(pool.servers[ID].condition.suspect)
        pool, _ = apply(pool, report(State.UP, 1, 3.0))
        self.assertEqual(pool.servers[ID].condition, Condition(was_up=True))


def report_of(port: int, revision: int, state: State) -> Report:
    """
    A report about any server.
    """
    return Report(f"10.0.0.7:{port}", revision, state, "because", 5.0)


def pool_state(pool: Pool, port: int) -> State:
    """
    The state of a server.
    """
    return pool.servers[f"10.0.0.7:{port}"].state


class GuardTests(SynchronousTestCase):
    """
    The guard, in a pool.
    """

    def test_last_eligible(self) -> None:
        """
        The last eligible server does not expire, however much time passes; another one's
        coming lets it.
        """
        pool = after(leased())
        for time in (1000.0, 2000.0, 3000.0):
            pool, outcome = apply(pool, expire(8080, 1, time))
            self.assertEqual(outcome, Kept(pool.servers[ID]))
        self.assertTrue(pool.servers[ID].eligible)
        version = pool.servers[ID].version
        self.assertEqual(version, 2)
        pool, _ = apply(pool, leased(80))
        pool, outcome = apply(pool, expire(8080, 1, 4000.0))
        self.assertIsInstance(outcome, Reported)

    def test_what_is_not_eligible_may_expire(self) -> None:
        """
        Servers that get no requests anyway expire also where no other is eligible.
        """
        checked = [Register("10.0.0.7", port, TcpCheck(), 1, 1.0, LEASE) for port in (80, 81)]
        pool = after(*checked, expire(80, 1, 1000.0), expire(81, 2, 1060.0))
        self.assertEqual({each.state for each in pool.servers.values()}, {State.DOWN})

    def test_share(self) -> None:
        """
        Of ten servers two may expire in a window; the others are suspect, and expire later.
        """
        registrations = [leased(port) for port in range(1, 11)]
        pool = after(*registrations)
        verdicts = Verdicts(tuple(expire(port, port) for port in range(1, 10)))
        pool, outcome = apply(pool, verdicts)
        assert isinstance(outcome, Judged)
        self.assertEqual([type(each) for each in outcome.outcomes], [Reported] * 2 + [Kept] * 7)
        pool, outcome = apply(pool, expire(5, 5, 1059.0))
        self.assertIsInstance(outcome, Kept)
        pool, outcome = apply(pool, expire(5, 5, 1060.0))
        self.assertIsInstance(outcome, Reported)
        self.assertFalse(pool.servers["10.0.0.7:5"].condition.suspect)

    def test_new_leader(self) -> None:
        """
        A window that is spent allows nothing until it has passed.
        """
        pool, outcome = apply(after(leased(), leased(80)), SpendGuard(1000.0))
        self.assertEqual(outcome, Done())
        pool, outcome = apply(pool, expire(8080, 1, 1059.0))
        self.assertIsInstance(outcome, Kept)
        self.assertIsInstance(apply(pool, expire(8080, 1, 1060.0))[1], Reported)

    def test_removal(self) -> None:
        """
        Expiries and removals count together. A caller's removal is not limited.
        """
        before = after(leased(), leased(80), leased(81), expire(8080, 1, 1000.0))
        pool, outcome = apply(before, remove())
        self.assertEqual(outcome, Kept(pool.servers[ID]))
        pool, _ = apply(pool, report_of(80, 2, State.DOWN))
        pool, outcome = apply(pool, remove(time=1060.0))
        self.assertIsInstance(outcome, Deregistered)
        self.assertIsInstance(apply(pool, remove(2, 1119.0, 80))[1], Kept)
        self.assertIsInstance(apply(pool, remove(2, 1120.0, 80))[1], Deregistered)
        _, outcome = apply(before, Deregister(ID, 1000.0, "asked"))
        self.assertIsInstance(outcome, Deregistered)

    def test_last_server(self) -> None:
        """
        The checks never remove the last server of a pool.
        """
        pool, outcome = apply(after(register(), report(State.DOWN, 1, 2.0)), remove(time=1e6))
        self.assertEqual(outcome, Kept(pool.servers[ID]))

    def test_removal_of_what_has_changed(self) -> None:
        """
        The checks remove only what is down, and what no operator holds.
        """
        down = after(register(), register(80), report(State.DOWN, 1, 2.0))
        for command in (report(State.UP, 1, 3.0), administer(AdminState.MAINTENANCE)):
            before, _ = apply(down, command)
            pool, outcome = apply(before, remove())
            self.assertEqual(outcome, Stale(before.servers[ID]))
            self.assertIs(pool.servers, before.servers)
        self.assertIsInstance(apply(down, remove())[1], Deregistered)

    def test_removal_with_version(self) -> None:
        """
        With a version, a server of another version is not removed.
        """
        before = after(register(), administer(AdminState.DRAIN))
        pool, outcome = apply(before, Deregister(ID, 2.0, "asked", version=1))
        self.assertEqual(outcome, VersionMismatch(before.servers[ID]))
        self.assertIs(pool.servers, before.servers)
        _, outcome = apply(before, Deregister(ID, 2.0, "asked", version=2))
        self.assertIsInstance(outcome, Deregistered)

    @given(st.lists(st.tuples(st.integers(1, 12), st.floats(0.0, 500.0)), max_size=40))
    def test_losses(self, attempts: list[tuple[int, float]]) -> None:
        """
        In time that passes, a window loses no more servers than the guard allows, also if they
        come back and are lost again; a new leader's first window loses none; and one stays.
        """
        pool, _ = apply(after(*(leased(port) for port in range(1, 13))), SpendGuard(0.0))
        lost: list[float] = []
        for port, time in sorted(attempts, key=lambda each: each[1]):
            pool, outcome = apply(pool, expire(port, port, time))
            if isinstance(outcome, Reported):
                lost.append(time)
            self.assertTrue(any(each.eligible for each in pool.servers.values()))
            if port % 3:
                pool, _ = apply(pool, ReviveLease(f"10.0.0.7:{port}", port, time))
        for first in lost:
            # Two windows may touch.
            self.assertLessEqual(sum(first <= time < first + 60.0 for time in lost), 4)
        self.assertTrue(all(time >= 60.0 for time in lost))


class KeyTests(SynchronousTestCase):
    """
    L{DrawStickyKey}.
    """

    def test_first_key_stays(self) -> None:
        """
        Nodes may draw at the same time; the first key holds.
        """
        pool = after(DrawStickyKey(b"first"), DrawStickyKey(b"second"))
        self.assertEqual((pool.sticky_key, pool.index), (b"first", 2))


class DisputeTests(SynchronousTestCase):
    """
    Servers that fail on the leader, and stay as they are by the word of other members.
    """

    def setUp(self) -> None:
        self.pool = after(register(), report(State.UP, 1, 2.0))

    def apply(self, command: Command) -> Server:
        self.pool, _ = apply(self.pool, command)
        return self.pool.servers[ID]

    def dispute(self) -> Server:
        return self.apply(Report(ID, 1, State.UP, "others reach it", 3.0, disputed=True))

    def test_in_dispute(self) -> None:
        server = self.dispute()
        self.assertEqual((server.state, server.since), (State.UP, 2.0))
        self.assertEqual(server.reason, "others reach it")
        self.assertEqual(server.condition, Condition(was_up=True, disputed=True))
        self.assertTrue(server.eligible)
        self.assertEqual(server.version, self.pool.index)

    def test_its_end(self) -> None:
        self.dispute()
        server = self.apply(Report(ID, 1, State.UP, "connected", 4.0))
        self.assertEqual((server.since, server.condition), (2.0, Condition(was_up=True)))

    def test_down_is_no_dispute(self) -> None:
        self.dispute()
        server = self.apply(Report(ID, 1, State.DOWN, "", 4.0, disputed=True))
        self.assertEqual(server.condition, Condition(was_up=True))

    def test_a_new_registration(self) -> None:
        self.dispute()
        self.assertFalse(self.apply(register()).condition.disputed)

    def test_in_maintenance_nobody_checks_it(self) -> None:
        self.dispute()
        self.assertTrue(self.apply(Administer(ID, 4.0, AdminState.DRAIN)).condition.disputed)
        server = self.apply(Administer(ID, 4.0, AdminState.MAINTENANCE))
        self.assertFalse(server.condition.disputed)

    def test_older_members_cannot_apply_it(self) -> None:
        self.assertEqual(format_of(Report(ID, 1, State.UP, "", 3.0, disputed=True)), 2)
        self.assertEqual(format_of(Report(ID, 1, State.UP, "", 3.0)), 1)


class VersionTests(SynchronousTestCase):
    """
    The version of a server.
    """

    def test_nothing_changes(self) -> None:
        """
        A command that says what is so already changes no version.
        """
        pool = after(register(), report(State.UP, 1, 2.0), administer(AdminState.DRAIN))
        server = pool.servers[ID]
        for command in (report(State.UP, 1, 9.0), administer(AdminState.DRAIN), administer()):
            pool, _ = apply(pool, command)
            self.assertIs(pool.servers[ID], server)

    def test_several_verdicts(self) -> None:
        """
        Several verdicts of one command are one change.
        """
        verdicts = Verdicts((report(State.UP, 1, 2.0), report(State.DOWN, 1, 2.0)))
        pool = after(register(), verdicts)
        self.assertEqual(pool.servers[ID].version, 2)

    @given(POOLS, COMMANDS)
    def test_it_rises_with_each_change(self, pool: Pool, command: Command) -> None:
        """
        The version of a server rises with each change of it, and without one it stays. It is
        never above the index.
        """
        new, _ = apply(pool, command)
        for id, server in new.servers.items():
            before = pool.servers.get(id)
            self.assertLessEqual(server.version, new.index)
            if before is None or _without_version(before) != _without_version(server):
                self.assertEqual(server.version, new.index)
            else:
                self.assertEqual(server.version, before.version)

    @given(st.lists(COMMANDS, max_size=20), st.integers(1, 5))
    def test_drafts(self, commands: list[Command], every: int) -> None:
        """
        Any number of commands on one draft make the same pool as each on its own, and none
        changes a pool that was taken before.
        """
        draft = PoolDraft(Pool())
        taken: list[tuple[Pool, bytes]] = []
        outcomes = []
        for number, command in enumerate(commands):
            outcomes.append(draft.apply(command))
            if number % every == 0:
                taken.append((draft.pool(), msgspec.msgpack.encode(draft.pool())))
        pool, expected = Pool(), []
        for command in commands:
            pool, outcome = apply(pool, command)
            expected.append(outcome)
        encode = msgspec.msgpack.encode
        self.assertEqual(encode((draft.pool(), outcomes)), encode((pool, expected)))
        for was, encoded in taken:
            self.assertEqual(encode(was), encoded)

    @given(st.lists(COMMANDS, max_size=20))
    def test_conditions_agree(self, commands: list[Command]) -> None:
        """
        An expired lease means down; who is up was up; a new registration is no suspect.
        """
        pool = Pool()
        for command in commands:
            pool, outcome = apply(pool, command)
            for server in pool.servers.values():
                condition = server.condition
                self.assertLessEqual(condition.lease_expired, server.state is State.DOWN)
                self.assertLessEqual(condition.answered, server.state is State.DOWN)
                self.assertLessEqual(condition.disputed, server.state is not State.DOWN)
                self.assertLessEqual(server.state is State.UP, condition.was_up)
                self.assertTrue(0 <= server.effective_weight <= 256)
            if isinstance(outcome, Registered):
                self.assertFalse(outcome.server.condition.suspect)
                self.assertFalse(outcome.server.condition.lease_expired)


def _without_version(server: Server) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(server, changed=0))
