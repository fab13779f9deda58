"""
The management API: servers register through it, and operators inspect the pool and the cluster.

It has three packages: L{alacrity.management.documents} reads and makes JSON,
L{alacrity.management.web} serves HTTP within limits, and L{alacrity.management.calls} has the
calls and describes how to add one. L{alacrity.management.api} combines them.
"""

from alacrity.management.api import Api
from alacrity.management.documents.servers import LastCheck

__all__ = ["Api", "LastCheck"]
