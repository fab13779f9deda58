"""
The description of the API: an OpenAPI 3.1 document, made from the declarations of its calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from alacrity import __version__
from alacrity.management.calls.declaration import Call
from alacrity.management.documents.administration import ALLOWED_ADMINISTRATION
from alacrity.management.documents.checks import ALLOWED_CHECK
from alacrity.management.documents.cluster import ALLOWED_HAND_OVER, ALLOWED_NODE
from alacrity.management.documents.problems import MEDIA_TYPE
from alacrity.management.documents.registrations import ALLOWED_REGISTRATION
from alacrity.management.documents.schemas import (
    CHECK_DOCUMENTS,
    AdministrationRequestDocument,
    HandOverRequestDocument,
    NodeRequestDocument,
    ProblemDocument,
    RegistrationDocument,
)

INTRODUCTION: Final = (
    "Servers register with Alacrity here, and operators inspect the pool and the cluster. HEAD is "
    "answered where GET is; OPTIONS is answered with 204 and Allow, and every other method with "
    "405. Other paths are answered with 404."
)

COMMON_PROBLEMS: Final = (400, 413, 500)
"""The statuses with which any call may fail."""

PAGE_PROBLEMS: Final = (403, 421)
"""The further statuses of an API without a token; see L{alacrity.management.web.pages}."""

PROBLEMS: Final[Mapping[int, str]] = {
    400: "The request is not valid.",
    401: "The call requires the token.",
    403: "The request comes from another site's web page.",
    404: "There is no such server or node.",
    409: "The state of the node or of the cluster does not allow the call.",
    412: "The server has a version that If-Match does not name. Nothing was changed.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not declared to be JSON.",
    421: "Host is a name that is not in management.hosts.",
    500: "An internal error of Alacrity; its log has more.",
    503: "The call is not possible now, and nothing was changed, unless the detail says otherwise. "
    "Repeating the call is safe.",
    504: "It is not known whether the change was made. Repeating the call is safe.",
}

HEADERS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "ETag": ("The version of the server, in quotes.", {"type": "string", "pattern": '^"[0-9]+"$'}),
    "Location": ("The path of the server.", {"type": "string", "pattern": "^/servers/"}),
    "Retry-After": (
        "The seconds after which to repeat the call.",
        {"type": "integer", "minimum": 0},
    ),
    "X-Alacrity-Index": (
        "The number of commands applied to the pool that was read.",
        {"type": "integer", "minimum": 0},
    ),
    "X-Alacrity-Stale": (
        "true: the node has not heard a leader with a majority lately; the pool may be out of date.",
        {"enum": ["true", "false"]},
    ),
    "WWW-Authenticate": (
        "The credentials that are needed (RFC 6750).",
        {"type": "string", "pattern": "^Bearer "},
    ),
}
"""The meanings and schemas of response fields."""

_PROBLEM_HEADERS: Final[Mapping[int, str]] = {
    401: "WWW-Authenticate",
    412: "ETag",
    503: "Retry-After",
}

_REFERENCE: Final = "#/components/schemas/{name}"

PARAMETERS: Final[Mapping[str, str]] = {
    "id": "A server's id, as in an answer, percent-encoded or not; or [IPv6]:port.",
    "name": "A node's name, as in an answer, percent-encoded or not.",
}
"""The meanings of parameters in a path."""

QUERY: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "consistent": (
        "1: answer once a quorum has confirmed that nothing newer was committed before the call.",
        {"enum": ["0", "1"]},
    ),
    "wait": (
        "The seconds to wait at most until no node has a request of the server in flight.",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 3600},
    ),
}
"""The meanings and schemas of parameters in a query."""


IF_MATCH: Final[Mapping[str, object]] = {
    "name": "If-Match",
    "in": "header",
    "description": "The versions with which the call may be carried out, as in ETag; or *.",
    "schema": {"type": "string", "pattern": r'^(\*|(W/)?"[0-9a-z]*"(, ?(W/)?"[0-9a-z]*")*)$'},
}
"""The parameter of calls that look at C{If-Match}. They read all that RFC 9110 13.1.1 allows."""


def describe(calls: Sequence[Call], *, secured: bool) -> dict[str, Any]:
    """
    Describe calls.

    @param secured: whether the API requires a token.
    """
    kinds = [ProblemDocument, *filter(None, (call.takes for call in calls))]
    kinds += [
        answer.document for call in calls for answer in call.answers.values() if answer.document
    ]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    _explain(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, calls, secured)
    components: dict[str, Any] = {"schemas": schemas}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Alacrity", "version": __version__, "description": INTRODUCTION},
        "paths": paths,
        "components": components,
    }
    if secured:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _operation(call: Call, calls: Sequence[Call], secured: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": call.name, "summary": call.summary}
    if call.open and secured:
        operation["security"] = []
    parameters = _parameters(call.path)
    if parameters or call.query or call.conditional:
        operation["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": PARAMETERS[name],
                "schema": {"type": "string", "minLength": 1},
            }
            for name in parameters
        ] + [
            {"name": name, "in": "query", "description": QUERY[name][0], "schema": QUERY[name][1]}
            for name in call.query
        ]
    if call.conditional:
        operation["parameters"].append(IF_MATCH)
    if call.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {each: {"schema": _schema(call.takes)} for each in call.media_types},
        }
    responses: dict[str, Any] = {}
    for status, answer in call.answers.items():
        response = responses[str(status)] = _response(answer.meaning, answer.headers)
        if answer.document is not None:
            response["content"] = {"application/json": {"schema": _schema(answer.document)}}
        if call.resource is not None:
            response["links"] = _links(call.resource, calls)
    access = () if call.open else (401,)
    problems = {*call.problems, *COMMON_PROBLEMS, *(access if secured else PAGE_PROBLEMS)}
    for status in sorted(problems):
        response = _response(
            PROBLEMS[status], [_PROBLEM_HEADERS[status]] if status in _PROBLEM_HEADERS else []
        )
        response["content"] = {MEDIA_TYPE: {"schema": _schema(ProblemDocument)}}
        responses[str(status)] = response
    operation["responses"] = responses
    return operation


def _response(meaning: str, headers: Sequence[str]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": meaning}
    if headers:
        response["headers"] = {
            name: {
                "description": HEADERS[name][0],
                "required": True,
                "schema": HEADERS[name][1],
            }
            for name in headers
        }
    return response


def _links(path: str, calls: Sequence[Call]) -> dict[str, Any]:
    """
    Links to the calls on the resource that an answer is about.
    """
    return {
        call.name: {
            "operationId": call.name,
            "parameters": {name: f"$response.body#/{name}" for name in _parameters(path)},
        }
        for call in calls
        if call.path == path
    }


def _parameters(path: str) -> list[str]:
    return re.findall(r"{([^}]+)}", path)


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return schema


_EXPLANATIONS: Final[Sequence[tuple[type, Mapping[str, str], str]]] = (
    (RegistrationDocument, ALLOWED_REGISTRATION, ""),
    *((kind, ALLOWED_CHECK, "check.") for kind in CHECK_DOCUMENTS.values()),
    (AdministrationRequestDocument, ALLOWED_ADMINISTRATION, ""),
    (NodeRequestDocument, ALLOWED_NODE, ""),
    (HandOverRequestDocument, ALLOWED_HAND_OVER, ""),
)
"""The documents that callers send, each with the descriptions of its members by path, and the
prefix of these paths."""


def _explain(schemas: dict[str, Any]) -> None:
    """
    Add the descriptions that problem documents use to the members of the requests' documents.
    """
    for kind, allowed, place in _EXPLANATIONS:
        for name, schema in schemas[kind.__name__]["properties"].items():
            schema["description"] = allowed[place + name]
