"""
Feeds the request parser: C{python -m fuzz.fuzz_request [libFuzzer's options] CORPUS}.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["alacrity"]):
    from tests.support.invariants import check_requests

from fuzz import seeds


def one_input(data: bytes) -> None:
    """
    @param data: two bytes that decide about the pieces, then what a client sends.
    """
    check_requests(data[2:], int.from_bytes(data[:2]))


if __name__ == "__main__":
    atheris.Setup(seeds.arguments(sys.argv, "request"), one_input)
    atheris.Fuzz()
