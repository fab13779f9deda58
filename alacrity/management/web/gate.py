"""
The gate of the API: it refuses requests before they reach a call.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from alacrity.management.documents.problems import Problem
from alacrity.management.web.bearer import token_problem
from alacrity.management.web.pages import page_problem
from alacrity.management.web.requests import shown_bytes
from alacrity.management.web.responses import respond_problem


class Gate(Resource):
    """
    Refuses callers without permission, and paths that Klein cannot decode.
    """

    isLeaf = True

    def __init__(
        self,
        inner: IResource,
        token: bytes | None,
        open_paths: Collection[bytes],
        hosts: Collection[str],
    ) -> None:
        """
        @param inner: answers all other requests.
        @param token: the token that callers need; L{None}: they need none.
        @param open_paths: the paths that can be read without the token.
        @param hosts: the names by which the API may be called without a token, besides
            C{localhost}.
        """
        super().__init__()
        self._inner = inner
        self._token = token
        self._open_paths = open_paths
        self._hosts = hosts

    def render(self, request: Request) -> Any:
        """
        Answer a request.
        """
        # Check the access first, so that a caller without permission learns nothing.
        problem = self._access_problem(request)
        if problem is not None:
            return respond_problem(request, problem)
        try:
            b"/".join([*(request.postpath or ()), request.method]).decode("utf-8")
        except UnicodeDecodeError:
            problem = Problem(400, f"the path is not UTF-8: {shown_bytes(request.path)}")
            return respond_problem(request, problem)
        return self._inner.render(request)

    def _access_problem(self, request: Request) -> Problem | None:
        """
        The problem that the caller has no permission; L{None}: the caller has.
        """
        if self._token is not None:
            if request.method in {b"GET", b"HEAD"} and request.path in self._open_paths:
                return None
            return token_problem(request.requestHeaders, self._token)
        if isinstance(request.getHost(), UNIXAddress):
            # No web page can make a browser connect to a UNIX socket.
            return None
        return page_problem(
            request.requestHeaders,
            request.uri,
            self._hosts,
            required=request.clientproto != b"HTTP/1.0",
        )
