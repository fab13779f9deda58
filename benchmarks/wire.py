"""
The cost of the encryption between nodes: C{python -m benchmarks.wire}.

Prints the processor time of messages of several sizes, of a handshake, and the longest turn of
the event loop for the longest message, with the encryption and with the version of the protocol
before it. The exit status is 1 if a message costs more with it than before, or a turn takes
longer than its bar.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from acceptance.lab.processes import exit_with
from alacrity.cluster.wire.encryption import DecryptingOpener, EncryptingSealer
from alacrity.cluster.wire.frames import LENGTH, LONGEST_PAYLOAD, FrameOpener, Opener, Sealer
from alacrity.cluster.wire.handshake import Identity, initiate, respond
from alacrity.cluster.wire.openings import ENCRYPTED_VERSION
from alacrity.cluster.wire.sending import FrameWriter

SIZES: Final = (0, 200, 2_000, 60_000)
"""Bytes of messages."""

BYTES: Final = 1 << 26
"""Bytes to send of each size, but at most L{MESSAGES} messages."""

MESSAGES: Final = 20_000

LONGEST_TURN: Final = 5.0
"""Milliseconds that a turn of the event loop may take for the longest message."""

SECRET: Final = b"s" * 32

ONE: Final = Identity("one", "11" * 16)
OTHER: Final = Identity("other", "22" * 16)

VERSIONS: Final[dict[str, Callable[[], tuple[Any, FrameOpener]]]] = {
    "HMAC-SHA256, not encrypted": lambda: (Sealer(SECRET), Opener(SECRET)),
    "ChaCha20-Poly1305": lambda: (EncryptingSealer(SECRET), DecryptingOpener(SECRET)),
}


def message(version: str, size: int) -> float:
    """
    The microseconds that a message takes, on both sides together.
    """
    sealer, opener = VERSIONS[version]()
    payload = os.urandom(size)
    count = min(MESSAGES, BYTES // max(1, size))
    began = time.process_time()
    for _ in range(count):
        opener.open(sealer.seal(payload)[LENGTH:])
    return 1e6 * (time.process_time() - began) / count


def handshake(version: int, count: int = 500) -> float:
    """
    The microseconds that a handshake takes, on both sides together.
    """
    began = time.process_time()
    for _ in range(count):
        versions = (1, version)
        left = initiate(SECRET, ONE, "other", lambda peer: None, os.urandom(32), versions)
        right = respond((SECRET,), OTHER, lambda peer: None, os.urandom(32), versions)
        next(right)
        answer = right.send(left.send(right.send(next(left))))
        try:
            left.send(answer)
        except StopIteration as done:
            consent = done.value.answer
        try:
            right.send(consent)
        except StopIteration:
            pass
    return 1e6 * (time.process_time() - began) / count


class _Turns(Clock):
    """
    A clock that measures each turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> Any:
        return super().callLater(delay + 1.0, self.measure, callable, *args, **kw)

    def measure(self, what: Callable[..., object], *args: Any, **kw: Any) -> None:
        """
        Call a function, and remember the time that it takes.
        """
        began = time.process_time()
        what(*args, **kw)
        self.longest = max(self.longest, time.process_time() - began)


def longest_turn(version: str) -> float:
    """
    The milliseconds of the longest turn in which a part of the longest message is sent.
    """
    turns = _Turns()
    sealer, _ = VERSIONS[version]()
    writer = FrameWriter(StringTransport(), sealer, turns, lambda: None)
    turns.measure(writer.send, os.urandom(LONGEST_PAYLOAD))
    while turns.getDelayedCalls():
        turns.advance(1.0)
    return 1e3 * turns.longest


def main() -> int:
    """
    Read the command line, print all figures, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="The cost of encryption between nodes.")
    parser.add_argument("--repeat", type=int, default=5, help="the best of (%(default)s)")
    repeat = range(parser.parse_args().repeat)
    before, after = VERSIONS
    failed = False
    for size in SIZES:
        best = {version: min(message(version, size) for _ in repeat) for version in VERSIONS}
        missed = best[after] > best[before]
        failed |= missed
        times = ", ".join(f"{version} {best[version]:.1f} us" for version in VERSIONS)
        print(f"{size} bytes, both sides: {times}{' MISSED' if missed else ''}")
    for number in (ENCRYPTED_VERSION - 1, ENCRYPTED_VERSION):
        print(f"handshake, both sides, version {number}: {handshake(number):.0f} us")
    turn = min(longest_turn(after) for _ in repeat)
    failed |= turn > LONGEST_TURN
    print(f"longest turn for {LONGEST_PAYLOAD >> 20} MiB: {turn:.2f} ms, bar {LONGEST_TURN:g}")
    return int(failed)


if __name__ == "__main__":
    exit_with(main)
