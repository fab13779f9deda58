"""
What an entry of the log is for, by the first byte of its command: PySyncObj's types.
"""

from __future__ import annotations

from typing import Final

REGULAR: Final = b"\0"
"""A command for the machine follows."""

NO_OP: Final = b"\1"
"""With which a leader begins its term."""

MEMBERSHIP: Final = b"\2"
"""L{Members <alacrity.cluster.raft.membership.Members>} follow."""
