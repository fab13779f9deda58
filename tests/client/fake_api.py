"""
Answers of a management API, without a network.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from alacrity.client.messages import ApiRequest, ApiResponse

_Result = TypeVar("_Result")


class FakeApi:
    """
    Gives the answers that it is told to, one a request.

    @ivar answers: an exception is raised.
    @ivar requests: those received so far.
    """

    def __init__(self, *answers: ApiResponse | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[ApiRequest] = []

    async def send(self, request: ApiRequest) -> ApiResponse:
        """Answer a request."""
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(coroutine: Coroutine[Any, Any, _Result]) -> Deferred[_Result]:
    """
    Start a coroutine.
    """
    return Deferred.fromCoroutine(coroutine)
