"""
Faults in the configuration, in one line each: where, what was found, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

_LONGEST = 80
"""Most characters of a value that a fault shows."""


class ConfigurationError(Exception):
    """
    A fault in the configuration, in one line.
    """


class Key(msgspec.Struct, frozen=True):
    """
    The place of a value in the configuration.

    @ivar source: the name of the file, or C{options}.
    @ivar path: such as C{proxy.listen[0]} or C{--proxy}.
    """

    source: str
    path: str

    def item(self, number: int) -> Key:
        """
        The place of an item of an array.
        """
        return Key(self.source, f"{self.path}[{number}]")

    def beside(self, name: str) -> Path:
        """
        The path of a file: a relative one begins at the directory of the configuration file.
        """
        return (Path(self.source).parent / name).absolute()

    def fault(self, found: str, allowed: str) -> ConfigurationError:
        """
        A fault at this place, to be raised.
        """
        return ConfigurationError(f"{self.source}: {self.path}: found {found}; allowed: {allowed}")

    def refuse(self, value: object, allowed: str) -> ConfigurationError:
        """
        The fault that this value is not allowed, to be raised.
        """
        return self.fault(shown(value), allowed)


def shown(value: object) -> str:
    """
    A value in one line of ASCII, shortened if it is long.
    """
    text = ascii(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def one_line(text: str) -> str:
    """
    A text without line breaks.
    """
    return " ".join(text.split())


def listed(names: Iterable[str]) -> str:
    """
    Names in one line.
    """
    return ", ".join(names)
