"""
The file of a bearer token (RFC 6750).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from alacrity.net.guarded import ExposedFile, IrregularFile, UnreadableFile, read_guarded

SHORTEST: Final = 22
"""Fewest characters of a token: 128 bits in base 64."""

LONGEST: Final = 4096
"""Most characters of a token; it fits into a field of the request."""

_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")

_ALLOWED: Final = f"one line of {SHORTEST} to {LONGEST} letters, digits and -._~+/ (openssl rand -hex 32 makes one)"


class TokenError(Exception):
    """
    A file without a token, or with one that others may read.

    @ivar found: the fault; nothing of the file's content.
    @ivar allowed: a file that would do.
    """

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"found {found}; allowed: {allowed}")
        self.found = found
        self.allowed = allowed


def read_token(path: Path) -> bytes:
    """
    Read a token's file. Its owner and its group may read it; its owner alone may write it.

    @raise TokenError: it cannot be read, others can read it, or it holds no token.
    """
    try:
        # With the longest line end, and a byte that would be too much.
        content = read_guarded(path, forbidden=0o027, size=LONGEST + 3)
    except UnreadableFile as error:
        raise TokenError(f"a file that cannot be read ({error.reason})", "a file") from None
    except ExposedFile as error:
        raise TokenError(
            f"a file of mode {error.mode:04o}, which others may use",
            "a mode such as 0600 or 0640 (chmod 600)",
        ) from None
    except IrregularFile:
        raise TokenError("something other than a file", "a file") from None
    token = content.removesuffix(b"\n").removesuffix(b"\r")
    if not SHORTEST <= len(token) <= LONGEST or _TOKEN.fullmatch(token) is None:
        raise TokenError("something else in the file", _ALLOWED)
    return token
