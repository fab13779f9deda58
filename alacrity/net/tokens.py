"""
The file of a bearer token (RFC 6750).
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

SHORTEST: Final = 22
"""How many characters a token has at least: 128 bits in base 64."""

LONGEST: Final = 4096
"""How many it has at most, which fits into a field of the request."""

_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")

ALLOWED: Final = f"one line of {SHORTEST} to {LONGEST} letters, digits and -._~+/ (openssl rand -hex 32 makes one)"


class TokenError(Exception):
    """
    A file that has no token, or shows it.

    @ivar found: what is wrong with it; nothing of what it holds.
    @ivar allowed: what would be right.
    """

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"found {found}; allowed: {allowed}")
        self.found = found
        self.allowed = allowed


def read_token(path: Path) -> bytes:
    """
    Read a token's file. Its owner alone, and its group, may read it; its owner alone
    may write it.

    @raise TokenError: it cannot be read, others can, or there is no token in it.
    """
    try:
        # A pipe would have us wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(error) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TokenError("something other than a file", "a file")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o027:
            raise TokenError(
                f"a file of mode {mode:04o}, which others may use",
                "a mode such as 0600 or 0640 (chmod 600)",
            )
        # With the longest line end, and a byte that would be too much.
        content = os.read(descriptor, LONGEST + 3)
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        os.close(descriptor)
    token = content.removesuffix(b"\n").removesuffix(b"\r")
    if not SHORTEST <= len(token) <= LONGEST or _TOKEN.fullmatch(token) is None:
        raise TokenError("something else in the file", ALLOWED)
    return token


def _unreadable(error: OSError) -> TokenError:
    return TokenError(f"a file that cannot be read ({error.strerror})", "a file")
