"""
Tests for L{alacrity.net.tokens}.
"""

from __future__ import annotations

import os
from pathlib import Path

from alacrity.net.tokens import LONGEST, SHORTEST, TokenError, read_token
from tests.support.management_caller import TOKEN
from tests.support.token_files import DirectoryTestCase, token_file


class FileTests(DirectoryTestCase):
    """
    The file.
    """

    def test_tokens(self) -> None:
        """
        One line, its end or none.
        """
        for content in (TOKEN, TOKEN + b"\n", TOKEN + b"\r\n"):
            for mode in (0o600, 0o400, 0o640, 0o440):
                path = token_file(content)
                path.chmod(mode)
                self.assertEqual(read_token(path), TOKEN)
                path.unlink()
        self.assertEqual(read_token(token_file(b"a" * SHORTEST)), b"a" * SHORTEST)
        self.assertEqual(read_token(token_file(b"a" * LONGEST + b"\n")), b"a" * LONGEST)

    def test_modes(self) -> None:
        """
        Others may not read it, nor may its group write it.
        """
        path = token_file(TOKEN)
        for mode in (0o644, 0o604, 0o660, 0o602, 0o601, 0o777):
            path.chmod(mode)
            with self.assertRaises(TokenError) as caught:
                read_token(path)
            self.assertEqual(
                str(caught.exception),
                f"found a file of mode {mode:04o}, which others may use; "
                "allowed: a mode such as 0600 or 0640 (chmod 600)",
            )

    def test_contents(self) -> None:
        """
        Content that is no token is not shown.
        """
        for content in (
            b"",
            b"\n",
            b"a" * (SHORTEST - 1),
            b"a" * (LONGEST + 1),
            TOKEN + b"\n\n",
            b" " + TOKEN,
            TOKEN + b" x",
            TOKEN + b"=a",
            b"\xff" * 30,
            b"\0" * 30,
        ):
            with self.assertRaises(TokenError, msg=content) as caught:
                read_token(token_file(content))
            self.assertTrue(str(caught.exception).startswith("found something else in the file;"))
            self.assertNotIn("aaaa", str(caught.exception))

    def test_no_file(self) -> None:
        """
        There is no file, or no regular one.
        """
        os.mkfifo("pipe", 0o600)
        for path, fault in (
            (
                "none",
                "found a file that cannot be read (No such file or directory); allowed: a file",
            ),
            ("pipe", "found something other than a file; allowed: a file"),
            (".", "found something other than a file; allowed: a file"),
        ):
            with self.assertRaises(TokenError, msg=path) as caught:
                read_token(Path(path))
            self.assertEqual(str(caught.exception), fault)
