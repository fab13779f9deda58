"""
Calls that do not succeed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from alacrity.client.documents import ProblemReport
from alacrity.client.messages import ApiResponse

_TEMPORARY: Final = frozenset({408, 425, 429})
"""Statuses below 500 that say nothing against the call itself."""


class CallError(Exception):
    """
    A call that did not succeed. The message is one line that says why.
    """


class CallRefused(CallError):
    """
    A call that the API refuses, and would refuse again.

    @ivar status: the status of the answer.
    @ivar field: the member of the request's document that is wrong; L{None}: no single one is.
    @ivar nodes: nodes of earlier versions, because of which the call is not possible yet.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        field: str | None = None,
        nodes: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.nodes = tuple(nodes)


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
    report = _problem(response.body)
    message = " ".join([str(response.status), *report.detail.split()])
    if response.status >= 500 or response.status in _TEMPORARY:
        return CallFailed(message)
    return CallRefused(message, response.status, report.field, report.nodes)


def _problem(body: bytes) -> ProblemReport:
    """
    The problem document of an answer; where there is none, one with the whole body.
    """
    try:
        return msgspec.json.decode(body, type=ProblemReport)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ProblemReport(body.decode("utf-8", "replace"))
