"""
A ledger of acknowledged writes and their fate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.drains import DrainCallers
from tests.simulation.leases import LeaseLedger
from tests.simulation.pool_ledger import PoolLedger
from tests.simulation.sight import Sight
from tests.simulation.world import World


class Ledger:
    """
    Notes what each node lets others see, and finds at once what contradicts.

    @ivar violations: what must never happen, and did.
    @ivar history: for each index of the pool, the request that led there, and what the
        pool was then.
    @ivar older: the nodes that are of the older version.
    @ivar commands: what a request is for, of those that are repeated late.
    @ivar newest_acknowledged: the highest index of the pool of what was acknowledged.
    @ivar newer: the requests that these do not understand.
    @ivar pools: compares the pool with the commands; L{None}: nobody administers it.
    @ivar leases: compares expiries with the answers to renewals; L{None}: there are no leases.
    @ivar drains: compares what callers are told with requests in flight; L{None}: there are none.
    @ivar sight: the servers that nodes reach; L{None}: no servers are checked.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.violations: list[str] = []
        self.history: dict[int, tuple[str, int]] = {}
        self.applied_at: dict[str, int] = {}
        self.leaders: dict[int, str] = {}
        self.acknowledged: dict[str, None] = {}
        self.refused: dict[str, None] = {}
        self.unknown: dict[str, None] = {}
        self.commands: dict[str, Any] = {}
        self.barriers = 0
        self.newest_acknowledged = 0
        self.older: set[str] = set()
        self.newer: set[str] = set()
        self.pools: PoolLedger | None = None
        self.leases: LeaseLedger | None = None
        self.drains: DrainCallers | None = None
        self.sight: Sight | None = None

    def violate(self, text: str) -> None:
        self._world.note(f"VIOLATION: {text}")
        self.violations.append(text)

    def expect(self, condition: bool, text: Callable[[], str]) -> None:
        if not condition:
            self.violate(text())

    def applied(self, node: str, index: int, request_id: str, digest: int) -> None:
        known = self.history.setdefault(index, (request_id, digest))
        if known != (request_id, digest):
            self.violate(
                f"diverged: at index {index}, {node} has request {request_id} (pool {digest:x}), "
                f"others have {known[0]} (pool {known[1]:x})"
            )
        first = self.applied_at.setdefault(request_id, index)
        if first != index:
            self.violate(f"twice: {request_id} is applied at {first} and at {index}, on {node}")
        if request_id in self.refused:
            self.violate(f"refused, and applied: {request_id} on {node}")
        if request_id in self.newer and self.older:
            self.violate(f"applied, while {sorted(self.older)} are older: {request_id} on {node}")

    def restored(self, node: str, index: int, digest: int) -> None:
        known = self.history.get(index)
        if known is not None and known[1] != digest:
            self.violate(
                f"diverged: {node} was given pool {digest:x} at index {index}, others have "
                f"{known[1]:x}"
            )

    def leads(self, node: str, term: int) -> None:
        known = self.leaders.setdefault(term, node)
        if known != node:
            self.violate(f"one leader a term: {known} and {node} lead term {term}")

    def acknowledge(self, request_id: str) -> None:
        self._world.note(f"acknowledged {request_id}")
        self.acknowledged[request_id] = None
        if request_id not in self.applied_at:
            self.violate(f"acknowledged before it was applied: {request_id}")
        self.newest_acknowledged = max(self.newest_acknowledged, self.applied_at.get(request_id, 0))

    def shown(self, node: str, request_id: str, index: int) -> None:
        """
        Whoever was answered reads from the same node.
        """
        at = self.applied_at.get(request_id, 0)
        if index < at:
            self.violate(
                f"acknowledged before it was shown: {request_id} is applied at {at}, "
                f"and {node} shows {index}"
            )

    def refuse(self, request_id: str) -> None:
        self.refused[request_id] = None
        if request_id in self.applied_at:
            self.violate(f"applied, and refused: {request_id}")
