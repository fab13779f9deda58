"""
The fixtures of these tests.
"""

from tests.integration.stage import stage

__all__ = ["stage"]
