"""
The exit statuses of the command.
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """
    The outcome of a command. C{register} with a command of its own exits with the status of that
    instead, once it has run.
    """

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    """No API can be reached, or the cluster has no quorum."""
    NOT_FOUND = 4
    CONFLICT = 5
    NOT_DRAINED = 6
    """The server is removed, and its requests did not all finish in time."""
    UNHEALTHY = 7
    CANNOT_EXECUTE = 126
    """The command cannot be executed, as a shell says it."""
    NO_SUCH_COMMAND = 127


SIGNALLED = 128
"""Added to the number of the signal that ended a process."""


def status_of_refusal(status: int) -> ExitStatus:
    """
    The exit status for a call that was refused with a status of HTTP.
    """
    match status:
        case 404:
            return ExitStatus.NOT_FOUND
        case 409 | 412:
            return ExitStatus.CONFLICT
        case _:
            return ExitStatus.REFUSED
