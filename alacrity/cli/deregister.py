"""
The command C{alacrity deregister}.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from twisted.internet.defer import Deferred

from alacrity.cli.running import finish, say, several_apis
from alacrity.cli.status import ExitStatus, status_of_refusal
from alacrity.client import Removal, Remover


def exit_status(remover: Remover, removal: Removal) -> ExitStatus:
    """
    The exit status for an outcome.
    """
    match removal:
        case Removal.DRAINED:
            return ExitStatus.DONE
        case Removal.NOT_DRAINED:
            return ExitStatus.NOT_DRAINED
        case Removal.ABSENT:
            return ExitStatus.NOT_FOUND
        case Removal.UNREACHABLE:
            return ExitStatus.UNREACHABLE
        case Removal.REFUSED:
            refusal = remover.refusal
            assert refusal is not None
            return status_of_refusal(refusal.status)


def run(options: Namespace) -> int:
    """
    Run it.

    @return: the exit status.
    """
    from twisted.internet import reactor

    loop: Any = reactor
    remover = Remover(several_apis(loop, options.to, options.token), options.id, loop, say)

    async def remove() -> int:
        removal = await remover.remove(options.wait)
        if removal is Removal.NOT_DRAINED:
            say(f"{options.id} is removed; requests may still be in flight")
        elif removal is Removal.ABSENT:
            say(f"there is no server {options.id!r}")
        return exit_status(remover, removal)

    return finish(loop, Deferred.fromCoroutine(remove()))
