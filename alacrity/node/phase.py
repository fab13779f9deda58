"""
The life of a node.
"""

from enum import Enum


class NodePhase(Enum):
    """
    A node's place in its life. Phases follow each other in this order; a node that cannot
    start never leaves the first two.
    """

    NEW = "new"
    """Nothing is opened yet."""

    BOUND = "bound"
    """Addresses and state directory are taken; nothing is served."""

    STARTING = "starting"
    """The proxy takes requests; what the log holds is not known yet."""

    SERVING = "serving"
    """All of it runs."""

    STOPPING = "stopping"
    """Requests in flight are finished, then everything is closed."""
