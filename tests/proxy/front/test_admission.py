"""
Tests for L{alacrity.proxy.front.admission}.
"""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.addresses import TrustedPeers
from alacrity.proxy.front.admission import Admission, network


class AdmissionTests(SynchronousTestCase):
    """
    Connections that are served, and connections that are refused.
    """

    def setUp(self) -> None:
        self.admission = Admission(
            connections=3,
            refused=1,
            per_address=2,
            trusted=TrustedPeers((ip_network("10.0.0.0/8"),)),
        )

    def enter(self, host: str) -> bool:
        """
        Whether another connection is served.
        """
        trusted = self.admission.trusts(host)
        return self.admission.enter(host, trusted=trusted).is_served

    def test_in_all(self) -> None:
        """
        Some more than are served are told so, and then none are.
        """
        served = []
        while self.admission.has_room:
            served.append(self.enter(""))
        self.assertEqual(served, [True, True, True, False])

    def test_from_one_network(self) -> None:
        """
        One network has its share; leaving makes room.
        """
        first = self.admission.enter("192.0.2.1", trusted=False)
        self.assertTrue(self.enter("192.0.2.1"))
        third = self.admission.enter("192.0.2.1", trusted=False)
        self.assertFalse(third.is_served)
        self.admission.leave(third)
        self.admission.leave(first)
        self.assertTrue(self.enter("192.0.2.1"))

    def test_not_counted(self) -> None:
        """
        Trusted proxies and Unix sockets have no share to exceed.
        """
        for host in ("10.0.0.1", ""):
            admitted = self.admission.enter(host, trusted=self.admission.trusts(host))
            self.assertIsNone(admitted.network)

    def test_trusted(self) -> None:
        """
        By address.
        """
        for host, trusted in (("10.1.2.3", True), ("192.0.2.1", False), ("", False)):
            self.assertEqual(self.admission.trusts(host), trusted)
        unix = Admission(connections=1, refused=0, per_address=1, trusted=TrustedPeers(unix=True))
        self.assertTrue(unix.trusts(""))
        self.assertFalse(unix.trusts("10.1.2.3"))

    def test_network(self) -> None:
        """
        An IPv6 client has 64 bits to itself; an IPv4 address is the same in either dress.
        """
        self.assertEqual(network("2001:db8::1"), network("2001:db8::2:3"))
        self.assertNotEqual(network("2001:db8::1"), network("2001:db8:0:1::1"))
        self.assertEqual(network("192.0.2.1"), network("::ffff:192.0.2.1"))
