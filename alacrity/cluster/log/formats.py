"""
The versions of the commands in the log, and of the state in snapshots.
"""

from __future__ import annotations

from typing import Final

NEWEST_FORMAT: Final = 2
"""The newest version of commands, and the newest format of the state, that this program
understands."""
