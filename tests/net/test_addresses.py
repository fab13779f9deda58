"""
L{alacrity.net.addresses}: addresses and host names as text.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.addresses import (
    TrustedPeers,
    bindable_host,
    is_address,
    is_any_host,
    is_host_name,
    is_http_url,
    is_ip,
    is_ip_authority,
    is_node_name,
    join_address,
    normalized_address,
    peer_host,
    plain_network,
    split_address,
    split_authority,
    unmapped,
)


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
        An address that is spelt anew stays the same address.
        """
        try:
            split = split_address(text)
        except ValueError:
            return
        self.assertEqual(split_address(join_address(*split)), split)

    def test_questions(self) -> None:
        """
        Addresses, host names and names of nodes are told from other texts.
        """
        self.assertTrue(is_address("a:1") and not is_address("a"))
        self.assertTrue(is_ip("::1") and is_ip("10.0.0.1"))
        for text in ("a", "[::1]", "10.0.0.300", ""):
            self.assertFalse(is_ip(text), text)
        for text in ("a", "a_b", "Proxy-1.example.org", "1a"):
            self.assertTrue(is_host_name(text), text)
        for text in ("", "1.2", "10.0.0.1", "a.", "-a", "a b", "a:1", "ä"):
            self.assertFalse(is_host_name(text), text)
        for text in ("a", "[::1]:8688", "x" * 128):
            self.assertTrue(is_node_name(text), text)
        for text in ("", "a b", "x" * 129, "ä", "a\n", "a=b"):
            self.assertFalse(is_node_name(text), text)
        self.assertTrue(is_http_url("http://a") and is_http_url("https://a"))
        self.assertFalse(is_http_url("a:8687"))

    def test_one_form(self) -> None:
        """
        Two spellings of one address are one.
        """
        self.assertEqual(normalized_address("[2001:DB8:0::1]:0080"), "[2001:db8::1]:80")
        self.assertRaises(ValueError, normalized_address, "a")
        for address, expected in (
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("10.0.0.1", "10.0.0.1"),
        ):
            self.assertEqual(str(unmapped(ip_address(address))), expected)


class AuthorityTests(SynchronousTestCase):
    """
    C{Host} fields and the authorities of URLs.
    """

    def test_good(self) -> None:
        """
        The host comes in the one form in which hosts are compared.
        """
        for text, expected in (
            ("Node-A.", ("node-a", None)),
            ("node-a:80", ("node-a", 80)),
            ("node-a:", ("node-a", None)),
            ("10.0.0.1:8687", ("10.0.0.1", 8687)),
            ("[0:0::1]:80", ("[::1]", 80)),
            ("[fe80::1%25eth0]", ("[fe80::1]", None)),
        ):
            self.assertEqual(split_authority(text), expected, text)

    def test_bad(self) -> None:
        """
        Other texts are no authorities.
        """
        for text in ("", ".", ":80", "a b", "a/b", "u@a", "a:b", "a:123456", "[a]", "[::1", "ä"):
            self.assertIsNone(split_authority(text), text)

    def test_kinds(self) -> None:
        """
        IP addresses are told from names.
        """
        for host in ("[::1]", "10.0.0.1"):
            self.assertTrue(is_ip_authority(host), host)
        for host in ("localhost", "10.0.0", "127.1"):
            self.assertFalse(is_ip_authority(host), host)


class PeerTests(SynchronousTestCase):
    """
    The ends of connections, and the networks that they are in.
    """

    def test_peers(self) -> None:
        """
        One form for each address, whatever socket accepted the connection.
        """
        for host, expected in (
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1", "fe80::1"),
            ("::1", "::1"),
            ("::ffff:0:0", "::ffff:0:0"),
        ):
            self.assertEqual(peer_host(host), expected)

    def test_bound(self) -> None:
        """
        Hosts to bind to.
        """
        for host, expected in (
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::FFFF:7f00:1", "127.0.0.1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("", ""),
            ("localhost", "localhost"),
        ):
            self.assertEqual(bindable_host(host), expected)
        for host, expected_any in (("", True), ("::", True), ("0::0", True), ("::1", False)):
            self.assertIs(is_any_host(host), expected_any)

    def test_networks(self) -> None:
        """
        Networks of IPv4 addresses in the form of IPv6.
        """
        for text, expected in (
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.7", "10.0.0.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ):
            self.assertEqual(plain_network(ip_network(text)), ip_network(expected))

    def test_trusted(self) -> None:
        """
        Proxies in front, by network and over Unix sockets.
        """
        peers = TrustedPeers((ip_network("10.0.0.0/8"), ip_network("fe80::/10")))
        for host, expected in (
            ("10.1.2.3", True),
            ("::ffff:10.1.2.3", True),
            ("fe80::7%eth0", True),
            ("192.0.2.1", False),
            ("::1", False),
            ("", False),
        ):
            self.assertIs(peers.trusts(host), expected, host)
        self.assertTrue(TrustedPeers(unix=True).trusts(""))
        self.assertFalse(TrustedPeers(unix=True).trusts("127.0.0.1"))
        self.assertTrue(TrustedPeers(unix=True))
        self.assertFalse(TrustedPeers())
