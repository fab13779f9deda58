"""
Faults of connections, to be shown to operators.
"""

from __future__ import annotations

from typing import Final

MOST_REMEMBERED: Final = 64
"""Nodes of which the fault is remembered; of more, the oldest one is forgotten."""


class LinkFaults:
    """
    The last fault of the connection with each node that is not connected.
    """

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}

    def note(self, name: str, fault: str) -> None:
        """
        Remember the reason why a node is not connected, in a few words.
        """
        self._faults.pop(name, None)
        self._faults[name] = fault
        if len(self._faults) > MOST_REMEMBERED:
            del self._faults[next(iter(self._faults))]

    def forget(self, name: str) -> None:
        """
        Forget the fault of a node: it is connected, or of no interest any more.
        """
        self._faults.pop(name, None)

    def get(self, name: str) -> str | None:
        """
        The reason why a node is not connected; L{None}: none is known.
        """
        return self._faults.get(name)

    def all(self) -> dict[str, str]:
        """
        All reasons, by the names of the nodes.
        """
        return dict(self._faults)
