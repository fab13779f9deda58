"""
L{alacrity.pool.commands}: the effects and outcomes of commands.
"""

from __future__ import annotations

from functools import partial

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import (
    Command,
    Deregister,
    Deregistered,
    Done,
    HttpCheck,
    Judged,
    Pool,
    PoolView,
    Register,
    Registered,
    Reported,
    Server,
    Stale,
    State,
    Unknown,
    Verdicts,
    VersionMismatch,
    apply,
    server_id,
)
from tests.support.pools import COMMANDS, ID, POOLS, apply_to, pool_after, register, report


def after(*commands: Command) -> Pool:
    """
    The pool after commands.
    """
    return pool_after(list(commands))


class ApplyTests(SynchronousTestCase):
    """
    L{apply}.
    """

    def test_register(self) -> None:
        """
        A new server is pending.
        """
        command = Register("10.0.0.7", 8080, HttpCheck(path="/ok"), weight=3, time=5.0)
        pool, outcome = apply(Pool(), command)
        server = Server(
            ip="10.0.0.7",
            port=8080,
            check=HttpCheck(path="/ok"),
            weight=3,
            state=State.PENDING,
            reason="not checked yet",
            since=5.0,
            registered=5.0,
            revision=1,
        )
        self.assertEqual(outcome, Registered(server, created=True))
        self.assertEqual(pool, Pool(1, {ID: server}))

    def test_ids_are_derived(self) -> None:
        """
        The id of a server is its address.
        """
        self.assertEqual(list(after(register()).servers), [ID])
        self.assertEqual(server_id("2001:db8::1", 8080), "2001:db8::1:8080")

    def test_register_again_while_up(self) -> None:
        """
        A server that is up stays up; its check, weight and revision are new.
        """
        pool = after(register(), report(State.UP, 1, 2.0))
        command = Register("10.0.0.7", 8080, HttpCheck(), weight=7, time=9.0)
        pool, outcome = apply(pool, command)
        server = pool.servers[ID]
        self.assertEqual(outcome, Registered(server, created=False))
        self.assertEqual((server.check, server.weight), (HttpCheck(), 7))
        self.assertEqual((server.state, server.reason, server.since), (State.UP, "because", 2.0))
        self.assertEqual((server.registered, server.revision), (9.0, 3))

    def test_register_again_while_down(self) -> None:
        """
        A server that is down and registers again is pending.
        """
        pool, outcome = apply(after(register(), report(State.DOWN, 1, 2.0)), register(time=9.0))
        server = pool.servers[ID]
        self.assertEqual(outcome, Registered(server, created=False))
        self.assertEqual((server.state, server.since), (State.PENDING, 9.0))

    def test_register_again_keeps_the_place(self) -> None:
        """
        Servers keep the order in which they first registered.
        """
        pool = after(register(1), register(2), register(1))
        self.assertEqual([server.port for server in pool.servers.values()], [1, 2])

    def test_deregister(self) -> None:
        """
        The server is removed; the outcome has it as it was.
        """
        before = after(register())
        pool, outcome = apply(before, Deregister(ID, 2.0, "test"))
        self.assertEqual(outcome, Deregistered(before.servers[ID]))
        self.assertEqual(pool, Pool(2, {}))

    def test_deregister_with_revision(self) -> None:
        """
        With a revision, only that registration is removed.
        """
        before = after(register(), register())
        pool, outcome = apply(before, Deregister(ID, 2.0, "test", revision=1))
        self.assertEqual(outcome, Stale(before.servers[ID]))
        self.assertIs(pool.servers, before.servers)
        _, outcome = apply(before, Deregister(ID, 2.0, "test", revision=2))
        self.assertEqual(outcome, Deregistered(before.servers[ID]))

    def test_report(self) -> None:
        """
        A report changes the state of the server, and the time since when it is in it.
        """
        pool, outcome = apply(after(register()), report(State.UP, 1, 4.0))
        server = pool.servers[ID]
        self.assertEqual(outcome, Reported(server))
        self.assertEqual((server.state, server.reason, server.since), (State.UP, "because", 4.0))

    def test_report_of_the_same_state(self) -> None:
        """
        The reason changes, the time does not.
        """
        pool = after(register(), report(State.UP, 1, 4.0), report(State.UP, 1, 6.0, "again"))
        server = pool.servers[ID]
        self.assertEqual((server.reason, server.since), ("again", 4.0))

    def test_report_of_an_earlier_registration(self) -> None:
        """
        A report about an earlier registration changes nothing.
        """
        before = after(register(), register())
        pool, outcome = apply(before, report(State.UP, 1, 4.0))
        self.assertEqual(outcome, Stale(before.servers[ID]))
        self.assertIs(pool.servers, before.servers)

    def test_unknown(self) -> None:
        """
        Commands about an unknown server change nothing but the index.
        """
        for command in (Deregister(ID, 1.0, "test"), report(State.UP, 1, 1.0)):
            pool, outcome = apply(Pool(), command)
            self.assertEqual(outcome, Unknown(ID))
            self.assertEqual(pool, Pool(1, {}))

    @given(POOLS, COMMANDS)
    def test_total_and_pure(self, pool: Pool, command: Command) -> None:
        """
        Any command gives an outcome, raises the index by one, changes no server but those
        that it is about, and leaves the old pool as it was. The same command on the same
        pool gives the same result.
        """
        before = msgspec.msgpack.encode(pool)
        new, outcome = apply(pool, command)
        self.assertEqual(msgspec.msgpack.encode(pool), before)
        again = msgspec.msgpack.encode(apply(pool, command))
        self.assertEqual(again, msgspec.msgpack.encode((new, outcome)))
        self.assertEqual(new.index, pool.index + 1)
        changed = {
            id
            for id in pool.servers.keys() | new.servers.keys()
            if pool.servers.get(id) != new.servers.get(id)
        }
        if isinstance(outcome, Stale | Unknown | VersionMismatch | Done):
            self.assertIs(new.servers, pool.servers)
        elif isinstance(outcome, Judged):
            assert isinstance(command, Verdicts)
            self.assertLessEqual(changed, {each.id for each in command.verdicts})
            self.assertEqual(len(outcome.outcomes), len(command.verdicts))
        else:
            self.assertLessEqual(changed, {outcome.server.id})
        for id, server in new.servers.items():
            self.assertEqual(id, server.id)
            self.assertLessEqual(server.revision, new.index)

    @given(st.lists(COMMANDS))
    def test_revisions_are_unique(self, commands: list[Command]) -> None:
        """
        No two registrations have the same revision.
        """
        view = PoolView()
        revisions = [
            outcome.server.revision
            for outcome in map(partial(apply_to, view), commands)
            if isinstance(outcome, Registered)
        ]
        self.assertEqual(len(revisions), len(set(revisions)))
