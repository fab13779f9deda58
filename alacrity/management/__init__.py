"""
The management API: how servers register, and how people look at the pool.
"""

from alacrity.management.api import Api
from alacrity.management.documents.registrations import CheckResult

__all__ = ["Api", "CheckResult"]
