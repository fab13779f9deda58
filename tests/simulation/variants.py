"""
The engine without one of its guards, or without any.
"""

from __future__ import annotations

from typing import Any, Final

from alacrity.cluster.engine import Engine
from tests.simulation.nodes import StockNode

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "guarded": {},
    "stock": {"node": StockNode},
    "plain": {"engine": Engine},
}
