"""
The version of the commands and snapshots that this program writes and reads. Nodes of
different versions tell each other theirs, so both the state and the wire need it.
"""

from __future__ import annotations

from typing import Final

NEWEST_FORMAT: Final = 2
"""The newest version of a command in the log, and of a snapshot's state, that is
understood."""
