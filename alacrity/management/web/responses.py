"""
Answers: status, fields and body.

Each function here prepares an answer, and returns its body. The caller writes the body, as for
resources of C{twisted.web} and methods of Klein.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

import msgspec
from twisted.python.failure import Failure
from twisted.web.server import Request

from alacrity.management.documents.problems import MEDIA_TYPE, TITLES, Problem


def respond(
    request: Request, status: int, body: bytes, media_type: str = "application/json"
) -> bytes:
    """
    Answer with a body.
    """
    title = TITLES.get(status)
    # Twisted has no reason phrase for some statuses.
    request.setResponseCode(status, None if title is None else title.encode("ascii"))
    set_headers(
        request,
        {
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
        },
    )
    return body


def respond_json(request: Request, document: object, status: int = 200) -> bytes:
    """
    Answer with a document.
    """
    return respond(request, status, encode_json(document))


def respond_problem(request: Request, problem: Problem) -> bytes:
    """
    Answer with a problem document.
    """
    set_headers(request, problem.headers)
    return respond(request, problem.status, problem.document(), MEDIA_TYPE)


def respond_empty(request: Request) -> bytes:
    """
    Answer with 204, and no body.
    """
    request.setResponseCode(204)
    return b""


def encode_json(document: object) -> bytes:
    """
    Encode a document as JSON, with a line feed at the end.
    """
    return msgspec.json.encode(document) + b"\n"


def set_headers(request: Request, headers: Mapping[str, str]) -> None:
    """
    Set fields of the response.
    """
    for name, value in headers.items():
        request.responseHeaders.setRawHeaders(name, [value])


def log_incident(request: Request, failure: Failure) -> Problem:
    """
    Log an internal error under a new id.

    @return: the problem to answer with, which shows only the id of the error.
    """
    id = uuid4().hex[:12]
    request._log.failure(  # noqa: SLF001 - Twisted's, for requests
        "incident {incident}: {method} {path} failed",
        failure,
        incident=id,
        method=ascii(request.method)[2:-1],
        path=ascii(request.path)[2:-1],
    )
    return Problem(500, f"a fault in Alacrity; see incident {id} in its log", incident=id)
