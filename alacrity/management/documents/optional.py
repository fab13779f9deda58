"""
Members that may be left out: msgspec's L{UNSET} in documents, L{None} in the pool.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET, UnsetType

_Value = TypeVar("_Value")


def none_if_unset(value: _Value | UnsetType) -> _Value | None:
    """
    A document's member, as the pool has it.
    """
    return None if isinstance(value, UnsetType) else value


def unset_if_none(value: _Value | None) -> _Value | UnsetType:
    """
    A value of the pool, as a document has it.
    """
    return UNSET if value is None else value
