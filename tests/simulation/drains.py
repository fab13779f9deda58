"""
Requests in flight on each node, and callers who remove a server and wait for its requests, with
the counts that are shipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.management.documents.removals import RegisteredAgain
from alacrity.node.data_path import InFlight
from alacrity.node.drains import Drains
from alacrity.pool import Deregister, NoCheck, Register, server_id
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.ledger import Ledger
    from tests.simulation.nodes import Node

INVARIANTS: Final = {
    "drained is over": "when a caller is told that a server is drained, no node has a request of "
    "it in flight, nor gets one from then on",
}

_IP: Final = "10.0.0.4"
_PORTS: Final = range(1, 4)


class NodeTraffic:
    """
    The requests in flight on a node, which gives them to any server of its pool.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        replica = node.replica
        assert replica is not None
        # By the id and the revision of a server.
        self.in_flight: Counter[tuple[str, int]] = Counter()
        self.drains = Drains(
            node.view,
            replica.notes,
            node.name,
            lambda: replica.member_names,
            self._count,
            node.time,
            limit=100,
        )
        self._next()

    def _count(self, id: str) -> InFlight:
        server = self._node.view.pool.servers.get(id)
        present = 0 if server is None else self.in_flight[id, server.revision]
        total = sum(count for (each, _), count in self.in_flight.items() if each == id)
        return InFlight(present, total - present)

    def _next(self) -> None:
        rng = self._node.world.rng
        self._node.time.callLater(rng.uniform(0.0, 0.2), self._begin)

    def _begin(self) -> None:
        node = self._node
        rng = node.world.rng
        servers = [each for each in node.view.pool.servers.values() if each.ip == _IP]
        if servers:
            server = rng.choice(servers)
            key = server.id, server.revision
            self.in_flight[key] += 1
            drains = node.ledger.drains
            assert drains is not None
            drains.begun(node, *key)
            node.time.callLater(rng.choice([0.05, 0.5, 3.0]), self._end, key)
        self._next()

    def _end(self, key: tuple[str, int]) -> None:
        self.in_flight[key] -= 1


class DrainCallers:
    """
    Callers who register servers, remove them, and wait; and the comparison of what they are told
    with all nodes' requests.
    """

    def __init__(self, world: World, ledger: Ledger, nodes: Callable[[], list[Any]]) -> None:
        """
        @param nodes: those that run.
        """
        self._world = world
        self._ledger = ledger
        self._nodes = nodes
        self._count = 0
        # By server, the latest revision that was removed and told to be drained, and the
        # processes of that moment.
        self._drained: dict[str, tuple[int, set[Any]]] = {}
        self.counts: Counter[str] = Counter()
        self.stopped = False
        for port in _PORTS:
            self._later(port)

    def begun(self, node: Node, id: str, revision: int) -> None:
        """
        A node gives a request to a server. A process that has started since may still have to
        learn what its log says.
        """
        drained, processes = self._drained.get(id, (-1, set()))
        if revision <= drained and node.time in processes:
            self._ledger.violate(
                f"drained is over: {node.name} gives a request to {id} of revision {revision}"
            )

    def _later(self, port: int) -> None:
        world = self._world
        world.schedule(world.rng.uniform(0.2, 2.0), world.outside, lambda: self._act(port))

    def _act(self, port: int) -> None:
        nodes = [
            each for each in self._nodes() if each.traffic is not None and not each.time.paused
        ]
        if self.stopped or not nodes:
            if not self.stopped:
                self._later(port)
            return
        node = self._world.rng.choice(nodes)
        deferred = Deferred.fromCoroutine(self._round(node, port))
        over = False

        def ended(result: Any) -> None:
            nonlocal over
            if over:
                return
            over = True
            faults = (ProposalRefused, OutcomeUnknown, RegisteredAgain)
            if isinstance(result, Failure) and result.check(*faults) is None:
                self._ledger.violate(f"a caller who waits: {result.getTraceback()}")
            self._later(port)

        # The node may have died.
        self._world.schedule(15.0, self._world.outside, lambda: ended(None))
        deferred.addBoth(ended)

    async def _round(self, node: Any, port: int) -> None:
        world = self._world
        id = server_id(_IP, port)
        register = Register(_IP, port, NoCheck(), 1, world.now)
        await self._propose(node, register)
        pause: Deferred[None] = Deferred()
        node.time.callLater(world.rng.uniform(0.1, 2.0), pause.callback, None)
        await pause
        server = node.view.pool.servers.get(id)
        await self._propose(node, Deregister(id, world.now, "asked"))
        drains: Drains = node.traffic.drains
        removal = await drains.find(id)
        if removal is None or server is None:
            return
        told = await drains.wait(id, removal, world.rng.uniform(0.5, 6.0))
        if not all(each.done for each in told):
            self.counts["not drained"] += 1
            return
        self.counts["drained"] += 1
        self._drained[id] = (server.revision, {each.time for each in self._nodes()})
        for each in self._nodes():
            if each.traffic is None:
                continue
            for (other, revision), count in each.traffic.in_flight.items():
                if other == id and revision <= server.revision and count:
                    self._ledger.violate(
                        f"drained is over: {each.name} has {count} requests of {id} of revision "
                        f"{revision} in flight, and {node.name} says that it is drained"
                    )

    async def _propose(self, node: Any, command: Register | Deregister) -> None:
        self._count += 1
        request_id = f"drain-{self._count}"
        if isinstance(command, Register):
            self._ledger.newer.add(request_id)
        try:
            await node.propose(command, request_id)
        except ProposalRefused:
            self._ledger.refuse(request_id)
            raise
        self._ledger.acknowledge(request_id)
