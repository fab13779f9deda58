"""
Cookies in requests, and set with responses.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.cookies import keeps_to_one, set_cookie, take_cookie


class TakeCookieTests(SynchronousTestCase):
    """
    The fields without the cookie C{s}.
    """

    def test_taken(self) -> None:
        """
        The cookie goes, the rest of a field stays byte for byte.
        """
        for line, left, values in [
            (b"Cookie: s=1", None, [b"1"]),
            (b"cookie:s=1", None, [b"1"]),
            (b"Cookie: s=1; a=2", b"Cookie: a=2", [b"1"]),
            (b"Cookie:s=1;a=2", b"Cookie:a=2", [b"1"]),
            (b"Cookie: a=2; s=1", b"Cookie: a=2", [b"1"]),
            (b"COOKIE: a=2;  s = 1 ;b= 3", b"COOKIE: a=2;b= 3", [b"1"]),
            (b"Cookie: a=2; s=1; s=3;", b"Cookie: a=2;", [b"1", b"3"]),
            (b"Cookie: ;s=1", None, [b"1"]),
            (b"Cookie: ; a=2; s=1", b"Cookie: ; a=2", [b"1"]),
            (b'Cookie: s="1"; a="2"', b'Cookie: a="2"', [b"1"]),
            (b"Cookie: s=a=b; a=2", b"Cookie: a=2", [b"a=b"]),
            (b"Cookie: s=; a=2", b"Cookie: a=2", [b""]),
        ]:
            with self.subTest(line=line):
                lines, found = take_cookie([b"A: s=1", line, b"B: 2"], b"s")
                self.assertEqual(lines, [b"A: s=1", *([left] if left else []), b"B: 2"])
                self.assertEqual(found, values)

    def test_others_stay(self) -> None:
        """
        Fields without the cookie are the very same ones.
        """
        for line in [
            b"Cookie: a=2",
            b"Cookie: S=1",
            b"Cookie: ss=1; s",
            b"Cookie: a=s; b=s=1",
            b"Cookie2: s=1",
            b"X-Cookie: s=1",
            b"Cookie:  ;; a = s ;\t",
        ]:
            lines = [line]
            self.assertEqual(take_cookie(lines, b"s"), ([line], []))
            self.assertIs(take_cookie(lines, b"s")[0], lines)

    def test_several_fields(self) -> None:
        """
        The cookie may be in several fields.
        """
        self.assertEqual(
            take_cookie([b"Cookie: s=1", b"Cookie: a=2; s=3"], b"s"),
            ([b"Cookie: a=2"], [b"1", b"3"]),
        )

    @given(st.lists(st.binary(max_size=12).filter(lambda each: b"s=" not in each)), st.data())
    def test_rest(self, others: list[bytes], data: st.DataObject) -> None:
        """
        Whatever else is in a field stays, wherever the cookie is after it.
        """
        others = [each.replace(b";", b"") for each in others]
        at = data.draw(st.integers(1, len(others) or 1))
        if not others:
            return
        pairs = [*others[:at], b" s=1", *others[at:]]
        lines, values = take_cookie([b"Cookie: " + b";".join(pairs)], b"s")
        self.assertEqual(values, [b"1"])
        rest = b";".join(others)
        self.assertEqual(lines, [b"Cookie: " + rest] if rest.strip(b" \t;") else [])


class SetCookieTests(SynchronousTestCase):
    """
    Lines of responses.
    """

    def test_line(self) -> None:
        """
        What is configured is in the line.
        """
        self.assertEqual(
            set_cookie(b"s", b"1", max_age=0, domain=b"", same_site=b"Lax", secure=False),
            b"Set-Cookie: s=1; Path=/; HttpOnly; SameSite=Lax",
        )
        self.assertEqual(
            set_cookie(b"s", b"1", max_age=60, domain=b"a.test", same_site=b"None", secure=True),
            b"Set-Cookie: s=1; Path=/; HttpOnly; SameSite=None; Max-Age=60; Domain=a.test; Secure",
        )

    def test_keeps_to_one(self) -> None:
        """
        C{private} without fields and C{no-store} keep a response to one client.
        """
        for value, expected in [
            (b"private", True),
            (b"max-age=0, PRIVATE", True),
            (b"no-store", True),
            (b"public, max-age=60", False),
            (b'private="set-cookie"', False),
            (b'ext="a, private"', False),
            (b'ext="a, private', False),
            (b'ext="a\\", private', False),
            (b'ext="a\\', False),
            (b'private, ext="a', True),
            (b'ext="a\\"", private', True),
            (b"no-cache", False),
            (b"", False),
        ]:
            with self.subTest(value=value):
                self.assertEqual(keeps_to_one([b"A: private", b"cache-control:" + value]), expected)
