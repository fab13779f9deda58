"""
The kind of the data path's modules: compiled when the package was built, or as they are.
"""

from __future__ import annotations

from types import FunctionType


def is_compiled() -> bool:
    """
    Whether they are compiled: all of them are, this one too, or none.
    """
    this: object = is_compiled
    return not isinstance(this, FunctionType)
