"""
Feeds the response parser: C{python -m fuzz.fuzz_response [libFuzzer's options] CORPUS}.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["alacrity"]):
    from tests.support.invariants import check_response

from fuzz import seeds


def one_input(data: bytes) -> None:
    """
    @param data: two bytes that decide about the pieces and whether this answers a
        HEAD; then what a server sends.
    """
    seed = int.from_bytes(data[:2])
    check_response(data[2:], b"HEAD" if seed % 8 == 7 else b"GET", seed)


if __name__ == "__main__":
    atheris.Setup(seeds.arguments(sys.argv, "response"), one_input)
    atheris.Fuzz()
