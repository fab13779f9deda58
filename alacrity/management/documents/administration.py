"""
The document of C{PATCH /servers/ID}: operators' decisions about a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from alacrity.management.documents.problems import Problem
from alacrity.management.documents.schemas import AdministrationRequestDocument
from alacrity.management.documents.strict import fault, read
from alacrity.pool.model import AdminState

ALLOWED_ADMINISTRATION: Final[Mapping[str, str]] = {
    "": "a JSON object with at least one of admin, weight, until, reason",
    "admin": '"ready", "drain" or "maintenance"',
    "weight": "a whole number from 0 to 256, or null for the registered weight",
    "until": "seconds from now after which the server is ready again, above 0 and up to 31622400 "
    "(366 days), with admin drain or maintenance; or null: until it is changed",
    "reason": "a text of at most 200 printable characters",
}
"""The allowed values of each member, in words, by the member's path."""


class Decision(Struct, frozen=True):
    """
    A valid change of the operators' decisions, with what stays unset.

    @ivar until: in seconds from now; L{None}: the state does not end by itself.
    """

    state: AdminState | UnsetType
    weight: int | UnsetType | None
    until: float | UnsetType | None
    reason: str | UnsetType

    @property
    def needs_other_state(self) -> bool:
        """Whether it sets the end of a state that it does not set."""
        return self.state is UNSET and isinstance(self.until, float)


def read_administration(body: bytes) -> Decision:
    """
    Read the body of a C{PATCH /servers/ID}.

    @raise Problem: the body is not valid.
    """
    asked = read(body, AdministrationRequestDocument, ALLOWED_ADMINISTRATION)
    if all(getattr(asked, name) is UNSET for name in asked.__struct_fields__):
        allowed = ALLOWED_ADMINISTRATION[""]
        raise Problem(400, f"the body is {{}}, which changes nothing; allowed: {allowed}")
    state = UNSET if isinstance(asked.admin, UnsetType) else AdminState(asked.admin)
    if state is AdminState.READY and isinstance(asked.until, float):
        raise until_fault(asked.until, "admin is ready, which does not end")
    return Decision(state, asked.weight, asked.until, asked.reason)


def until_fault(until: object, reason: str) -> Problem:
    """
    The problem that a state cannot have an end.

    @param until: as it was asked for.
    """
    return fault("until", until, ALLOWED_ADMINISTRATION, reason=reason)
