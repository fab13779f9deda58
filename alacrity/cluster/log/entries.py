"""
Kinds of log entries: the first byte of an entry's command, with PySyncObj's values.
"""

from __future__ import annotations

from typing import Final

REGULAR: Final = b"\0"
"""A command for the state machine follows this byte."""

NO_OP: Final = b"\1"
"""Nothing follows this byte: the entry with which a leader begins its term."""

MEMBERSHIP: Final = b"\2"
"""All members from this entry on follow this byte."""
