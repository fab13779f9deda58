"""
L{alacrity.cluster.wire.addresses}: where nodes are.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.addresses import join_address, peer_endpoint, split_address


class AddressTests(SynchronousTestCase):
    def test_good(self) -> None:
        for address, expected in {
            "10.0.0.1:8688": ("10.0.0.1", 8688),
            "proxy-1:1": ("proxy-1", 1),
            "Proxy-1.Example.org:65535": ("proxy-1.example.org", 65535),
            "[2001:DB8:0::1]:80": ("2001:db8::1", 80),
            "a_b:00080": ("a_b", 80),
        }.items():
            self.assertEqual(split_address(address), expected)

    def test_bad(self) -> None:
        for address, fault in {
            "": "there is no port",
            "host": "there is no port",
            "host:": "the port is not from 1 to 65535",
            "host:0": "the port is not from 1 to 65535",
            "host:65536": "the port is not from 1 to 65535",
            "host:http": "the port is not from 1 to 65535",
            "host:\u0661": "the port is not from 1 to 65535",
            ":80": "the host is neither an IP address nor a name",
            "10.0.0.300:80": "the host is neither an IP address nor a name",
            "-a:80": "the host is neither an IP address nor a name",
            "a b:80": "the host is neither an IP address nor a name",
            "a..b:80": "the host is neither an IP address nor a name",
            "a\n:80": "the host is neither an IP address nor a name",
            "x" * 64 + ":80": "the host is neither an IP address nor a name",
            "2001:db8::1:80": "an IPv6 address needs brackets",
            "[10.0.0.1]:80": "there is no IPv6 address between the brackets",
            "[::g]:80": "there is no IPv6 address between the brackets",
        }.items():
            error = self.assertRaises(ValueError, split_address, address)
            self.assertEqual(str(error), fault, address)

    @given(st.text(max_size=30))
    def test_one_spelling(self, text: str) -> None:
        """
        What is understood, is understood alike when spelt anew.
        """
        try:
            split = split_address(text)
        except ValueError:
            return
        self.assertEqual(split_address(join_address(*split)), split)

    def test_endpoints(self) -> None:
        """
        Names are resolved by the reactor, without blocking.
        """
        reactor = MemoryReactorClock()
        for host, kind in {
            "10.0.0.1": TCP4ClientEndpoint,
            "2001:db8::1": TCP6ClientEndpoint,
            "proxy-1": HostnameEndpoint,
        }.items():
            self.assertIsInstance(peer_endpoint(reactor, host, 80, 1.0), kind)
