"""
The call that describes the API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.server import Request

from alacrity.management.calls.declaration import Answer, call
from alacrity.management.web.responses import respond


class DescriptionCalls:
    """
    The API's description of itself.
    """

    def __init__(self, description: Callable[[], bytes]) -> None:
        """
        @param description: gives the OpenAPI document of all calls, as JSON.
        """
        self._description = description

    @call(
        "GET",
        "/openapi.json",
        "This document.",
        answers={200: Answer("An OpenAPI 3.1 document.", dict[str, Any])},
    )
    def _show_description(self, request: Request) -> bytes:
        return respond(request, 200, self._description())
