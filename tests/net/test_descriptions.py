"""
Tests for L{alacrity.net.descriptions}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import _parse
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.descriptions import Description, parse_description


class DescriptionTests(SynchronousTestCase):
    """
    Endpoint strings, taken apart.
    """

    def test_arguments(self) -> None:
        """
        Arguments have the names of their positions.
        """
        for text, expected in (
            ("tcp:80", Description("tcp", {"port": "80"})),
            ("tcp:80:a:5", Description("tcp", {"port": "80", "interface": "a", "backlog": "5"})),
            ("tcp6:80:5:a", Description("tcp6", {"port": "80", "interface": "a", "backlog": "5"})),
            ("tcp:interface=a:80", Description("tcp", {"port": "80", "interface": "a"})),
            ("unix:a:660", Description("unix", {"address": "a", "mode": "660"})),
            ("unix:/a\\:b\\=c=d", Description("unix", {"/a:b=c": "d"})),
            (
                "systemd:domain=INET:index=0",
                Description("systemd", {"domain": "INET", "index": "0"}),
            ),
            ("haproxy:tcp:80", Description("haproxy", {"0": "tcp", "1": "80"})),
            ("", Description("", {})),
            ("a\\", Description("a", {})),
        ):
            self.assertEqual(parse_description(text), expected, text)

    @given(st.text(alphabet="tcp6:=\\a0"))
    def test_like_twisted(self, text: str) -> None:
        """
        A string is taken apart as Twisted takes it.
        """
        try:
            arguments, named = _parse("x:" + text)
        except RuntimeError:
            return  # It ends with a backslash.
        expected = {str(n): each for n, each in enumerate(arguments[1:])} | named
        self.assertEqual(parse_description("x:" + text).arguments, expected)

    def test_addresses(self) -> None:
        """
        The addresses that endpoints over TCP bind to.
        """
        for text, expected in (
            ("tcp:80", ("0.0.0.0", 80)),
            ("tcp6:80", ("::", 80)),
            ("tcp:80:10.0.0.1", ("10.0.0.1", 80)),
            ("tcp6:80:interface=2001\\:DB8\\:\\:1", ("2001:db8::1", 80)),
            ("tcp:80:interface=a", None),
            ("tcp:http", None),
            ("ssl:80:interface=10.0.0.1", None),
            ("unix:a", None),
        ):
            self.assertEqual(parse_description(text).address, expected, text)

    def test_modes(self) -> None:
        """
        A mode has a name, or the second place.
        """
        for description in ("unix:a:mode=660", "unix:mode=660:a", "unix:a:660", "unix:a:660:50"):
            self.assertTrue(parse_description(description).names_mode, description)
        for description in (
            "unix:a",
            "unix:address=a",
            "unix:a:backlog=5:lockfile=0",
            "unix:/mode=a",
            "unix:a\\:mode\\=660",
            "unix:a\\:b",
            "unix:a\\\\",
        ):
            self.assertFalse(parse_description(description).names_mode, description)

    def test_local(self) -> None:
        """
        Endpoints that only this machine can reach are told from others.
        """
        for description, expected in (
            ("tcp:8687:interface=127.0.0.1", True),
            ("tcp:8687:interface=127.9.9.9", True),
            ("tcp:interface=127.0.0.1:port=8687", True),
            ("tcp:8687:backlog=9:interface=localhost", True),
            ("tcp6:8687:interface=\\:\\:1", True),
            ("tcp:8687:interface=\\:\\:1", True),
            ("ssl:8687:interface=127.0.0.1", True),
            ("tcp:8687:127.0.0.1", True),
            ("unix:/run/alacrity.sock", True),
            ("unix:/run/a:mode=600", True),
            ("tcp:8687", False),
            ("tcp:8687:interface=", False),
            ("tcp:8687:interface=0.0.0.0", False),
            ("tcp:8687:interface=127.0.0.1:interface=10.0.0.1", False),
            ("tcp:8687:interface=10.0.0.1", False),
            ("tcp:8687:interface=web1", False),
            ("tcp6:8687:interface=\\:\\:", False),
            ("tcp6:8687:interface=\\:\\:ffff\\:127.0.0.1", True),
            ("ssl:8687", False),
            ("systemd:domain=INET:index=0", False),
            ("haproxy:tcp:8687:interface=127.0.0.1", False),
        ):
            self.assertIs(parse_description(description).is_local, expected, description)
