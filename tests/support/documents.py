"""
The code on the pages of the documents, for tests that run it.
"""

from __future__ import annotations

import re
import textwrap
from typing import Final

from tests.support.places import ROOT

_BLOCK: Final = re.compile(r"(?m)(?:^(?:    .*|[ ]*)\n)*^    .*\n")
_FENCED: Final = re.compile(r"(?m)^ *(?:```|~~~)")

_INLINE: Final = re.compile(
    r"`((?:alacrity|chattr|chmod|chown|curl|docker|install|ip|journalctl|kill|mkdir|openssl|pip|pkill"
    r"|python3?|rm|scp|sed|ss|ssh|sudo|systemctl|tox|twistd?) [^`]+|\S*/bin/[^`]+)`"
)
"""Commands within the text."""

_INSTALLING: Final = re.compile(r"(?m)\S*python3 -m (?:venv \S+|pip install [^&\n]+)")
"""Commands that install packages from elsewhere; what they bring, the environment of the tests has."""


class Page:
    """
    A page, of which a test uses all blocks of code, and the commands within the text.
    """

    def __init__(self, name: str) -> None:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not _FENCED.search(text), f"{name}: blocks of code are indented here"
        self.name = name
        self._blocks = [textwrap.dedent(found[0]).strip("\n") for found in _BLOCK.finditer(text)]
        inline = [" ".join(found.split()) for found in _INLINE.findall(text)]
        # A command that a block has too is run with that.
        self._blocks += [
            each for each in inline if not any(each in block for block in self._blocks)
        ]
        self._used: set[str] = set()

    def block(self, beginning: str) -> str:
        """
        A block of code, or a command, which is used from then on.

        @param beginning: its first characters, or all of it.
        """
        found = dict.fromkeys(
            [each for each in self._blocks if each == beginning]
            or [each for each in self._blocks if each.startswith(beginning)]
        )
        assert len(found) == 1, f"{self.name} has {len(found)} blocks that begin with {beginning!r}"
        (text,) = found
        self._used.add(text)
        return text

    def unused(self) -> list[str]:
        """
        The blocks and commands that were not used.
        """
        return [each for each in self._blocks if each not in self._used]


def installed(script: str) -> str:
    """
    A script without the commands that install packages.
    """
    return _INSTALLING.sub("true", script)
