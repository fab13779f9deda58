"""
The versions of the commands in the log, and of the state in snapshots.
"""

from __future__ import annotations

from typing import Final

NEWEST_FORMAT: Final = 3
"""The newest version of commands, and the newest format of the state, that this program
understands."""

ENCRYPTED_FORMAT: Final = 3
"""The format from which on the connections between nodes are encrypted. Nothing in the
log depends on that: a program that understands it speaks a version of the handshake that encrypts.
So once the format is raised, no node speaks an older one any more; as the format is in the log, a
restart does not forget that."""
NAMING_FORMAT: Final = 3
"""The format from which on a cluster can have an id."""

GREETING_FORMAT: Final = 3
"""Programs that understand this format send and expect greetings on new connections, see
L{alacrity.cluster.wire.greeting}."""
