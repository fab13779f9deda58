"""
Servers with leases, which they renew through any node, and the part of a node that keeps them:
the one that is shipped.

A server relies on each answer: its lease lasts for the granted time, from when the renewal was
sent. The L{LeaseLedger} compares that with each expiry that takes effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.state import NotReadable, decode_envelope
from alacrity.health import LeaseKeeper, LossGuard, ProposalBatcher
from alacrity.node.leader_checks import LeaderChecks
from alacrity.node.leases import ACKNOWLEDGED_WITHIN, Leases
from alacrity.pool import (
    Deregister,
    ExpireLease,
    GuardLimits,
    NoCheck,
    Pool,
    Register,
    ServerOptions,
    Verdicts,
    server_id,
)
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.ledger import Ledger
    from tests.simulation.nodes import Node

WINDOW: Final = 2.0
"""Seconds of a window of the guard. Short, since few seconds are simulated."""

INVARIANTS: Final = {
    "renewed lasts": "a lease of which an acknowledged renewal holds does not expire, and its "
    "server is not suspected",
    "stopped expires": "the lease of a server that has stopped expires in bounded time",
}

_IP: Final = "10.0.0.3"
_LIMITS: Final = GuardLimits(0.3, WINDOW)
_REMOVED_AFTER: Final = 5.0


class NodeLeases:
    """
    The keeper of leases on a node, as a node is composed.
    """

    def __init__(self, node: Node) -> None:
        replica, view = node.replica, node.view
        assert replica is not None
        world = node.world

        def wall() -> float:
            return world.now

        batcher = ProposalBatcher(replica.propose_as_leader, lambda: replica.format >= 2, node.time)
        guard = LossGuard(view, batcher.propose, _LIMITS, wall)
        keeper = LeaseKeeper(
            view,
            batcher.propose,
            guard,
            margin=ACKNOWLEDGED_WITHIN,
            deregister_after=_REMOVED_AFTER,
            clock=node.time,
            wall=wall,
        )
        self._leases = Leases(replica, keeper, node.time)
        checks = LeaderChecks(keeper, lambda: replica.is_leader, lambda: len(view.pool.servers))
        replica.on_leadership_change(lambda _: checks.update())

    def renew(self, id: str) -> Deferred[Renewal]:
        """
        Renew a lease, as the API does.
        """
        return Deferred.fromCoroutine(self._leases.renew(id))


class LeaseLedger:
    """
    Notes the answers that servers got, and the expiries.
    """

    def __init__(self, world: World, violate: Callable[[str], None]) -> None:
        self._world = world
        self._violate = violate
        self._index = 0
        # By server, when each answer came, and until when it holds.
        self._held: dict[str, list[tuple[float, float]]] = {}
        self.counts: Counter[str] = Counter()

    def acknowledged(self, id: str, sent: float, lease: float) -> None:
        """
        A server has got the answer to a renewal, or to its registration.
        """
        self.counts["acknowledged"] += 1
        self._held.setdefault(id, []).append((self._world.now, sent + lease))

    def gone(self, id: str) -> None:
        """
        Somebody has asked for a server's removal.
        """
        self._held.pop(id, None)

    def applied(self, data: bytes, before: Pool, after: Pool) -> None:
        """
        A node has applied an entry, which made one pool of another.
        """
        if after.index <= self._index:
            return
        self._index = after.index
        try:
            command = decode_envelope(data).command
        except NotReadable:
            return
        for each in command.verdicts if isinstance(command, Verdicts) else (command,):
            if isinstance(each, ExpireLease):
                self._expired(each, before, after)
            elif isinstance(each, Deregister) and each.id not in after.servers:
                self.counts["removed"] += 1

    def _expired(self, command: ExpireLease, before: Pool, after: Pool) -> None:
        id = command.id
        was, now = before.servers.get(id), after.servers.get(id)
        if was is None or was.revision != command.revision:
            return
        is_marked = now is None or now.condition.lease_expired or now.condition.suspect
        if not is_marked:
            return
        is_kept = now is not None and now.condition.suspect
        self.counts["kept" if is_kept else "expired"] += 1
        for came, until in self._held.get(id, ()):
            # The leader could know of it. One that came later revives the server.
            if came <= command.time < until:
                self._violate(
                    f"renewed lasts: the lease of {id} expired at {command.time:.3f}, and an "
                    f"answer that came at {came:.3f} holds until {until:.3f}"
                )
                return


class LeasedServer:
    """
    A server that registers, and renews its lease while it lives.
    """

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        leases: LeaseLedger,
        nodes: Callable[[], list[Any]],
        port: int,
    ) -> None:
        """
        @param nodes: those that run.
        """
        self.id = server_id(_IP, port)
        self.lives = True
        self._world = world
        self._ledger = ledger
        self._leases = leases
        self._nodes = nodes
        self._port = port
        self._lease = world.rng.choice([3.0, 3.0, 4.5, 9.0])
        # It renews at the last moment.
        self._is_lazy = world.rng.random() < 0.4
        self._is_registered = False
        self._count = 0
        self._in_flight = False
        self._later(world.rng.uniform(0.0, 1.0))

    def _later(self, seconds: float) -> None:
        self._world.schedule(seconds, self._world.outside, self._act)

    def come_back(self) -> None:
        """
        Live again, as a process that has to register.
        """
        if not self.lives:
            self.lives = True
            self._is_registered = False
            self._later(0.0)

    def _act(self) -> None:
        if not self.lives or self._in_flight:
            return
        rng = self._world.rng
        nodes = [node for node in self._nodes() if node.duties is not None]
        if not nodes:
            self._later(0.3)
            return
        node = rng.choice(nodes)
        sent = self._world.now
        self._in_flight = True
        answered = False

        def answer(result: Any) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            self._in_flight = False
            self._answered(result, sent)

        # A paused or dead node does not answer.
        self._world.schedule(rng.choice([1.0, 8.0]), self._world.outside, lambda: answer(None))
        if self._is_registered:
            node.duties.renew(self.id).addBoth(answer)
        else:
            self._count += 1
            request_id = f"lease{self._port}-{self._count}"
            options = ServerOptions(lease=self._lease)
            command = Register(_IP, self._port, NoCheck(), 1, sent, options)
            self._ledger.newer.add(request_id)
            proposal: Deferred[Any] = node.propose(command, request_id)
            proposal.addBoth(self._noted, request_id).addBoth(answer)

    def _noted(self, result: Any, request_id: str) -> Any:
        if not isinstance(result, Failure):
            self._ledger.acknowledge(request_id)
        elif result.check(ProposalRefused):
            self._ledger.refuse(request_id)
        return result

    def _answered(self, result: Any, sent: float) -> None:
        rng = self._world.rng
        if isinstance(result, Failure):
            if result.check(NoSuchServer, HasNoLease):
                self._is_registered = False
            elif result.check(ProposalRefused, OutcomeUnknown) is None:
                self._ledger.violate(f"{self.id}: {result.getTraceback()}")
            self._later(rng.uniform(0.1, 0.5))
        elif result is None:
            self._later(0.1)
        elif isinstance(result, Renewal):
            self._leases.acknowledged(self.id, sent, result.lease)
            lazily = result.lease * rng.uniform(0.7, 0.98) - (self._world.now - sent)
            usual = result.renew_after * rng.uniform(0.5, 1.1)
            self._later(lazily if self._is_lazy else usual)
        else:
            self._is_registered = True
            self._leases.acknowledged(self.id, sent, self._lease)
            self._later(self._lease / 3 * rng.uniform(0.2, 1.0))


class LeasedServers:
    """
    All servers with leases of a run.
    """

    def __init__(
        self, world: World, ledger: Ledger, nodes: Callable[[], list[Any]], count: int
    ) -> None:
        """
        @param nodes: those that run.
        """
        self.ledger = LeaseLedger(world, ledger.violate)
        self._world = world
        self._violations = ledger
        self._nodes = nodes
        self._servers = [
            LeasedServer(world, ledger, self.ledger, nodes, port + 1) for port in range(count)
        ]

    def die(self) -> None:
        """
        Have a server die, or come back.
        """
        server = self._world.rng.choice(self._servers)
        if server.lives:
            self._world.note(f"{server.id} dies")
            server.lives = False
        else:
            self._world.note(f"{server.id} comes back")
            server.come_back()

    def finish(self, over: Callable[[], bool]) -> None:
        """
        In peace: half of the servers die, and the leases of those expire, one a window at
        least; the others' do not.
        """
        world = self._world
        for server in self._servers[::2]:
            server.lives = False
        for server in self._servers[1::2]:
            server.come_back()
        stopped = len(self._servers[::2])
        # The longest lease and the margin, a window that is spent, and one for each loss,
        # removals among them.
        bound = 9.0 + ACKNOWLEDGED_WITHIN + WINDOW * (2 * stopped + 4.0)
        world.run(world.now + bound, lambda: over() or self._are_settled())
        if not over() and not self._are_settled():
            self._violations.violate(f"stopped expires: not in {bound:g} s: {self._left()}")
        for server in self._servers:
            server.lives = False

    def _are_settled(self) -> bool:
        return not self._left()

    def _left(self) -> list[str]:
        pools = [node.pool for node in self._nodes() if node.leads]
        if not pools:
            return ["nobody leads"]
        servers = pools[0].servers
        left = []
        for each in self._servers:
            server = servers.get(each.id)
            if each.lives and (server is None or not server.eligible or server.condition.suspect):
                left.append(f"{each.id}, which lives")
            elif not each.lives and server is not None and not server.condition.lease_expired:
                left.append(f"{each.id}, which has stopped")
        return left
