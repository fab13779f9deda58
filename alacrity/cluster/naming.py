"""
The naming of the cluster: a committed entry gives it an id, by which its members and others
recognise it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.cluster.log.formats import NAMING_FORMAT
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.state import NameCluster


def new_cluster_id(rng: Random) -> str:
    """
    Draw the id of a cluster.
    """
    return f"{rng.getrandbits(64):016x}"


class ClusterNaming:
    """
    Proposes an id for a cluster without one, on the leader.
    """

    _log = Logger()

    def __init__(
        self,
        machine: PoolMachine,
        propose: Callable[[NameCluster, str], Coroutine[Any, Any, object]],
        rng: Random,
        renamed: Callable[[], object],
        failed: Callable[[Failure], object],
    ) -> None:
        """
        @param propose: proposes a command with a request id, if this node is the leader.
        @param rng: the random numbers for the id.
        @param renamed: called when the cluster has another id than before.
        @param failed: called with a fault of the program.
        """
        self._machine = machine
        self._propose = propose
        self._rng = rng
        self._renamed = renamed
        self._failed = failed
        self._shown = ""
        self._under_way = False

    def look(self) -> None:
        """
        Note the id of the cluster, and tell of a change. Called after each step.
        """
        id = self._machine.cluster_id
        if id != self._shown:
            self._shown = id
            self._log.info("the id of this cluster is {id}", id=id)
            self._renamed()

    def maybe_propose(self, all_heard: Callable[[], bool]) -> None:
        """
        Propose L{NameCluster}, once the format allows it and all members are heard: a member
        that is away has no id then, and could not be told from one that has lost its files.
        Called on the leader only.

        @param all_heard: says whether all members have replied to this leader.
        """
        machine = self._machine
        if machine.cluster_id or machine.format < NAMING_FORMAT or self._under_way:
            return
        if all_heard():
            self._under_way = True
            Deferred.fromCoroutine(self._name(new_cluster_id(self._rng))).addErrback(self._failed)

    async def _name(self, id: str) -> None:
        try:
            await self._propose(NameCluster(id), f"name {id}")
        except (ProposalRefused, OutcomeUnknown):
            pass  # A later call proposes another id, if there is still none.
        finally:
            self._under_way = False
