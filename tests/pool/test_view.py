"""
L{alacrity.pool.view}: the calls of subscribers.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import (
    Change,
    Command,
    Deregister,
    PoolView,
    Registered,
    Server,
    State,
)
from tests.support.pools import COMMANDS, ID, apply_to, register, report


class PoolViewTests(SynchronousTestCase):
    """
    L{PoolView}.
    """

    def setUp(self) -> None:
        """
        A view, and the changes that a subscriber is called with.
        """
        self.view = PoolView()
        self.heard: list[Change] = []

    def test_existing_servers_are_told(self) -> None:
        """
        A new subscriber is called with the servers that are there.
        """
        apply_to(self.view, register(1))
        apply_to(self.view, register(2))
        self.view.subscribe(self.heard.append)
        servers = self.view.pool.servers.values()
        self.assertEqual(self.heard, [Change(None, server) for server in servers])

    def test_changes_are_told(self) -> None:
        """
        Each change has the server before and after.
        """
        self.view.subscribe(self.heard.append)
        apply_to(self.view, register())
        pending = self.view.pool.servers[ID]
        apply_to(self.view, report(State.UP, 1, 2.0))
        up = self.view.pool.servers[ID]
        apply_to(self.view, Deregister(ID, 3.0, "test"))
        self.assertEqual(self.heard, [Change(None, pending), Change(pending, up), Change(up, None)])

    def test_nothing_is_told_of_nothing(self) -> None:
        """
        Commands that change no server cause no calls.
        """
        apply_to(self.view, register())
        self.view.subscribe(self.heard.append)
        self.heard.clear()
        apply_to(self.view, report(State.UP, 7, 2.0))
        apply_to(self.view, Deregister("nobody", 2.0, "test"))
        self.assertEqual(self.heard, [])

    def test_unsubscribe(self) -> None:
        """
        A former subscriber is called no more, even with a change that is being published.
        """
        unsubscribe = self.view.subscribe(self.heard.append)
        unsubscribe()
        apply_to(self.view, register())
        self.assertEqual(self.heard, [])
        self.view.subscribe(lambda change: change.after or unsubscribe())
        unsubscribe = self.view.subscribe(self.heard.append)
        self.heard.clear()
        apply_to(self.view, Deregister(ID, 2.0, "test"))
        self.assertEqual(self.heard, [])

    def test_raising_subscriber(self) -> None:
        """
        An exception of a subscriber is logged; the others are called nevertheless.
        """

        def broken(change: Change) -> None:
            raise RuntimeError(change)

        self.view.subscribe(broken)
        self.view.subscribe(self.heard.append)
        with capturedLogs() as logged:
            outcome = apply_to(self.view, register())
        self.assertIsInstance(outcome, Registered)
        self.assertEqual(len(self.heard), 1)
        [event] = logged
        self.assertEqual(event["log_level"], LogLevel.critical)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_changes_made_while_telling(self) -> None:
        """
        A subscriber may make a change when it is called. All are called with both changes
        in the order in which they happened.
        """

        def eager(change: Change) -> None:
            if change.before is None and change.after is not None:
                apply_to(self.view, report(State.UP, change.after.revision, 2.0))
                self.view.subscribe(late.append)

        late: list[Change] = []
        self.view.subscribe(eager)
        self.view.subscribe(self.heard.append)
        apply_to(self.view, register())
        states = [change.after.state for change in self.heard if change.after]
        self.assertEqual(states, [State.PENDING, State.UP])
        self.assertEqual(late, [Change(None, self.view.pool.servers[ID])])

    @given(st.lists(COMMANDS))
    def test_changes_add_up(self, commands: list[Command]) -> None:
        """
        All changes together make the pool.
        """
        view = PoolView()
        servers: dict[str, Server] = {}

        def follow(change: Change) -> None:
            if change.before is not None:
                self.assertEqual(servers.pop(change.before.id), change.before)
            if change.after is not None:
                servers[change.after.id] = change.after

        view.subscribe(follow)
        for command in commands:
            apply_to(view, command)
        self.assertEqual(servers, view.pool.servers)
