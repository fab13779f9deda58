"""
Directories of the checkout.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
"""The directory with C{alacrity}, C{docs} and C{README.md}."""

GOLDEN: Final = ROOT / "tests" / "golden"
"""The files that earlier versions wrote."""
