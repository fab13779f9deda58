"""
Calls that do not succeed.
"""

from __future__ import annotations

import msgspec

from alacrity.client.documents import ProblemReport
from alacrity.client.messages import ApiResponse


class CallError(Exception):
    """
    A call that did not succeed. The message is one line that says why.
    """


class CallRefused(CallError):
    """
    A call that the API refuses, and would refuse again.
    """


class CallFailed(CallError):
    """
    A call without an answer, or one that the API cannot carry out now. It may be repeated.
    """


def error_of(response: ApiResponse) -> CallError | None:
    """
    Tell success from failure by the status.

    @return: L{None} for a status of 2xx.
    """
    if 200 <= response.status < 300:
        return None
    kind = CallRefused if response.status < 500 else CallFailed
    return kind(_explanation(response))


def _explanation(response: ApiResponse) -> str:
    """
    The status, and the detail of the problem document; without one, the whole body.
    """
    try:
        text = msgspec.json.decode(response.body, type=ProblemReport).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = response.body.decode("utf-8", "replace")
    return " ".join([str(response.status), *text.split()])
