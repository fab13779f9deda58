"""
L{alacrity.management.documents.addresses}: addresses at which nothing can be reached, and why.
"""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from alacrity.management.documents.addresses import (
    read_caller_ip,
    read_ip,
    read_server_id,
    why_unreachable,
)
from alacrity.management.documents.problems import Problem

ALLOWED = {"ip": "an address"}


class AddressTests(SynchronousTestCase):
    def test_unreachable(self) -> None:
        for text, reason in (
            ("10.0.0.7", None),
            ("255.255.255.254", None),
            ("2001:db8::7", None),
            ("0.0.0.0", "the unspecified address"),
            ("::", "the unspecified address"),
            ("224.0.0.1", "a multicast address"),
            ("ff02::1", "a multicast address"),
            ("255.255.255.255", "the broadcast address"),
            ("fe80::1%eth0", "a zone id has a meaning on one machine only"),
        ):
            self.assertEqual(why_unreachable(ip_address(text)), reason, text)

    def test_mapped(self) -> None:
        """
        An IPv4 address that is written as an IPv6 one is the IPv4 address, in ids, too.
        """
        for text, expected in (
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("::FFFF:A00:7", "10.0.0.7"),
            ("0:0:0:0:0:ffff:10.0.0.7", "10.0.0.7"),
            ("2001:DB8::0:7", "2001:db8::7"),
        ):
            self.assertEqual(read_ip(text, ALLOWED), expected)
        for text in ("::ffff:0.0.0.0", "::ffff:224.0.0.1", "::ffff:255.255.255.255"):
            self.assertRaises(Problem, read_ip, text, ALLOWED)
        for text, expected in (
            ("[::ffff:10.0.0.7]:80", "10.0.0.7:80"),
            ("[::FFFF:A00:7]:80", "10.0.0.7:80"),
            ("[0:0::1]:80", "::1:80"),
            ("2001:DB8::0:7:80", "2001:db8::7:80"),
            ("::1:80", "::1:80"),
            ("::1", "::1"),
            ("[::1]", "[::1]"),
            ("[10.0.0.7]:80", "[10.0.0.7]:80"),
            ("web1:80", "web1:80"),
        ):
            self.assertEqual(read_server_id(text), expected)

    def test_no_addresses(self) -> None:
        """
        The reason is given where it can be told.
        """
        for text, reason in (
            ("010.0.0.7", " (a leading zero may mean an octal number)"),
            ("10.0.0.256", " (a number above 255)"),
            ("web1", " (a host name, or no address at all)"),
            ("\u0661.0.0.1", ""),
        ):
            problem = self.assertRaises(Problem, read_ip, text, ALLOWED)
            self.assertEqual(problem.field, "ip")
            self.assertEqual(problem.detail, f"ip is {text!a}{reason}; allowed: an address")

    def test_callers(self) -> None:
        """
        A caller over IPv4 may look like one over IPv6.
        """
        self.assertEqual(read_caller_ip("::ffff:10.0.0.7"), "10.0.0.7")
        self.assertEqual(read_caller_ip("2001:DB8::7"), "2001:db8::7")
        self.assertRaises(Problem, read_caller_ip, None)
        self.assertRaises(Problem, read_caller_ip, "fe80::1%eth0")
