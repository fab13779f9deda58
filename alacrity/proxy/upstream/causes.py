"""
The causes of failures to connect to a server.
"""

from __future__ import annotations

import os

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError, ConnectionRefusedError, TimeoutError
from twisted.python.failure import Failure

from alacrity.net.shortage import local_shortage
from alacrity.proxy.events import Cause, FailureKind


def cause_of(failure: Failure) -> Cause:
    """
    The cause of a failure to connect.
    """
    error = failure.value
    shortage = local_shortage(error)
    if shortage is not None:
        return Cause(
            FailureKind.NODE_SHORTAGE,
            f"this node is short: {os.strerror(shortage).lower()}",
            repeat_is_safe=True,
            error_code=shortage,
        )
    if isinstance(error, ConnectionRefusedError):
        kind = FailureKind.CONNECT_REFUSED
    elif isinstance(error, TimeoutError | CancelledError | ConnectingCancelledError):
        # The deadline of the exchange cancels it.
        kind = FailureKind.CONNECT_TIMED_OUT
    else:
        kind = FailureKind.CONNECT_FAILED
    return Cause(kind, f"cannot connect: {failure.getErrorMessage()}", repeat_is_safe=True)
