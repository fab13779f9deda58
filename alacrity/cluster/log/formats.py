"""
The versions of what stands in the log and in snapshots.
"""

from __future__ import annotations

from typing import Final

NEWEST_FORMAT: Final = 2
"""The newest version of commands, and the newest format of the state, that this program
understands."""
