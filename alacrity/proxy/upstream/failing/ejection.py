"""
The rules of passive ejection.
"""

from __future__ import annotations

from math import floor
from typing import Final

from alacrity.proxy.events import Cause, FailureKind

_COUNTED: Final = frozenset(
    {
        FailureKind.RESET_BEFORE_RESPONSE,
        FailureKind.RESET_IN_RESPONSE,
        FailureKind.BAD_RESPONSE,
        FailureKind.RESPONSE_TIMED_OUT,
    }
)


def counts(cause: Cause, *, was_reused: bool) -> bool:
    """
    Whether a failed attempt counts towards the ejection of its server.

    One without a connection does not, for it puts the server aside; nor does a kept connection
    that ends before the response: the server was just closing it.

    @param was_reused: whether the connection had been used before.
    """
    kind = cause.kind
    return kind in _COUNTED and not (was_reused and kind is FailureKind.RESET_BEFORE_RESPONSE)


def may_eject(eligible: int, ejected: int, share: float) -> bool:
    """
    Whether another server may be ejected. The share is that after ejecting: reckoned before,
    it would let the last one go too (envoy#27066).

    @param eligible: the number of eligible servers.
    @param ejected: the number of those that are ejected.
    @param share: the part of the eligible servers that may be.
    """
    # A share of 0.29 of 100 is 28.999999999999996.
    return ejected + 1 <= floor(eligible * share + 1e-9)
