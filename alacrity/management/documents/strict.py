"""
Strict reading of JSON documents. A problem names the wrong member and its allowed values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from alacrity.management.documents.problems import Problem, shown
from alacrity.management.documents.schemas import CHECK_DOCUMENTS

_T = TypeVar("_T")


def read(body: bytes, kind: type[_T], allowed: Mapping[str, str]) -> _T:
    """
    Decode and validate the body of a request.

    @param allowed: the allowed values of each member, in words, by the member's path.
    @raise Problem: the body is not valid.
    """
    document = _parse(body)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        _raise_problem(str(error), document, kind, allowed)
    except UnicodeEncodeError:
        raise Problem(400, "a string or a name has half a surrogate pair") from None


def _parse(body: bytes) -> object:
    """
    Decode JSON strictly by RFC 8259, and refuse duplicate names.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_number,
        )
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, f"the body is not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Problem(400, f"the body is not usable JSON: {error}") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(
            400, f"the name {shown(twice)} appears twice in one object", field=_shown(twice)
        )
    return members


def _number(text: str) -> int | float:
    """
    Read 80.0 as 80, because both are the same number in JSON (RFC 8259 6).
    """
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_constant(name: str) -> NoReturn:
    raise Problem(400, f"the body is not JSON: it has the number {name}")


_PLACE: Final = re.compile(r" - at `\$\.?(?P<place>[^`]*)`\Z")
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def _raise_problem(
    message: str, document: object, kind: type, allowed: Mapping[str, str]
) -> NoReturn:
    """
    Convert msgspec's error into a L{Problem} with the API's own text.
    """
    if message.startswith("Object contains unknown field"):
        # The name is not read from the message, because the name could look like other parts of
        # the message.
        raise _unknown(document, kind)
    found = _PLACE.search(message)
    place = "" if found is None else found["place"]
    missing = _MISSING.match(message)
    if missing is not None:
        field = f"{place}.{missing['name']}" if place else missing["name"]
        raise Problem(400, f"{field} is missing; allowed: {allowed[field]}", field=field)
    raise fault(place, _at(document, place), allowed)


def _unknown(document: Any, kind: Any) -> Problem:
    """
    The problem that a document, or its check, has an unknown member.
    """
    above, members, known = "", document, kind.__struct_fields__
    name = next((name for name in members if name not in known), None)
    if name is None:
        above, members = "check.", document["check"]
        known = ("type", *CHECK_DOCUMENTS[members["type"]].__struct_fields__)
        name = next(name for name in members if name not in known)
    allowed = ", ".join(known)
    if above:
        allowed += f" with type {members['type']}"
    field = above + _shown(name)
    return Problem(400, f"{field} is not known; allowed: {allowed}", field=field)


def _at(document: object, place: str) -> object:
    """
    The value at a path such as C{check.status[1]}.
    """
    value: Any = document
    for step in re.findall(r"[^.\[\]]+", place):
        value = value[int(step) if isinstance(value, list) else step]
    return value


def _shown(name: str) -> str:
    """
    A name from a caller's document, in ASCII, and cut to a length.
    """
    return shown(name)[1:-1] if len(name) <= 60 else f"{shown(name[:40])[1:-1]}..."


def fault(
    field: str,
    found: object,
    allowed: Mapping[str, str],
    *,
    reason: str | None = None,
) -> Problem:
    """
    The problem that a member's value is not allowed.

    @param field: the member's path; empty: the whole body.
    @param allowed: see L{read}.
    @param reason: the fault of the value, if it is not obvious.
    """
    place = re.sub(r"\[\d+\]", "", field)
    because = "" if reason is None else f" ({reason})"
    return Problem(
        400,
        f"{field or 'the body'} is {shown(found)}{because}; allowed: {allowed[place]}",
        field=field or None,
    )
