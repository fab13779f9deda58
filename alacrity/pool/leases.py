"""
The answers to renewals of leases.
"""

from __future__ import annotations

import msgspec


class Renewal(msgspec.Struct, frozen=True):
    """
    A renewed lease.

    @ivar lease: seconds for which it is granted, counted from the renewal.
    @ivar renew_after: seconds after which to renew it next.
    """

    lease: float
    renew_after: float


class NoSuchServer(Exception):
    """
    There is no server of that id: it has to register again. The message is the id.
    """


class HasNoLease(Exception):
    """
    The server is registered without a lease. The message is its id.
    """
