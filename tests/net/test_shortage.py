"""
Tests for L{alacrity.net.shortage}.
"""

from __future__ import annotations

import errno

from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.shortage import local_shortage


class ShortageTests(SynchronousTestCase):
    def test_whose_fault(self) -> None:
        """
        A shortage on this machine is told from a failure at the other end.
        """
        for error, expected in (
            (OSError(errno.EMFILE, "too many files"), errno.EMFILE),
            (ConnectError(errno.EADDRNOTAVAIL), errno.EADDRNOTAVAIL),
            (ConnectionRefusedError(errno.ECONNREFUSED), None),
            (OSError(errno.ECONNRESET, "reset"), None),
            (ValueError(), None),
            (None, None),
        ):
            self.assertEqual(local_shortage(error), expected, error)
