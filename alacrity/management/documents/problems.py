"""
Problem documents (RFC 9457): the answers to calls that do not succeed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from alacrity.management.documents.schemas import ProblemDocument

TITLES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
"""The statuses with which calls fail, and their reason phrases."""

RETRY: Final[Mapping[str, str]] = {"Retry-After": "1"}
"""The response field that tells the caller to repeat the call after a second."""

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):
    """
    The reason why a call fails, as the caller sees it.

    @ivar status: the HTTP status.
    @ivar detail: a text for people: what was found, and what is allowed.
    @ivar field: the wrong member of the request's document, such as C{check.interval}; L{None}:
        no single member is wrong.
    @ivar headers: further fields of the response.
    @ivar incident: an id under which the log has more information; L{None}: there is none.
    @ivar version: the present version of the server that the call is about; L{None}: it does
        not matter.
    @ivar nodes: the names of nodes because of which the call is not possible yet.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        incident: str | None = None,
        version: int | None = None,
        nodes: Sequence[str] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = headers or {}
        self.incident = incident
        self.version = version
        self.nodes = nodes

    def document(self) -> bytes:
        """
        Encode the problem as JSON, with a line feed at the end.
        """
        return (
            msgspec.json.encode(
                ProblemDocument(
                    title=TITLES[self.status],
                    status=self.status,
                    detail=self.detail,
                    field=UNSET if self.field is None else self.field,
                    incident=UNSET if self.incident is None else self.incident,
                    version=UNSET if self.version is None else self.version,
                    nodes=list(self.nodes) if self.nodes else UNSET,
                )
            )
            + b"\n"
        )


def shown(value: object, longest: int = 60) -> str:
    """
    Describe a value in a L{Problem}'s detail: in ASCII, and cut to a length.
    """
    match value:
        case None | bool():
            text = {None: "null", True: "true", False: "false"}[value]
        case dict():
            text = "an object"
        case list():
            text = "an array" if len(value) > 4 else f"[{', '.join(shown(v, 12) for v in value)}]"
        case str():
            text = ascii(value[: longest + 1])
        case int() if abs(value) >= 10**longest:
            text = "a very long number"
        case _:
            text = ascii(value)
    return text if len(text) <= longest else f"{text[:longest]}..."
