"""
Feeds the reader of registrations:
C{python -m fuzz.fuzz_documents [libFuzzer's options] CORPUS}.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["alacrity", "json"]):
    from alacrity.management.documents.registrations import ALLOWED_REGISTRATION
    from tests.support.invariants import check_registration

from fuzz import seeds

CALLERS: Final = ("10.0.0.7", "2001:db8::7", "::ffff:10.0.0.7", "fe80::1%eth0", None)
NAMES: Final = sorted({place.removeprefix("check.") for place in ALLOWED_REGISTRATION if place})
WORDS: Final = ["tcp", "http", "/health", "a:80", "10.0.0.7", "::1", "fe80::1%a", "8080", "65536"]
OTHERS: Final[list[object]] = [None, True, False, 0, 1 << 64, [200, 299]]


def one_input(data: bytes) -> None:
    """
    @param data: a byte that decides who calls and what the rest is: the body, or
        what decides how a body is made up.
    """
    kind = data[0] if data else 0
    body = data[1:] if kind & 1 else _document(data[1:])
    check_registration(body, CALLERS[(kind >> 1) % len(CALLERS)])


def _document(data: bytes) -> bytes:
    """
    JSON, more often than not close to a registration.
    """
    provider = atheris.FuzzedDataProvider(data)
    # Surrogates, which JSON can spell, among the rest.
    return json.dumps(_value(provider, 0)).encode()


def _value(provider: Any, depth: int) -> object:
    match provider.ConsumeIntInRange(0, 8 if depth else 0):
        case 0:
            count = provider.ConsumeIntInRange(0, 6)
            return {_name(provider): _value(provider, depth + 1) for _ in range(count)}
        case 1 | 2:
            return provider.PickValueInList(WORDS)
        case 3:
            return provider.ConsumeUnicode(8)
        case 4:
            return provider.ConsumeIntInRange(-2, 66000)
        case 5:
            return provider.ConsumeFloat()
        case 6:
            count = provider.ConsumeIntInRange(0, 3)
            return [_value(provider, depth + 1) for _ in range(count)] if depth < 4 else []
        case 7:
            return provider.ConsumeIntInRange(100, 599)
        case _:
            return provider.PickValueInList(OTHERS)


def _name(provider: Any) -> str:
    if provider.ConsumeIntInRange(0, 15):
        name: str = provider.PickValueInList(NAMES)
    else:
        name = provider.ConsumeUnicode(4)
    return name


if __name__ == "__main__":
    atheris.Setup(seeds.arguments(sys.argv, "document"), one_input)
    atheris.Fuzz()
