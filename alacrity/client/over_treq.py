"""
Requests to the management API, sent by treq.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from alacrity.client.errors import CallFailed
from alacrity.client.messages import ApiRequest, ApiResponse, Send


def treq_sender(http: Any, url: str, *, timeout: float, token: str | None = None) -> Send:
    """
    Build the function that sends an L{ApiClient<alacrity.client.api.ApiClient>}'s requests.

    The L{Deferred}s that it gives can be cancelled; then they fail with L{CancelledError}.

    @param http: L{treq}, or what behaves like it.
    @param url: the API's.
    @param timeout: seconds within which an answer must begin, besides those that the request
        asks the API to wait.
    @param token: the bearer token; L{None}: the API asks for none.
    """
    base = url.rstrip("/")
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def fetch(request: ApiRequest) -> ApiResponse:
        content: dict[str, Any] = {}
        headers = authorization
        limit = timeout + request.wait
        if request.body:
            content = {"data": request.body}
            headers = {**headers, "Content-Type": "application/json"}
        try:
            response = await http.request(
                request.method, base + request.path, headers=headers, timeout=limit, **content
            )
            return ApiResponse(response.code, await response.content())
        except CancelledError:
            # By treq, which ends a late request so.
            raise CallFailed(f"no answer in {limit:g} s") from None
        except Exception as error:
            raise CallFailed(_cause(error, limit)) from error

    def send(request: ApiRequest) -> Deferred[ApiResponse]:
        return _cancellable(fetch(request))

    return send


def _cancellable(fetching: Coroutine[Any, Any, ApiResponse]) -> Deferred[ApiResponse]:
    """
    Tell cancellation by the caller from that by treq: the former alone ends in
    L{CancelledError}.
    """
    fetched = Deferred.fromCoroutine(fetching)

    def cancel(cancelled: Deferred[ApiResponse]) -> None:
        cancelled.errback(CancelledError())
        fetched.cancel()

    outcome: Deferred[ApiResponse] = Deferred(cancel)

    def finish(result: ApiResponse | Failure) -> None:
        if not outcome.called:
            outcome.callback(result)

    fetched.addBoth(finish)
    return outcome


def _cause(error: Exception, timeout: float) -> str:
    """
    The reason for which there is no answer, in a few words.
    """
    cause: BaseException | None = error
    if isinstance(error, ResponseNeverReceived) and error.reasons:
        cause = error.reasons[0].value
    if isinstance(cause, CancelledError):
        return f"no answer in {timeout:g} s"
    return str(cause) or type(cause).__name__
