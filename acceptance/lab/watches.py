"""
The processor time, memory and log that a node uses from a moment on.
"""

from __future__ import annotations

import time
from typing import Final

from acceptance.lab.nodes import Node
from acceptance.lab.reports import Report

GROWTH: Final = 4096
"""KiB of resident memory that a node may grow by within a scenario."""

_SHOWN = 12


class Watch:
    """
    Processor time, memory and log of a node since this was made.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._began = time.monotonic()
        self._cpu = node.cpu_seconds()
        self._memory = node.resident_bytes()
        self._lines = len(node.lines())

    def core(self) -> float:
        """
        The share of a core that it has used.
        """
        return (self._node.cpu_seconds() - self._cpu) / (time.monotonic() - self._began)

    def grown(self) -> int:
        """
        The KiB that its resident memory has grown by.
        """
        return (self._node.resident_bytes() - self._memory) // 1024

    def said(self) -> list[str]:
        """
        The lines that it has logged, but for the states of servers.
        """
        return [
            line
            for line in self._node.lines(self._lines)
            if "alacrity.health" not in line and line.strip()
        ]

    def tell(self, report: Report, growth: int = GROWTH) -> None:
        """
        Report it, and note it if it has grown too much.

        @param growth: the KiB that it may have grown by.
        """
        report.say(f"    {self.core():.1%} of a core, {self.grown():+} KiB of memory, and its log:")
        show(report, self.said())
        if self.grown() > growth:
            report.fail("it has grown")


def show(report: Report, lines: list[str], most: int = _SHOWN) -> None:
    """
    Report the first lines of a log.
    """
    for line in lines[:most]:
        report.say(f"    | {line[:200]}")
    if len(lines) > most:
        report.say(f"    | and {len(lines) - most} lines more")
