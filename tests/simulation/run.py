"""
One run of a scenario: trouble, then peace, then the reckoning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.cluster.log.storage import Storage
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import RaftLimits, RaftTiming
from alacrity.cluster.replica_settings import ReplicaSettings
from tests.simulation.aims import Aims
from tests.simulation.clients import Client
from tests.simulation.clock import use
from tests.simulation.drains import DrainCallers
from tests.simulation.drill import Drill
from tests.simulation.leases import LeasedServers
from tests.simulation.losing import LostDirectories
from tests.simulation.network import Network
from tests.simulation.nodes import Node, address_of
from tests.simulation.operators import Operators
from tests.simulation.pool_ledger import PoolLedger
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.replacement import Replacement
from tests.simulation.scenarios import SCENARIOS, Scenario
from tests.simulation.sight import Sight
from tests.simulation.sockets import SocketNode, Sockets
from tests.simulation.upgrades import Upgrade
from tests.simulation.world import World

_MOST_EVENTS: Final = 400_000
"""Several times what happens in the busiest run."""


class Outcome(msgspec.Struct):
    """
    The outcome of a run.
    """

    seed: int
    scenario: str
    violations: list[str]
    trace: list[str]
    acknowledged: int
    applied: int
    virtual: float


class Run:
    """
    One run of a scenario.
    """

    def __init__(
        self,
        seed: int,
        scenario: Scenario,
        engine: type[Engine] = Engine,
        storage: type[Storage] = Storage,
        node: Any = Node,
        *,
        verbose: bool = False,
    ) -> None:
        self.scenario = scenario
        self.world = world = World(seed, verbose=verbose)
        use(world)
        self.network: Any = Sockets(world) if scenario.sockets else Network(world)
        if scenario.sockets and node is Node:
            node = SocketNode
        self.network.slow = scenario.slow
        self.network.disorder = scenario.disorder
        self.network.late = scenario.late
        self.ledger = RaftLedger(world)
        self.network.on_send = self._sent
        settings = ReplicaSettings(
            timing=RaftTiming(resend=0.5, catch_up=5.0),
            limits=RaftLimits(
                log=scenario.log,
                batch=scenario.batch,
                slice=scenario.slice,
                ahead=scenario.ahead,
                applied=16,
                backlog=scenario.backlog,
            ),
            proposals=scenario.proposals,
        )
        names = [f"n{number + 1}" for number in range(scenario.nodes + scenario.spare)]
        founders = tuple(names[: scenario.nodes])
        self.nodes = {
            name: node(
                world,
                self.network,
                self.ledger,
                name,
                founders if name in founders else (),
                settings,
                engine,
                storage,
            )
            for name in names
        }
        self._changing = 0
        self._removed: set[str] = set(names) - set(founders)
        # Who was asked for since it was removed: it may have been taken in.
        self._asked: set[str] = set()
        self._adding: Counter[str] = Counter()
        self._added: Counter[str] = Counter()
        self._aims = Aims(
            world,
            self.network,
            self.nodes,
            self._restart_later,
            self.ledger.acknowledged,
            forging=scenario.forging,
            replays=scenario.repeats > 0,
        )
        self._replacement = Replacement(world, self.network, self.nodes, self._change)
        self._directories = LostDirectories(world, self.nodes, self.ledger.wiped, self.ledger.found)
        self._upgrades = None
        if "upgrade" in scenario.faults:
            self._upgrades = Upgrade(
                world, self.ledger, self.nodes, scenario.versions, asks=scenario.newer > 0
            )
        self._operators = None
        if scenario.administration:
            self._operators = Operators(world, self.ledger, self._running)
            self.ledger.pools = PoolLedger(self.ledger.violate)
        self._leased = None
        if scenario.leases:
            self._leased = LeasedServers(world, self.ledger, self._running, scenario.leases)
            self.ledger.leases = self._leased.ledger
        if scenario.drains:
            self.ledger.drains = DrainCallers(world, self.ledger, self._running)
        if scenario.sight:
            self.ledger.sight = Sight(world, self.ledger, self._running, founders, scenario.sight)
        for name in founders:
            self.nodes[name].start()
        self.clients = [
            Client(
                world,
                self.ledger,
                f"c{number + 1}",
                self._running,
                scenario.pause,
                scenario.barriers,
                scenario.newer,
                scenario.versions[1],
                scenario.repeats,
                self._operators,
                scenario.administration,
            )
            for number in range(scenario.clients)
        ]
        self._in_trouble = True
        self._plan()

    def _sent(self, name: str, to: str, message: dict[str, Any]) -> None:
        self.ledger.sent(name, to, message)
        self._aims.sent(name, to, message)

    # Faults

    def _running(self) -> list[Any]:
        return [
            node for name, node in self.nodes.items() if node.running and name not in self._removed
        ]

    def _plan(self) -> None:
        world = self.world
        world.schedule(world.rng.uniform(*self.scenario.pace), world.outside, self._fault)

    def _fault(self) -> None:
        if not self._in_trouble:
            return
        faults = self.scenario.faults
        (name,) = self.world.rng.choices(list(faults), list(faults.values()))
        fault = getattr(self._aims, name, None) or getattr(self, f"_{name}")
        fault()
        self._plan()

    def _any(self) -> Any | None:
        running = self._running()
        return self.world.rng.choice(running) if running else None

    def _leader(self) -> Any | None:
        leaders = [node for node in self._running() if node.leads]
        return self.world.rng.choice(leaders) if leaders else None

    def _cut(self, cuts: set[tuple[str, str]]) -> None:
        self.world.note(f"cut {sorted(cuts)}")
        self.network.cut(cuts)

    def _partition(self) -> None:
        rng = self.world.rng
        sides = {name: rng.random() < 0.5 for name in self.nodes}
        self._cut({(a, b) for a in sides for b in sides if sides[a] != sides[b]})

    def _isolate_leader(self) -> None:
        leader = self._leader()
        if leader is not None:
            rng = self.world.rng
            others = [name for name in self.nodes if name != leader.name]
            if rng.random() < 0.5:
                # With company, for a while.
                others = others[: max(1, len(others) - 1)]
            inbound = {(name, leader.name) for name in others}
            outbound = {(leader.name, name) for name in others}
            self._cut(rng.choice([inbound, outbound, inbound | outbound, inbound | outbound]))

    def _one_way(self) -> None:
        rng = self.world.rng
        pairs = [(a, b) for a in self.nodes for b in self.nodes if a != b]
        self._cut(set(rng.sample(pairs, rng.randint(1, 2))))

    def _heal(self) -> None:
        self._cut(set())

    def _lose_connection(self) -> None:
        self.network.lose_connection()

    def _flip_bit(self) -> None:
        self.network.flip_bit()

    def _pause(self) -> None:
        world = self.world
        node = (self._leader() if world.rng.random() < 0.5 else None) or self._any()
        if node is not None:
            self._rest(node, world.rng.uniform(0.1, 3.0))

    def _doze(self) -> None:
        """
        Pause a leader for longer than it takes to elect another one, and to grant leases anew.
        """
        leader = self._leader()
        if leader is not None:
            self._rest(leader, self.world.rng.uniform(2.0, 7.0))

    def _rest(self, node: Any, seconds: float) -> None:
        time = node.time
        time.pause()
        self.world.note(f"{node.name} is paused")
        self.world.schedule(seconds, self.world.outside, lambda: self._resume(node, time))

    def _resume(self, node: Any, time: Any) -> None:
        if time.paused and not time.ended:
            self.world.note(f"{node.name} goes on")
            time.resume()

    def _hand_over(self) -> None:
        node = self._any()
        if isinstance(node, Node) and node.replica is not None and not node.time.paused:
            self.world.note(f"{node.name} asks to hand over")
            try:
                node.replica.hand_over()
            except ProposalRefused:
                pass
        elif node is not None and not isinstance(node, Node):
            node.engine.transferLeadership()

    def _restart_later(self, node: Any) -> None:
        world = self.world
        world.schedule(world.rng.uniform(0.05, 2.0), world.outside, lambda: self._restart(node))

    def _restart(self, node: Any) -> None:
        if not node.running and node.name not in self._removed:
            node.start()
            if not node.running:
                self._restart_later(node)

    def _kill(self, *, power: bool = False) -> None:
        rng = self.world.rng
        node = (self._leader() if rng.random() < 0.4 else None) or self._any()
        if node is not None:
            node.kill(power=power)
            self._restart_later(node)

    def _power(self) -> None:
        self._kill(power=True)

    def _crash_soon(self) -> None:
        node = self._any()
        if node is not None:
            node.crash_soon()
            self._watch(node)

    def _watch(self, node: Any) -> None:
        world = self.world

        def look() -> None:
            if not node.running:
                self._restart_later(node)
            elif self._in_trouble:
                world.schedule(0.1, world.outside, look)

        world.schedule(0.1, world.outside, look)

    def _all_killed(self) -> None:
        power = self.world.rng.random() < 0.5
        for node in self._running():
            node.kill(power=power)
            self._restart_later(node)

    def _slow_disk(self) -> None:
        node = self._any()
        if node is not None:
            node.slow_disk = self.world.rng.choice([0.0, 0.003, 0.03, 0.3])

    def _disk_full(self) -> None:
        node = self._any()
        if node is not None:
            files, world = node.files, self.world
            world.note(f"the disk of {node.name} is full")
            files.capacity = files._used() + world.rng.randint(0, 200)
            world.schedule(
                world.rng.uniform(0.1, 2.0),
                world.outside,
                lambda: setattr(files, "capacity", None),
            )

    def _write_fails(self) -> None:
        node = self._any()
        if node is not None:
            self.world.note(f"a write of {node.name} fails")
            node.files.fail_at = {node.files.operations + self.world.rng.randint(0, 5)}

    def _upgrade(self) -> None:
        if self._upgrades is not None:
            self._upgrades.step()

    def _set_clock(self) -> None:
        if self._operators is not None:
            self._operators.set_clock()

    def _die(self) -> None:
        if self._operators is not None:
            self._operators.die()

    def _lose_server(self) -> None:
        if self._leased is not None:
            self._leased.die()

    def _change_sight(self) -> None:
        if self.ledger.sight is not None:
            self.ledger.sight.change()

    # Members

    def _move(self) -> None:
        """
        Have a node start again at another address.
        """
        node = self._any()
        if node is not None:
            node.kill()
            node.port += 1
            self.world.note(f"{node.name} moves to {node.address}")
            self._restart_later(node)

    def _lose_directories(self) -> None:
        self._directories.lose()

    def _lose_files(self) -> None:
        self._replacement.lose()

    def _change(
        self,
        what: str,
        name: str,
        deferred: Deferred[None],
        then: Callable[[], None],
        otherwise: Callable[[], None] = lambda: None,
    ) -> None:
        self._changing += 1
        world = self.world
        answered = False

        def over(result: Any) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            self._changing -= 1
            if isinstance(result, Failure):
                world.note(f"{what} {name}: {result.getErrorMessage()}")
                if result.check(ProposalRefused, OutcomeUnknown) is None:
                    self.ledger.violate(result.getTraceback())
                otherwise()
            else:
                world.note(f"{what} {name}: done")
                then()

        deferred.addBoth(over)
        world.schedule(12.0, world.outside, lambda: over(Failure(OutcomeUnknown("no answer"))))

    def _through(self) -> Any | None:
        node = self._any()
        if self._changing > 2 or node is None or node.replica is None or node.time.paused:
            return None
        return node

    def _add(self) -> None:
        through = self._through()
        if through is None or not self._removed:
            return
        name = self.world.rng.choice(sorted(self._removed))
        node = self.nodes[name]
        if not node.running:
            node.founders = ()
            if name not in self._asked:
                # It may be a member else, whose files nobody may take.
                node.wipe()
            node.start()
        self._asked.add(name)
        self._adding[name] += 1
        self.world.note(f"add {name} through {through.name}")

        def not_added() -> None:
            self._adding[name] -= 1

        def added() -> None:
            self._adding[name] -= 1
            self._added[name] += 1
            self._removed.discard(name)

        self._change(
            "add",
            name,
            Deferred.fromCoroutine(through.replica.add_member(address_of(name), timeout=8.0)),
            added,
            not_added,
        )

    def _lone_change(self) -> None:
        """
        Have a leader change the members when nobody hears it any more.
        """
        leader = self._leader()
        left = sorted(set(self.nodes) - self._removed)
        if leader is None or leader.replica is None or len(left) < 3 or self._changing > 2:
            return
        name = self.world.rng.choice([each for each in left if each != leader.name])
        others = [each for each in self.nodes if each != leader.name]
        self._cut({pair for each in others for pair in ((leader.name, each), (each, leader.name))})
        self.world.note(f"remove {name} through {leader.name}, which is alone")
        removal = Deferred.fromCoroutine(leader.replica.remove_member(name, timeout=8.0))
        self._change("remove", name, removal, self._once_removed(name))

    def _lose_learner(self) -> None:
        """
        Have a node that is about to be taken in lose its files, and come back once all know
        that it was gone; unless it is a member by then.
        """
        world = self.world
        for name in sorted(set(+self._adding) - self._ever_members()):
            node = self.nodes[name]
            if node.running:
                world.note(f"{name} is killed, while it is taken in")
                node.kill()
                world.schedule(
                    world.rng.uniform(3.2, 4.0), world.outside, partial(self._come_back, node)
                )

    def _come_back(self, node: Any) -> None:
        if node.running:
            return
        if node.name not in self._ever_members():
            self.world.note(f"{node.name} has lost its files")
            node.wipe()
        node.start()

    def _ever_members(self) -> set[str]:
        """
        The members by the disk or the memory of any node.
        """
        names = {
            name for disk in self.ledger.disks.values() for name in disk.members_at(disk.last_index)
        }
        for node in self.nodes.values():
            if node.replica is not None:
                names.update(each.name for each in node.replica._engine.configuration)
        return names

    def _remove(self) -> None:
        through = (self._leader() if self.world.rng.random() < 0.5 else None) or self._through()
        left = sorted(set(self.nodes) - self._removed)
        if through is None or len(left) < 2 or through.replica is None:
            return
        name = self.world.rng.choice(left)
        self.world.note(f"remove {name} through {through.name}")
        removal = Deferred.fromCoroutine(through.replica.remove_member(name, timeout=8.0))
        self._change("remove", name, removal, self._once_removed(name))

    def _once_removed(self, name: str) -> Callable[[], None]:
        """
        The consequence of a removal that is asked for now.
        """
        return partial(self._gone, name, self._added[name])

    def _gone(self, name: str, added: int) -> None:
        if self._added[name] != added:
            # It was, and has been taken in again before anybody heard of it.
            return
        self._removed.add(name)
        if not self._adding[name]:
            self._asked.discard(name)
        world = self.world
        # It goes on for a while, as if nobody had told it.
        world.schedule(
            world.rng.uniform(0.0, 6.0),
            world.outside,
            lambda: self.nodes[name].kill() if name in self._removed else None,
        )

    # The run

    def _configuration(self) -> list[str]:
        """
        The members, as whoever knows best has it.
        """
        best: tuple[int, int] | None = None
        names: list[str] = sorted(self.nodes)
        for node in self.nodes.values():
            if isinstance(node, Node) and node.replica is not None:
                engine = node.replica._engine
                log = node.replica._storage
                if engine.configuration and (best is None or (log[-1][2], log[-1][1]) > best):
                    best = (log[-1][2], log[-1][1])
                    names = [each.name for each in engine.configuration]
        return names

    def _settled(self) -> bool:
        """
        Whether all members are equal, and somebody leads.
        """
        members = [self.nodes[name] for name in self._configuration()]
        if not all(node.running for node in members):
            return False
        return (
            any(node.leads for node in members)
            and len({node.pool.index for node in members}) == 1
            and all(client.idle for client in self.clients)
            and not self._replacement.under_way
            and not self._directories.under_way
            and self._addresses_are_known(members)
        )

    def _addresses_are_known(self, members: list[Any]) -> bool:
        """
        Whether all members have committed where each is, if they move at all.
        """
        if "move" not in self.scenario.faults:
            return True
        wanted = {node.name: node.address for node in members}
        return all(
            {each.name: each.address for each in node.replica._engine.settled_configuration}
            == wanted
            for node in members
            if node.replica is not None
        )

    def _over(self) -> bool:
        return bool(self.ledger.violations) or self.world.events > _MOST_EVENTS

    def _too_much(self) -> None:
        events = self.world.events
        if events > _MOST_EVENTS:
            self.ledger.violate(f"{events} events: they send without end")

    def play(self) -> None:
        """
        Trouble, then peace, then the reckoning.
        """
        world, ledger = self.world, self.ledger
        broken = ledger.violations
        if world.run(world.now + self.scenario.trouble, self._over):
            self._too_much()
            return
        world.note("peace")
        self._in_trouble = False
        self._replacement.make_peace()
        self._directories.make_peace()
        self._aims.make_peace()
        if self._operators is not None:
            self._operators.make_peace()
        self.network.cut(set())
        for node in self.nodes.values():
            if isinstance(node, Node):
                node.files.capacity = None
                node.files.fail_at = set()
                node.files.crash_at = None
                node.slow_disk = 0.003
            if node.time.paused:
                node.time.resume()
            # One that was to be added or removed may be in or out.
            if not node.running and (node.name not in self._removed or self._changing):
                node.start()
        start = world.now
        world.run(start + 3.0, self._over)
        for name in self._configuration():
            if not self.nodes[name].running:
                self.nodes[name].start()
        world.run(start + 12.0, self._over)
        if self._upgrades is not None:
            self._upgrades.finish(self._over)
        for client in self.clients:
            client.stopped = True
        if self._operators is not None:
            self._operators.finish(self._over)
        if self._leased is not None:
            self._leased.finish(self._over)
        if ledger.sight is not None:
            ledger.sight.finish(self._over)
        if ledger.drains is not None:
            ledger.drains.stopped = True
        settled = world.run(world.now + 18.0, lambda: self._over() or self._settled())
        self._too_much()
        if broken:
            return
        if not settled:
            ledger.violate("not all have caught up, or nobody leads, 30 s after the last fault")
            return
        if self.scenario.drill:
            strict = self.scenario.slow < 0.1
            drill = Drill(world, ledger, self.nodes, self._configuration, strict=strict)
            drill.take_place(self._over)
            world.run(world.now + 10.0, lambda: self._over() or self._settled())
        if broken:
            return
        self._reckon(start)

    def _reckon(self, start: float) -> None:
        ledger = self.ledger
        members = [self.nodes[name] for name in self._configuration()]
        pools = {msgspec.msgpack.encode(node.pool) for node in members}
        ledger.expect(len(pools) == 1, lambda: "the pools differ")
        index = members[0].pool.index
        for request_id in ledger.acknowledged:
            at = ledger.applied_at.get(request_id)
            if at is None or at > index:
                ledger.violate(f"lost: {request_id} was acknowledged")
        ledger.expect(max(ledger.history, default=0) <= index, lambda: "the history is longer")
        for node in self.nodes.values():
            if node.halted is not None:
                ledger.violate(f"{node.name} halted: {node.halted}")
        for node in members:
            ledger.bounded(node)
        ledger.expect(
            any(int(each.split("-")[1]) for each in ledger.acknowledged),
            lambda: "nothing was acknowledged",
        )


def play(
    seed: int,
    name: str,
    engine: type[Engine] = Engine,
    storage: type[Storage] = Storage,
    node: Any = Node,
    *,
    verbose: bool = False,
) -> Outcome:
    """
    Run a scenario.
    """
    run = Run(seed, SCENARIOS[name], engine, storage, node, verbose=verbose)
    run.play()
    if run.ledger.violations:
        for each in run.nodes.values():
            run.world.note(each.describe())
    ledger = run.ledger
    return Outcome(
        seed,
        name,
        ledger.violations,
        run.world.trace,
        len(ledger.acknowledged),
        len(ledger.applied_at),
        run.world.now - 100.0,
    )
