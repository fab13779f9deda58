"""
L{alacrity.pool.model}: which requests a server may get.
"""

from __future__ import annotations

from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import (
    Administration,
    AdminState,
    Condition,
    HttpCheck,
    NoCheck,
    Pool,
    Server,
    State,
    TcpCheck,
)
from tests.support.pools import POOLS

SERVER: Final = Server(
    ip="10.0.0.7",
    port=8080,
    check=HttpCheck(),
    weight=3,
    state=State.UP,
    reason="passed",
    since=2.0,
    registered=1.0,
    revision=4,
)
BROKEN_CHECK: Final = msgspec.structs.replace(
    SERVER, state=State.DOWN, condition=Condition(was_up=True, answered=True)
)


def _changed(server: Server, **changes: object) -> Server:
    return msgspec.structs.replace(server, **changes)


class ServerTests(SynchronousTestCase):
    """
    L{Server}.
    """

    def test_eligible(self) -> None:
        """
        A server is eligible if it is up, ready, and of some weight.
        """
        self.assertTrue(SERVER.eligible)
        for state in (State.PENDING, State.STOPPING, State.DOWN):
            self.assertFalse(_changed(SERVER, state=state).eligible)
        for administration in (
            Administration(AdminState.DRAIN),
            Administration(AdminState.MAINTENANCE),
            Administration(weight=0),
        ):
            self.assertFalse(_changed(SERVER, administration=administration).eligible)
        self.assertFalse(_changed(SERVER, weight=0).eligible)
        self.assertTrue(
            _changed(SERVER, weight=0, administration=Administration(weight=1)).eligible
        )

    def test_a_suspect_is_eligible(self) -> None:
        """
        A suspect may get requests; that it is the last choice is for the balancer.
        """
        self.assertTrue(_changed(SERVER, condition=Condition(suspect=True)).eligible)

    def test_effective_weight(self) -> None:
        """
        An operator's weight replaces the registered one, also if it is 0.
        """
        self.assertEqual(SERVER.effective_weight, 3)
        for weight in (0, 1, 256):
            changed = _changed(SERVER, administration=Administration(weight=weight))
            self.assertEqual(changed.effective_weight, weight)

    def test_keeps_sessions(self) -> None:
        """
        Sessions stay with a server that drains or stops, and leave one in maintenance, one
        that is down, and one without weight.
        """
        drained = _changed(SERVER, administration=Administration(AdminState.DRAIN))
        for server in (SERVER, drained, _changed(SERVER, state=State.STOPPING)):
            self.assertTrue(server.keeps_sessions)
        for state in (State.PENDING, State.DOWN):
            self.assertFalse(_changed(SERVER, state=state).keeps_sessions)
        for administration in (
            Administration(AdminState.MAINTENANCE),
            Administration(AdminState.DRAIN, weight=0),
        ):
            self.assertFalse(_changed(SERVER, administration=administration).keeps_sessions)

    def test_fail_open(self) -> None:
        """
        A candidate was up, is ready, and is down by a check that got an answer.
        """
        self.assertTrue(BROKEN_CHECK.may_fail_open)
        for changes in (
            {"state": State.PENDING},
            {"state": State.UP},
            {"state": State.STOPPING},
            {"condition": Condition(was_up=True)},
            {"condition": Condition(answered=True)},
            {"condition": Condition(was_up=True, answered=True, lease_expired=True)},
            {"administration": Administration(AdminState.DRAIN)},
            {"administration": Administration(AdminState.MAINTENANCE)},
            {"administration": Administration(weight=0)},
            {"weight": 0},
        ):
            self.assertFalse(_changed(BROKEN_CHECK, **changes).may_fail_open, changes)

    def test_fail_open_with_another_port(self) -> None:
        """
        A check of another port than the traffic's does not show that a server is dead.
        """
        was_up = Condition(was_up=True)
        for check, wanted in (
            (TcpCheck(port=9000), True),
            (TcpCheck(port=8080), False),
            (TcpCheck(), False),
            (NoCheck(), False),
        ):
            server = _changed(BROKEN_CHECK, condition=was_up, check=check)
            self.assertEqual(server.may_fail_open, wanted, check)

    def test_version(self) -> None:
        """
        The version is that of the last change, or that of the registration.
        """
        self.assertEqual(SERVER.version, 4)
        self.assertEqual(_changed(SERVER, changed=9).version, 9)

    @given(POOLS, st.sampled_from(AdminState))
    def test_roles_exclude_each_other(self, pool: Pool, state: AdminState) -> None:
        """
        No server is eligible and a candidate for failing open; who is eligible keeps its
        sessions.
        """
        for server in pool.servers.values():
            changed = _changed(server, administration=Administration(state))
            for each in (server, changed):
                self.assertFalse(each.eligible and each.may_fail_open)
                self.assertLessEqual(each.eligible, each.keeps_sessions)
