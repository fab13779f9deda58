"""
The answers to failed calls: only this module converts exceptions into responses.
"""

from __future__ import annotations

from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.management.documents.problems import RETRY, Problem
from alacrity.management.web.requests import shown_bytes
from alacrity.management.web.responses import (
    log_incident,
    respond_empty,
    respond_problem,
    set_headers,
)


def respond_failure(request: Request, failure: Failure) -> bytes:
    """
    Answer a call that raised an exception.

    @return: the body, for the caller to write.
    """
    error = failure.value
    if isinstance(error, MethodNotAllowed):
        return _respond_methods(request, error)
    return respond_problem(request, _problem_of(request, failure))


def _problem_of(request: Request, failure: Failure) -> Problem:
    match failure.value:
        case Problem() as problem:
            return problem
        case ProposalRefused() as refused:
            detail = f"nothing was changed, and repeating the call is safe: {refused}"
            return Problem(503, detail, headers=RETRY)
        case OutcomeUnknown():
            return Problem(
                504, "it is not known whether the change was made; repeating the call is safe"
            )
        case NotFound():
            return Problem(404, f"there is nothing at {shown_bytes(request.path)}")
        case _:
            return log_incident(request, failure)


def _respond_methods(request: Request, error: MethodNotAllowed) -> bytes:
    """
    Answer with the allowed methods: with 204 to C{OPTIONS}, and with 405 to other methods.
    """
    allow = ", ".join(sorted({*(error.valid_methods or ()), "OPTIONS"}))
    headers = {"Allow": allow}
    if request.method == b"OPTIONS":
        set_headers(request, headers)
        return respond_empty(request)
    detail = f"the method is {shown_bytes(request.method)}; allowed: {allow}"
    return respond_problem(request, Problem(405, detail, headers=headers))
