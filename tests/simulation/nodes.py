"""
The nodes of a simulated cluster: L{Node}, which runs the L{Replica} that is shipped, and
L{StockNode}, which runs PySyncObj as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias
from zlib import crc32

import msgspec
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated
from pysyncobj.journal import MemoryJournal
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.effects import StepEffects, StepResult
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.membership import bootstrap
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.replica import Replica
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.cluster.state import Replicated, encode_state
from alacrity.cluster.wire.admission import PeerAdmission
from alacrity.cluster.wire.handshake import AdmissionCheck, Identity
from alacrity.net.addresses import NodeAddress
from alacrity.pool import Command, Outcome, Pool, PoolView
from tests.simulation.drains import NodeTraffic
from tests.simulation.leases import LeaseLedger, NodeLeases
from tests.simulation.network import Network, SimulatedTransport
from tests.simulation.newer import NewerMachine, request_id_of
from tests.simulation.older import OlderMachine, SecondMachine
from tests.simulation.pool_ledger import PoolLedger
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.sight import NodeChecks
from tests.simulation.watching import Watching, watching
from tests.simulation.world import Time, World
from tests.support.fake_files import Crashed, FakeFiles


def digest(pool: Pool) -> int:
    return crc32(msgspec.msgpack.encode(pool))


def member(name: str) -> Member:
    return Member(name, f"{name}:8688")


def address_of(name: str) -> NodeAddress:
    return NodeAddress(name, f"{name}:8688")


def peer(name: str) -> Peer:
    return Peer(member(name))


Seen: TypeAlias = tuple[int, str | None, int]
"""An index of the pool, the request that led there, and a digest of the pool; L{None}: it
came in a snapshot."""


class _Noting:
    """
    A state machine that notes how the pool changes.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.pools: PoolLedger | None = None
        self.leases: LeaseLedger | None = None
        super().__init__()

    def apply(self, command: bytes) -> Any:
        machine: Any = super()
        before = self.pool
        result = machine.apply(command)
        pool = self.pool
        if pool is not before:
            self.seen.append((pool.index, request_id_of(command), digest(pool)))
            if self.pools is not None:
                self.pools.applied(command, before, pool, machine.format)
            if self.leases is not None:
                self.leases.applied(command, before, pool)
        return result

    def restore(self, state: bytes) -> None:
        machine: Any = super()
        machine.restore(state)
        self.seen.append((self.pool.index, None, digest(self.pool)))

    @property
    def pool(self) -> Pool:
        machine: Any = self
        pool: Pool = machine.state.pool
        return pool


class _NotingMachine(_Noting, PoolMachine):
    pass


class _NotingNewer(_Noting, NewerMachine):
    pass


class _NotingOlder(_Noting, OlderMachine):
    pass


class _NotingSecond(_Noting, SecondMachine):
    pass


_MACHINES: Final[dict[int, Callable[[], Any]]] = {
    1: _NotingOlder,
    2: _NotingSecond,
    3: _NotingMachine,
    4: _NotingNewer,
}


class _Recording(Replica):
    """
    Tells the ledger what this node lets others see.
    """

    node: Node

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        machine: Any = self.machine
        self._seen: list[Seen] = machine.seen
        # What the disk has is no news.
        self._seen.clear()
        # The ledger is told before anything leaves the node.
        steps: Any = self._steps
        self._let_go = steps._release
        steps._release = self._released
        publisher: Any = self._publisher
        self._show = publisher.show
        publisher.show = self._shows

    def _shows(self, results: tuple[StepResult, ...]) -> None:
        node = self.node
        for index, request_id, seen in self._seen:
            if request_id is None:
                node.ledger.restored(node.name, index, seen)
            else:
                node.ledger.applied(node.name, index, request_id, seen)
        self._seen.clear()
        self._show(results)

    def _released(self, effects: StepEffects) -> None:
        if self._engine.role == LEADER:
            self.node.ledger.leads(self.node.name, self._engine.term)
        self.node.ledger.released(self.node.name)
        self._let_go(effects)
        self.node.ledger.told_leading(self.node.name)
        if self.is_leader:
            self.node.ledger.led(
                self.node.name,
                self._engine.term,
                self._engine.settled_configuration,
                self.machine.cluster_id,
            )


class Node:
    """
    One node: its disk, and its process while that runs.

    @ivar version: of the program that runs when it is started the next time.
    @ivar port: of its address when it is started the next time.
    """

    version = NEWEST_FORMAT
    port = 8688
    knows_requests = True
    patience = 3.0
    acquaintances: Callable[..., AdmissionCheck] = PeerAdmission

    def __init__(
        self,
        world: World,
        network: Network,
        ledger: RaftLedger,
        name: str,
        founders: tuple[str, ...],
        settings: ReplicaSettings,
        engine: type[Engine] = Engine,
        storage: type[Storage] = Storage,
    ) -> None:
        """
        @param founders: with whom it begins a cluster; none: it waits to be taken in.
        """
        self.world = world
        self.network = network
        self.ledger = ledger
        self.name = name
        self.founders = founders
        self.settings = settings
        self.engine = engine
        self.storage = storage
        self.files = FakeFiles()
        self.time = Time(world)
        self.time.ended = True
        self.transport = SimulatedTransport(network, name, peer)
        self.replica: _Recording | None = None
        self.duties: NodeLeases | None = None
        self.traffic: NodeTraffic | None = None
        self.checks: NodeChecks | None = None
        self.slow_disk = 0.003
        ledger.watch(self)

    @property
    def running(self) -> bool:
        return not self.time.ended

    @property
    def address(self) -> str:
        """Where it says that it is; messages find it anyway."""
        return f"{self.name}:{self.port}"

    def start(self) -> None:
        world = self.world
        world.note(f"{self.name} starts")
        rng = Random(world.rng.getrandbits(64))
        self.time = Time(world)
        self.transport = self._make_transport()
        self.network.add(self)
        try:
            storage = self.storage.open(
                self.files, new_incarnation=lambda: f"{rng.getrandbits(128):032x}"
            )
            if len(storage) == 0 and self.founders:
                members = tuple(map(member, self.founders))
                bootstrap(storage, members, encode_state(Replicated()))
                storage.sync()
            view = PoolView()
            machine = _MACHINES[self.version]()
            machine.pools = self.ledger.pools
            machine.leases = self.ledger.leases
            self.replica = replica = _Recording(
                Member(self.name, self.address),
                storage,
                self.transport,
                view,
                self.time,
                self._run_in_thread,
                rng,
                self.settings,
                watching(self.engine),
                machine,
            )
        except Crashed:
            self.kill()
            return
        replica.node = self
        self.ledger.started(self.name)
        assert isinstance(replica._engine, Watching)
        replica._engine.ledger = self.ledger
        self.view = view
        self._introduce(replica, storage)
        self.duties = None if self.ledger.leases is None else NodeLeases(self)
        self.traffic = None if self.ledger.drains is None else NodeTraffic(self)
        self.checks = None if self.ledger.sight is None else NodeChecks(self)
        Deferred.fromCoroutine(replica.start())

    def _make_transport(self) -> SimulatedTransport:
        return SimulatedTransport(self.network, self.name, peer)

    def _introduce(self, replica: Replica, storage: Storage) -> None:
        """
        Have the transport know for whom it speaks.
        """
        self.transport.identity = lambda: replica.identity
        self.transport.accept = self._acceptance(replica, storage)
        self.transport.own_greeting = lambda: replica.greeting
        self.transport.accept_greeting = self._admission(replica, storage).greeted

    @staticmethod
    def _admission(replica: Replica, storage: Storage) -> PeerAdmission:
        return PeerAdmission(
            replica.known,
            storage,
            lambda: replica.format,
            lambda: replica.greeting,
            lambda name: name not in replica.member_names,
        )

    def _acceptance(self, replica: Replica, storage: Storage) -> AdmissionCheck:
        accept = self.acquaintances(replica.known, storage, lambda: replica.format)

        def watched(identity: Identity) -> str | None:
            refusal = accept(identity)
            if refusal is None:
                self.ledger.met(self.name, identity.name, replica.known(identity.name))
            return refusal

        return watched

    def _run_in_thread(self, what: Callable[[], object]) -> Deferred[Any]:
        """
        Its effect comes at some time, that it is done is known later.
        """
        result: Deferred[Any] = Deferred()
        rng = self.world.rng
        delay = rng.uniform(0, self.slow_disk) if rng.random() < 0.98 else rng.uniform(0, 0.3)
        time = self.time

        def act() -> None:
            try:
                outcome: object = what()
            except Crashed:
                self.kill()
                return
            except OSError:
                outcome = Failure()
            self.world.schedule(delay / 2, time, lambda: result.callback(outcome))

        self.world.schedule(delay / 2, time, act)
        return result

    def kill(self, *, power: bool = False) -> None:
        """
        End the process at once; with the power, what was not synced is lost.
        """
        if self.time.ended:
            return
        self.world.note(f"{self.name} is killed{' by a loss of power' if power else ''}")
        self.time.ended = True
        self.replica = None
        self.files = self.files.crash(self.world.rng, power=power)
        self.network.crashed(self.name)

    def wipe(self) -> None:
        """
        Lose all files, while it does not run.
        """
        self.ledger.wiped(self.name)
        self.files = FakeFiles()

    def crash_soon(self) -> None:
        """
        Let one of the next operations on the disk be the process's last.
        """
        self.files.crash_at = self.files.operations + self.world.rng.randint(0, 6)

    @property
    def leads(self) -> bool:
        return self.replica is not None and self.replica.is_leader

    @property
    def halted(self) -> str | None:
        return None if self.replica is None else self.replica._engine.halted

    @property
    def pool(self) -> Pool:
        assert self.replica is not None
        return self.view.pool

    def propose(self, command: Any, request_id: str) -> Deferred[Outcome]:
        assert self.replica is not None
        return Deferred.fromCoroutine(
            self.replica.propose(command, timeout=self.patience, request_id=request_id)
        )

    def barrier(self) -> Deferred[None]:
        assert self.replica is not None
        return Deferred.fromCoroutine(self.replica.barrier(timeout=3.0))

    def describe(self) -> str:
        if self.replica is None:
            return f"{self.name}: down"
        engine = self.replica._engine
        log = self.replica._storage
        return (
            f"{self.name}: version {self.version} role {engine.role} term {engine.term} log {log[0][1]}-{log[-1][1]} "
            f"commit {engine.commit_index} applied {engine.applied_index} "
            f"pool {self.view.pool.index} leader {engine.leader} "
            f"members {[each.name for each in engine.configuration]} "
            f"connected {sorted(each.id for each in engine.raft.connected)} "
            f"halted {engine.halted} suspended {self.replica._steps.suspension}"
        )


class _Journal(MemoryJournal):  # type: ignore[misc] # it is not annotated
    """
    A perfect disk: it keeps all, at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._commit = 1

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        self._commit = raftCommitIndex

    def getRaftCommitIndex(self) -> int:
        return self._commit


class _Stock(SyncObj):  # type: ignore[misc] # it is not annotated
    """
    PySyncObj, with one replicated method.
    """

    def __init__(self, node: StockNode, others: list[str], conf: SyncObjConf) -> None:
        self._node = node
        super().__init__(
            peer(node.name), [peer(each) for each in others], conf, transport=node.transport
        )
        self.pool = Pool()

    @replicated  # type: ignore[untyped-decorator]
    def change(self, request_id: str, command: bytes) -> None:
        from alacrity.pool import apply

        decoded = msgspec.msgpack.decode(command, type=Command)
        self.pool, _ = apply(self.pool, decoded)
        self._node.ledger.applied(self._node.name, self.pool.index, request_id, digest(self.pool))


class StockNode:
    """
    A node without any guard. It is never killed, so that its losses are the engine's.
    """

    halted = None
    slow_disk = 0.0
    knows_requests = False

    def __init__(
        self,
        world: World,
        network: Network,
        ledger: RaftLedger,
        name: str,
        founders: tuple[str, ...],
        settings: ReplicaSettings,
        engine: object = None,
        storage: object = None,
    ) -> None:
        self.world = world
        self.network = network
        self.ledger = ledger
        self.name = name
        self.founders = founders
        self.settings = settings
        self.time = Time(world)
        self.time.ended = True
        # It loops until time has passed.
        world.drift = 2e-4

    @property
    def running(self) -> bool:
        return not self.time.ended

    def start(self) -> None:
        settings = self.settings
        self.time = Time(self.world)
        self.transport = SimulatedTransport(self.network, self.name, peer)
        self.network.add(self)
        for name in self.founders:
            if name != self.name:
                self.transport.addNode(peer(name))
        low, high = settings.timing.election
        conf = SyncObjConf(
            autoTick=False,
            raftMinTimeout=low,
            raftMaxTimeout=high,
            appendEntriesPeriod=settings.timing.heartbeat,
            leaderFallbackTimeout=settings.timing.fallback,
            logCompactionMinEntries=max(2, settings.limits.log),
            logCompactionMinTime=10**9,
            logCompactionBatchSize=settings.limits.slice,
            appendEntriesBatchSizeBytes=settings.limits.batch,
            commandsWaitLeader=False,
            useFork=False,
            dynamicMembershipChange=True,
            pollerType="select",
        )
        self.engine = _Stock(self, [each for each in self.founders if each != self.name], conf)
        self.transport.start()
        self._tick()

    def _tick(self) -> None:
        self.engine.doTick(0)
        if self.engine._isLeader():
            self.ledger.leads(self.name, self.engine.raftCurrentTerm)
        self.time.callLater(self.settings.tick, self._tick)

    def kill(self, *, power: bool = False) -> None:
        raise NotImplementedError

    @property
    def leads(self) -> bool:
        return bool(self.engine._isLeader())

    @property
    def pool(self) -> Pool:
        pool: Pool = self.engine.pool
        return pool

    def propose(self, command: Command, request_id: str) -> Deferred[None]:
        result: Deferred[None] = Deferred()

        def over(_: object, error: int) -> None:
            if result.called:
                return
            if error == FAIL_REASON.SUCCESS:
                result.callback(None)
            elif error in {
                FAIL_REASON.QUEUE_FULL,
                FAIL_REASON.MISSING_LEADER,
                FAIL_REASON.REQUEST_DENIED,
            }:
                result.errback(ProposalRefused(str(error)))
            else:
                result.errback(OutcomeUnknown(str(error)))

        self.engine.change(request_id, msgspec.msgpack.encode(command), callback=over)
        self.time.callLater(3.0, over, None, FAIL_REASON.UNKNOWN_OUTCOME)
        return result

    def barrier(self) -> Deferred[None]:
        return fail(ProposalRefused("it has none"))

    def describe(self) -> str:
        status = self.engine.getStatus()
        return (
            f"{self.name}: state {status['state']} term {status['raft_term']} commit "
            f"{status['commit_idx']} applied {status['last_applied']} pool {self.pool.index}"
        )
