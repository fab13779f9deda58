"""
Tests for L{alacrity.proxy.upstream.retry}: what follows a failed attempt.
"""

from __future__ import annotations

import errno
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.events import Cause, FailureKind
from alacrity.proxy.upstream.retry import (
    FailedAttempts,
    NextStep,
    may_repeat,
    next_step,
    own_status,
)
from alacrity.proxy.upstream.server import UpstreamServer
from tests.support.wire import server

REFUSED: Final = Cause(FailureKind.CONNECT_REFUSED, "cannot connect")
STALE: Final = Cause(FailureKind.RESET_BEFORE_RESPONSE, "lost", was_sent=True, repeat_is_safe=True)


class RuleTests(SynchronousTestCase):
    """
    The rules.
    """

    def test_may_repeat(self) -> None:
        """
        All of four things have to hold.
        """
        kind = FailureKind.RESET_BEFORE_RESPONSE
        self.assertTrue(may_repeat(kind, was_reused=True, method=b"PUT", body_is_kept=True))
        for other, was_reused, method, body_is_kept in (
            (FailureKind.RESET_IN_RESPONSE, True, b"GET", True),
            (FailureKind.BAD_RESPONSE, True, b"GET", True),
            (kind, False, b"GET", True),
            (kind, True, b"POST", True),
            (kind, True, b"PUT", False),
        ):
            self.assertFalse(
                may_repeat(other, was_reused=was_reused, method=method, body_is_kept=body_is_kept)
            )

    def test_next_step(self) -> None:
        """
        Nothing sent: another server. Safe: the same one. Else nothing.
        """
        for cause, step in (
            (REFUSED, NextStep.ANOTHER_SERVER),
            (STALE, NextStep.SAME_SERVER),
            (Cause(FailureKind.BAD_RESPONSE, was_sent=True), NextStep.GIVE_UP),
            (Cause(FailureKind.SERVER_REMOVED, was_sent=True), NextStep.GIVE_UP),
            (Cause(FailureKind.NODE_SHORTAGE, error_code=errno.EMFILE), NextStep.GIVE_UP),
            (
                Cause(FailureKind.NODE_SHORTAGE, error_code=errno.EADDRNOTAVAIL),
                NextStep.ANOTHER_SERVER,
            ),
        ):
            self.assertEqual(next_step(cause), step, cause)

    def test_own_status(self) -> None:
        """
        The status of the answer shows the party at fault.
        """
        for kind in FailureKind:
            status = own_status(Cause(kind))
            self.assertIn(status, {408, 500, 502, 503, 504})
        self.assertEqual(own_status(REFUSED), 502)
        self.assertEqual(own_status(Cause(FailureKind.RESPONSE_TIMED_OUT)), 504)


class FailedAttemptsTests(SynchronousTestCase):
    """
    The attempts of one request.
    """

    def setUp(self) -> None:
        self.failed = FailedAttempts()
        self.servers = [UpstreamServer(server(port)) for port in (1, 2)]

    def test_tried(self) -> None:
        """
        A server that could not be reached is not tried again, one that was closing is.
        """
        first, second = self.servers
        self.assertEqual(self.failed.add(first, REFUSED), NextStep.ANOTHER_SERVER)
        self.assertEqual(self.failed.add(second, STALE), NextStep.SAME_SERVER)
        self.assertEqual(self.failed.tried, {first})
        self.assertEqual(self.failed.last, STALE)

    def test_retired(self) -> None:
        """
        Unless it has left the pool.
        """
        first, _ = self.servers
        first.retire()
        self.assertEqual(self.failed.add(first, STALE), NextStep.ANOTHER_SERVER)
        status, cause = self.failed.unserved()
        self.assertEqual((status, cause.text), (503, "no server is up"))

    def test_unserved(self) -> None:
        """
        With all tried, the answer is 502, but 503 if this node was short of anything.
        """
        first, second = self.servers
        self.assertEqual(self.failed.unserved()[0], 503)
        self.failed.add(first, REFUSED)
        self.assertEqual(self.failed.unserved(), (502, REFUSED))
        shortage = Cause(FailureKind.NODE_SHORTAGE, error_code=errno.EADDRNOTAVAIL)
        self.failed.add(second, shortage)
        self.assertEqual(self.failed.unserved(), (503, shortage))
