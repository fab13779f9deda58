"""
The standing of a server with one node.
"""

from __future__ import annotations

from enum import IntEnum


class Standing(IntEnum):
    """
    A node's own judgement of a server, by the requests that it has sent there. The lower, the
    better: a server of a higher standing is chosen only when none of a lower one can take the
    request.
    """

    GOOD = 0
    """It answers."""
    ASIDE = 1
    """It could not be connected to, or is silent."""
    EJECTED = 2
    """It has failed too many requests in a row."""
