"""
Kinds of log entries, by the first byte of an entry's command: PySyncObj's types.
"""

from __future__ import annotations

from typing import Final

REGULAR: Final = b"\0"
"""A command for the state machine follows."""

NO_OP: Final = b"\1"
"""Nothing follows: the entry with which a leader begins its term."""

MEMBERSHIP: Final = b"\2"
"""All members from here on follow."""
