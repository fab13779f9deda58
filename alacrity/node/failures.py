"""
Failures to start, in one line each for an operator.
"""

from __future__ import annotations

import errno


class CannotStart(SystemExit):
    """
    The end of a process whose node cannot start. Its text is the reason in one line, which
    has been reported already.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(1)
        self._fault = fault

    def __str__(self) -> str:
        return self._fault


def cause(error: BaseException | None) -> str:
    """
    The reason of a failed system call in a few words, as the system gives it.
    """
    inner = getattr(error, "socketError", error)
    return getattr(inner, "strerror", None) or str(inner)


def state_directory_remedy(error: BaseException) -> str:
    """
    The advice to append to a fault of the state directory; empty: there is none.
    """
    inner = error if isinstance(error, OSError) else error.__cause__
    if getattr(inner, "errno", None) in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}:
        return "; name one that this user can write with --state-dir"
    return ""
