"""
Optional members: msgspec's L{UNSET} in documents, L{None} in the pool.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET, UnsetType

_Value = TypeVar("_Value")


def none_if_unset(value: _Value | UnsetType) -> _Value | None:
    """
    Convert an optional member of a document into a value of the pool.
    """
    return None if isinstance(value, UnsetType) else value


def unset_if_none(value: _Value | None) -> _Value | UnsetType:
    """
    Convert an optional value of the pool into a member of a document.
    """
    return UNSET if value is None else value
