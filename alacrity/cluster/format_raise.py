"""
The raising of the format: from then on, all members understand commands of a version for
good.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.state import RaiseFormat


class FormatRaise:
    """
    A leader's wish to raise the format.
    """

    _log = Logger()

    def __init__(
        self,
        machine: PoolMachine,
        propose: Callable[[RaiseFormat, str], Coroutine[Any, Any, object]],
        failed: Callable[[Failure], object],
    ) -> None:
        """
        @param propose: has a command with a request id applied, if this node leads.
        @param failed: told of a fault of the program.
        """
        self._machine = machine
        self._propose = propose
        self._failed = failed
        self._under_way = False

    def maybe_propose(self, version_of_all: Callable[[], int]) -> None:
        """
        As the leader, once all members are known to speak as this program does, have the
        log say so: from then on it need not be known of each, and whoever does not is kept
        out (see L{alacrity.cluster.wire.transport}).

        @param version_of_all: says the newest version of commands that all members are known to
            understand.
        """
        raised = self._machine.raised_format
        if self._machine.format >= raised or self._under_way:
            return
        if raised <= version_of_all():
            self._under_way = True
            Deferred.fromCoroutine(self._raise(raised)).addErrback(self._failed)

    async def _raise(self, raised: int) -> None:
        try:
            await self._propose(RaiseFormat(raised), f"format {raised}")
        except (ProposalRefused, OutcomeUnknown):
            pass  # It is proposed again when it is still wanted.
        else:
            self._log.info("all nodes understand commands of version {version}", version=raised)
        finally:
            self._under_way = False
