"""
The table C{[log]}.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from alacrity.config.readers import choice

Level: TypeAlias = Literal["debug", "info", "warn", "error", "critical"]
LogFormat: TypeAlias = Literal["text", "json"]
AccessFormat: TypeAlias = Literal["off", "combined", "json"]


class LogSettings(msgspec.Struct, frozen=True):
    """
    C{[log]}

    @ivar level: the least important events that are logged.
    @ivar format: of the log's lines.
    @ivar access: the format of the access log's lines, which go to the same place.
    """

    level: Annotated[Level, choice(Level)] = "info"
    format: Annotated[LogFormat, choice(LogFormat)] = "text"
    access: Annotated[AccessFormat, choice(AccessFormat)] = "off"
