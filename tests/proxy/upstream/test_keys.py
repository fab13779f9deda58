"""
Tests for L{alacrity.proxy.upstream.keys}.
"""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.messages import RequestHead
from alacrity.net.addresses import TrustedPeers
from alacrity.proxy.upstream.keys import key_reader

CLIENT = b"203.0.113.9"


def head(
    target: bytes = b"/",
    *,
    host: bytes = b"example.org",
    lines: tuple[bytes, ...] = (),
    specials: tuple[tuple[bytes, bytes], ...] = (),
) -> RequestHead:
    """
    A request's head.
    """
    return RequestHead(b"GET", target, 1, host, list(lines), list(specials), frozenset(), 0, True)


class KeyTests(SynchronousTestCase):
    """
    The keys of requests.
    """

    def test_path(self) -> None:
        """
        The path is the target up to the query.
        """
        read = key_reader("path")
        self.assertEqual(read(head(b"/a/b?c=d?e"), CLIENT), b"/a/b")
        self.assertEqual(read(head(b"*"), CLIENT), b"*")

    def test_header(self) -> None:
        """
        A header's name has no case, its value is trimmed, and the first counts; one that is
        empty is none. The host and the fields that a proxy reads itself are headers too.
        """
        read = key_reader("header:X-User")
        self.assertEqual(read(head(lines=(b"x-USER: \t ann ", b"X-User: bob")), CLIENT), b"ann")
        self.assertIsNone(read(head(lines=(b"X-User:",)), CLIENT))
        self.assertIsNone(read(head(lines=(b"X-Users: ann",)), CLIENT))
        self.assertEqual(key_reader("header:Host")(head(host=b"A.example"), CLIENT), b"a.example")
        self.assertIsNone(key_reader("header:host")(head(host=b""), CLIENT))
        forwarded = head(specials=((b"via", b"1.1 a"), (b"x-forwarded-for", b"192.0.2.1")))
        self.assertEqual(key_reader("header:X-Forwarded-For")(forwarded, CLIENT), b"192.0.2.1")

    def test_cookie(self) -> None:
        """
        A cookie is found among others, in any field of them; its name has a case.
        """
        read = key_reader("cookie:id")
        for lines, expected in (
            ((b"Cookie: id=1",), b"1"),
            ((b"cookie: a=b; id=x=y; c=d",), b"x=y"),
            ((b"Cookie: a=b", b"Cookie: id=2;id=3"), b"2"),
            ((b"Cookie: ID=1; xid=2; id2=3",), None),
            ((b"Cookie: id=",), None),
            ((b"Cookie: id",), None),
            ((b"Cookies: id=1",), None),
            ((), None),
        ):
            self.assertEqual(read(head(lines=lines), CLIENT), expected, lines)

    def test_query(self) -> None:
        """
        A parameter of the query, as it was sent.
        """
        read = key_reader("query:q")
        for target, expected in (
            (b"/?q=1", b"1"),
            (b"/?a=b&q=c%20d&q=e", b"c%20d"),
            (b"/?q=a?b=c", b"a?b=c"),
            (b"/?qq=1&Q=2", None),
            (b"/?q=", None),
            (b"/?q", None),
            (b"/q=1", None),
        ):
            self.assertEqual(read(head(target), CLIENT), expected, target)

    def test_ip(self) -> None:
        """
        The address is that of the client; one on a Unix socket has none. What a client says of
        itself is no matter.
        """
        read = key_reader("ip")
        said = head(specials=((b"x-forwarded-for", b"192.0.2.1"),))
        self.assertEqual(read(said, CLIENT), CLIENT)
        self.assertIsNone(read(head(), b""))
        self.assertEqual(
            key_reader("ip", TrustedPeers((ip_network("10.0.0.0/8"),)))(said, CLIENT), CLIENT
        )

    def test_ip_behind_proxies(self) -> None:
        """
        Behind trusted proxies, it is the last address that no trusted proxy has.
        """
        read = key_reader("ip", TrustedPeers((ip_network("10.0.0.0/8"), ip_network("fd00::/8"))))
        for value, expected in (
            (b"192.0.2.1", b"192.0.2.1"),
            (b"198.51.100.7, 192.0.2.1", b"192.0.2.1"),
            (b"192.0.2.1, 10.0.0.2,fd00::1", b"192.0.2.1"),
            (b"10.0.0.2, 10.0.0.3", b"10.0.0.2"),
            (b"unknown", b"unknown"),
            (b"", b"10.0.0.1"),
        ):
            request = head(specials=((b"x-forwarded-for", value),))
            self.assertEqual(read(request, b"10.0.0.1"), expected, value)
        two = head(specials=((b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-for", b"10.0.0.2")))
        self.assertEqual(read(two, b"::ffff:10.0.0.1"), b"192.0.2.1")
        self.assertEqual(read(head(), b"10.0.0.1"), b"10.0.0.1")

    def test_ip_spellings(self) -> None:
        """
        An address is one key, however a proxy in front writes it; a Unix socket may be trusted.
        """
        networks = (ip_network("10.0.0.0/8"),)
        read = key_reader("ip", TrustedPeers(networks, unix=True))
        for value, expected in (
            (b"::ffff:192.0.2.1", b"192.0.2.1"),
            (b"192.0.2.1:4711", b"192.0.2.1"),
            (b"[2001:DB8::1]:4711", b"2001:db8::1"),
            (b"[2001:db8::1]", b"2001:db8::1"),
            (b"2001:db8:0::1", b"2001:db8::1"),
            (b"192.0.2.1, ::ffff:10.0.0.2, 10.0.0.3:80", b"192.0.2.1"),
            (b"unknown", b"unknown"),
            (b"_hidden:80", b"_hidden:80"),
        ):
            request = head(specials=((b"x-forwarded-for", value),))
            self.assertEqual(read(request, b""), expected, value)
        said = head(specials=((b"x-forwarded-for", b"192.0.2.1"),))
        self.assertIsNone(key_reader("ip", TrustedPeers(networks))(said, b""))

    def test_ip_behind_endless_proxies(self) -> None:
        """
        Of thousands of trusted addresses, the nearest few are read.
        """
        read = key_reader("ip", TrustedPeers((ip_network("10.0.0.0/8"),)))
        for count, expected in ((31, b"10.0.0.0"), (5000, b"10.0.19.104")):
            members = [b"10.0.%d.%d" % divmod(at, 256) for at in range(count)]
            together = ((b"x-forwarded-for", b", ".join(members)),)
            apart = tuple((b"x-forwarded-for", member) for member in members)
            for specials in (together, apart):
                self.assertEqual(read(head(specials=specials), b"10.0.0.1"), expected)
        empty = ((b"x-forwarded-for", b"," * 32000),)
        self.assertEqual(read(head(specials=empty), b"10.0.0.1"), b"10.0.0.1")

    def test_unknown(self) -> None:
        """
        Anything else is no key: the configuration refuses it before.
        """
        self.assertRaises(ValueError, key_reader, "host")
