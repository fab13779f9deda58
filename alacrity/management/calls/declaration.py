"""
Declarations of calls: the path, the request and the answers of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

_Method = TypeVar("_Method", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__alacrity_call__"


class Answer(Struct, frozen=True):
    """
    The answer to a call that succeeds.

    @ivar meaning: the meaning of the answer, in a sentence.
    @ivar document: the type of the answer's document; L{None}: the answer has no body.
    @ivar headers: the names of response fields that the answer always has.
    """

    meaning: str
    document: Any = None
    headers: Sequence[str] = ()


class Call(Struct, frozen=True):
    """
    A call.

    @ivar name: the unique name of the call.
    @ivar path: the path, with parameters in braces.
    @ivar summary: the effect of the call, in a sentence or two.
    @ivar answers: the answers of a successful call, by status.
    @ivar takes: the type of the request's document; L{None}: there is none.
    @ivar problems: the statuses of a failed call, besides those that all calls have in common,
        see L{alacrity.management.calls.openapi}.
    @ivar resource: the path of the resource that the call creates or changes; the parameters in
        this path are members of the answer. L{None}: there is none.
    @ivar query: the names of the query parameters; see L{alacrity.management.calls.openapi}.
    @ivar media_types: the media types that the request's document may have.
    @ivar conditional: whether the call looks at C{If-Match}. Others refuse it.
    @ivar open: whether the call may be made without the token.
    """

    name: str
    method: str
    path: str
    summary: str
    answers: Mapping[int, Answer]
    takes: type[Struct] | None = None
    problems: Sequence[int] = ()
    resource: str | None = None
    query: Sequence[str] = ()
    media_types: Sequence[str] = ("application/json",)
    conditional: bool = False
    open: bool = False


def call(
    method: str, path: str, summary: str, *, answers: Mapping[int, Answer], **more: Any
) -> Callable[[_Method], _Method]:
    """
    Mark a method as a L{Call}. The call gets the name of the method.

    @param more: the other attributes of L{Call}.
    """

    def mark(function: _Method) -> _Method:
        name = function.__name__.lstrip("_")
        made = Call(name, method, path, summary, answers, **more)
        setattr(function, _ATTRIBUTE, made)
        return function

    return mark


def calls_of(kind: type) -> list[tuple[Call, str]]:
    """
    The calls of a class in the order of its methods, each with the method's name.
    """
    return [
        (getattr(member, _ATTRIBUTE), name)
        for name, member in vars(kind).items()
        if hasattr(member, _ATTRIBUTE)
    ]
