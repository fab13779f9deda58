"""
What a call of the API says of itself: where it is found, what it takes, what it
answers. Its route and its part of C{GET /openapi.json} are made from that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

_Method = TypeVar("_Method", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__alacrity_call__"


class Answer(Struct, frozen=True):
    """
    An answer with which a call succeeds.

    @ivar meaning: in a sentence.
    @ivar kind: of its document; L{None}: it has no body.
    @ivar headers: the response fields that come with it.
    """

    meaning: str
    kind: Any = None
    headers: Sequence[str] = ()


class Call(Struct, frozen=True):
    """
    A call.

    @ivar name: unlike that of any other.
    @ivar path: with parameters in braces.
    @ivar summary: what it does, in a sentence or two.
    @ivar answers: by status.
    @ivar takes: of what kind the request's document is; L{None}: there is none.
    @ivar problems: the statuses with which it fails, besides those that all have in
        common, see L{alacrity.management.calls.openapi}.
    @ivar names: the path of what a successful call has made or changed; its
        parameters are members of the answer.
    @ivar query: its query parameters; see L{alacrity.management.calls.openapi}.
    @ivar open: whether it may be made without the token.
    """

    name: str
    method: str
    path: str
    summary: str
    answers: Mapping[int, Answer]
    takes: type[Struct] | None = None
    problems: Sequence[int] = ()
    names: str | None = None
    query: Sequence[str] = ()
    open: bool = False


def call(
    method: str, path: str, summary: str, *, answers: Mapping[int, Answer], **more: Any
) -> Callable[[_Method], _Method]:
    """
    Make a method of the API a L{Call}, named as the method is.

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
    The calls of a class, in its order, each with the name of its method.
    """
    return [
        (getattr(member, _ATTRIBUTE), name)
        for name, member in vars(kind).items()
        if hasattr(member, _ATTRIBUTE)
    ]
