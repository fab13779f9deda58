"""
Declarations of calls: where each is found, what it takes, and what it answers.
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

    @ivar meaning: its meaning, in a sentence.
    @ivar document: the type of its document; L{None}: it has no body.
    @ivar headers: the names of response fields that it always has.
    """

    meaning: str
    document: Any = None
    headers: Sequence[str] = ()


class Call(Struct, frozen=True):
    """
    A call.

    @ivar name: a name that no other call has.
    @ivar path: its path, with parameters in braces.
    @ivar summary: what it does, in a sentence or two.
    @ivar answers: the answers with which it succeeds, by status.
    @ivar takes: the type of the request's document; L{None}: there is none.
    @ivar problems: the statuses with which it fails, besides those that all calls have in
        common, see L{alacrity.management.calls.openapi}.
    @ivar resource: the path of the resource that it creates or changes; the parameters in
        it are members of the answer. L{None}: there is none.
    @ivar query: the names of its query parameters; see L{alacrity.management.calls.openapi}.
    @ivar open: whether it may be made without the token.
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
    open: bool = False


def call(
    method: str, path: str, summary: str, *, answers: Mapping[int, Answer], **more: Any
) -> Callable[[_Method], _Method]:
    """
    Mark a method as a L{Call}, which is named as the method is.

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
