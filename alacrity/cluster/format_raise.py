"""
The raising of the format: a committed entry says that from then on, all members understand
commands up to a version.
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
    Proposes to raise the format, on the leader.
    """

    _log = Logger()

    def __init__(
        self,
        machine: PoolMachine,
        propose: Callable[[RaiseFormat, str], Coroutine[Any, Any, object]],
        failed: Callable[[Failure], object],
    ) -> None:
        """
        @param propose: proposes a command with a request id, if this node is the leader.
        @param failed: called with a fault of the program.
        """
        self._machine = machine
        self._propose = propose
        self._failed = failed
        self._under_way = False

    def maybe_propose(self, version_of_all: Callable[[], int]) -> None:
        """
        Propose L{RaiseFormat}, once all members are known to understand a higher version of
        commands. When it is committed, the leader need not know each member's version any
        more: a node that does not understand the format is refused (see
        L{alacrity.cluster.wire.admission}). Called on the leader only.

        @param version_of_all: says the newest version of commands that all members are known to
            understand.
        """
        machine = self._machine
        if machine.format >= machine.raised_format or self._under_way:
            return
        raised = min(machine.raised_format, version_of_all())
        if raised > machine.format:
            self._under_way = True
            Deferred.fromCoroutine(self._raise(raised)).addErrback(self._failed)

    async def _raise(self, raised: int) -> None:
        try:
            await self._propose(RaiseFormat(raised), f"format {raised}")
        except (ProposalRefused, OutcomeUnknown):
            pass  # A later call proposes it again, if it is still needed.
        else:
            self._log.info("all nodes understand commands of version {version}", version=raised)
        finally:
            self._under_way = False
