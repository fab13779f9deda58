"""
L{alacrity.cluster.wire.transport} over real sockets, on each kind of reactor.
"""

from __future__ import annotations

from tests.support.own_reactor import OwnReactorTestCase


class ReactorTests(OwnReactorTestCase):
    """
    The tests of L{tests.support.cluster_sockets}.
    """

    MODULE = "tests.support.cluster_sockets"

    def test_twisted(self) -> None:
        self.assert_passes(self.MODULE, "twisted")

    def test_uvloop(self) -> None:
        self.assert_passes(self.MODULE, "uvloop")
