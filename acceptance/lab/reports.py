"""
The results of a script, printed as they come.
"""

from __future__ import annotations

import sys

from acceptance.lab.loads import Load


class Report:
    """
    Prints lines and figures, and remembers whether a promise was broken.

    @ivar failed: whether one was.
    """

    def __init__(self) -> None:
        self.failed = False

    def step(self, text: str) -> None:
        """
        Print the beginning of a step.
        """
        self._write(text)

    def say(self, text: str) -> None:
        """
        Print a line of a step, or several.
        """
        for line in text.splitlines():
            self._write(f"    {line}")

    def bar(self, what: str, value: float, most: float, unit: str) -> None:
        """
        Print a figure, and note it if it is above its bar.
        """
        met = value <= most
        self.failed = self.failed or not met
        verdict = "met" if met else "MISSED"
        self._write(f"  {what:58} {value:9.2f} {unit:3} bar {most:g}: {verdict}")

    def fail(self, what: str) -> None:
        """
        Print and note a broken promise.
        """
        self.failed = True
        self._write(f"    FAILED: {what}")

    def traffic(self, where: str, load: Load, *, spared: int = 0) -> None:
        """
        End a load of requests, print its outcomes, and note it if other answers than 200
        came.

        @param spared: as many of them as are allowed.
        """
        load.stop()
        self.say(f"traffic {where}: {load}")
        if not load.outcomes or load.faults.total() > spared:
            self.fail("answers other than 200")

    @staticmethod
    def _write(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
