"""
The management API: servers register with it, and operators look at the pool and the cluster.

It is built in three rooms: L{alacrity.management.documents} reads and makes JSON,
L{alacrity.management.web} serves HTTP within bounds, and L{alacrity.management.calls} has the
calls and says how to add one. L{alacrity.management.api} puts them together.
"""

from alacrity.management.api import Api
from alacrity.management.documents.servers import LastCheck

__all__ = ["Api", "LastCheck"]
