"""
Servers that each node reaches or does not, and the checks of the leader with their witnesses: those
that are shipped.

In peace each seed gives the nodes another sight, which then stays as it is. What must follow of
it is worked out here anew, from what each node reaches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.health import Checks, Doubts, Monitor, ProposalBatcher, Verdict, Witness
from alacrity.node.leader_checks import LeaderChecks
from alacrity.node.witnesses import NodeWitnesses
from alacrity.pool import Check, Register, Server, State, TcpCheck, server_id
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.ledger import Ledger
    from tests.simulation.nodes import Node

INVARIANTS: Final = {
    "reached is up": "while a majority of the nodes reach a server, it is up on all nodes",
    "unreached is down": "a server that no node reaches goes down in bounded time",
    "disputes end": "a server that the leader reaches is in dispute no more",
    "leader sees": "leadership goes to a node that reaches a majority more of the servers that the "
    "leader does not reach",
    "leadership rests": "while what nodes reach stays as it is, leadership by sight moves once in "
    "a while, and never back",
}

_IP: Final = "10.0.0.5"
_HOLD: Final = 12.0
"""Seconds between two hand-overs by sight. Fewer than a real node has, as few are simulated."""

_STALE: Final = 4.0
"""Seconds after which all nodes have checked, and were asked, anew."""

_BOUND: Final = 40.0
"""Seconds in which states follow from what nodes reach: a failure is counted, others are asked,
and servers that are down are asked about."""


class _Health(msgspec.Struct, frozen=True):
    interval: float = 1.0
    fast_interval: float = 0.3
    jitter: float = 0.1
    timeout: float = 0.5
    rise: int = 2
    fall: int = 2
    deregister_after: float = 0.0
    lease_deregister_after: float = 0.0
    guard_share: float = 0.3
    guard_window: float = 2.0


class NodeChecks:
    """
    The checks of a node, as a node is composed, and its answers to the leader's questions.
    """

    def __init__(self, node: Node) -> None:
        replica, view = node.replica, node.view
        assert replica is not None
        self._node = node
        world, clock = node.world, node.time
        rng = Random(world.rng.getrandbits(64))
        batcher = ProposalBatcher(replica.propose_as_leader, lambda: replica.format >= 2, clock)
        checks = Checks(tcp=self._check, http=self._check)
        witnesses = NodeWitnesses(
            replica, node.name, Witness(view, checks, 8), are_asked=True, clock=clock
        )
        move = witnesses.hand_over

        def hand_over(name: str) -> None:
            sight = node.ledger.sight
            assert sight is not None
            sight.moves(node.name, name)
            move(name)

        witnesses.hand_over = hand_over  # type: ignore[method-assign]
        monitor = Monitor(
            view,
            batcher.propose,
            _Health(),
            checks,
            clock=clock,
            wall=lambda: world.now,
            rng=rng,
            in_flight=8,
            has_format_2=lambda: replica.format >= 2,
            doubts=Doubts(witnesses, clock=clock, rng=rng, least_between=_HOLD),
        )
        duty = LeaderChecks(monitor, lambda: replica.is_leader, lambda: len(view.pool.servers))
        replica.on_leadership_change(lambda _: duty.update())

    def _check(self, server: Server, check: Check, timeout: float) -> Deferred[Verdict]:
        node = self._node
        sight = node.ledger.sight
        assert sight is not None
        result: Deferred[Verdict] = Deferred(lambda _: late.cancel())
        passed = sight.reaches(node.name, server.port)
        if passed or node.world.rng.random() < 0.3:
            delay = node.world.rng.uniform(0.001, 0.05)
        else:
            delay = timeout
        verdict = Verdict(passed=passed, reason="connected" if passed else "no answer")
        late = node.time.callLater(delay, result.callback, verdict)
        return result


class Sight:
    """
    What each node reaches, and what must follow.
    """

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        nodes: Callable[[], list[Any]],
        names: tuple[str, ...],
        count: int,
    ) -> None:
        """
        @param nodes: those that run.
        @param names: of all nodes.
        @param count: the number of servers.
        """
        self._world = world
        self._ledger = ledger
        self._nodes = nodes
        self._names = names
        self._ports = list(range(1, count + 1))
        self._dead: set[int] = set()
        self._cut: dict[str, set[int]] = {name: set() for name in names}
        self._registrations = 0
        self._is_constant = self._is_peace = False
        # When leadership was handed over for sight, in peace.
        self._moves: list[tuple[float, str, str]] = []
        self.counts: Counter[str] = Counter()
        for port in self._ports:
            self._register_later(port, 0.5)

    def reaches(self, name: str, port: int) -> bool:
        """
        Whether a node reaches a server.
        """
        return port not in self._dead and port not in self._cut[name]

    # Registrations

    def _register_later(self, port: int, seconds: float) -> None:
        world = self._world
        world.schedule(world.rng.uniform(0.0, seconds), world.outside, lambda: self._register(port))

    def _register(self, port: int) -> None:
        nodes = [each for each in self._nodes() if not each.time.paused]
        if not nodes:
            self._register_later(port, 1.0)
            return
        self._registrations += 1
        request_id = f"sight-{self._registrations}"
        register = Register(_IP, port, TcpCheck(), 1, self._world.now)
        over = False

        def answered(result: Any) -> None:
            nonlocal over
            if over:
                return
            over = True
            if not isinstance(result, Failure):
                if result is not None:
                    self._ledger.acknowledge(request_id)
                    return
            elif result.check(ProposalRefused):
                self._ledger.refuse(request_id)
            elif result.check(OutcomeUnknown) is None:
                self._ledger.violate(f"{request_id}: {result.getTraceback()}")
            self._register_later(port, 1.0)

        self._world.schedule(8.0, self._world.outside, lambda: answered(None))
        self._world.rng.choice(nodes).propose(register, request_id).addBoth(answered)

    # Faults

    def change(self) -> None:
        """
        Have a node reach other servers than before, or a server die or come back.
        """
        rng = self._world.rng
        if rng.random() < 0.2:
            self._dead ^= {rng.choice(self._ports)}
        else:
            leaders = [each.name for each in self._nodes() if each.leads]
            name = rng.choice(leaders if leaders and rng.random() < 0.6 else list(self._names))
            share = rng.choice([0.0, 0.0, 0.5, 1.0])
            self._cut[name] = set(rng.sample(self._ports, round(share * len(self._ports))))
        self._note()

    def _note(self) -> None:
        reached = {
            name: "".join(str(port) for port in self._ports if self.reaches(name, port))
            for name in self._names
        }
        self._world.note(f"nodes reach {reached}")

    def moves(self, name: str, to: str) -> None:
        """
        A leader hands over since another member reaches more.
        """
        now = self._world.now
        self._world.note(f"{name} hands over to {to} by sight")
        self.counts["moves"] += 1
        if not self._is_peace:
            return
        if self._moves and now - self._moves[-1][0] < _HOLD:
            self._broken("leadership rests", f"{name} hands over to {to} too soon: {self._moves}")
        if self._is_constant and any(former == to for _, former, _ in self._moves):
            self._broken("leadership rests", f"{name} hands over back to {to}: {self._moves}")
        self._moves.append((now, name, to))

    def _broken(self, invariant: str, text: str) -> None:
        self._ledger.violate(f"{invariant}: {text}")

    # In peace

    def finish(self, over: Callable[[], bool]) -> None:
        """
        Choose what each node reaches, and see what follows; then the same with all nodes seeing
        all servers that live.
        """
        rng = self._world.rng
        if rng.random() < 0.4:
            # They come back when the leader, it may be, does not see it.
            self._world.note("in peace: all servers are dead for a while")
            self._dead = set(self._ports)
            self._world.run(self._world.now + 10.0, over)
        self._dead = {port for port in self._ports if rng.random() < 0.15}
        leader = next((each.name for each in self._nodes() if each.leads), self._names[0])
        kind = rng.choice(["blind", "blind", "halves", "halves", "random"])
        self._world.note(f"in peace: {kind}, {leader} leads")
        for at, name in enumerate(self._names):
            match kind:
                case "blind":
                    self._cut[name] = set(self._ports) if name == leader else set()
                case "halves":
                    # Two nodes that see another half each; others see nothing, a third is dead.
                    half = {port for port in self._ports if port % 2 == at % 2}
                    self._cut[name] = half if at < 2 else set(self._ports)
                case _:
                    share = rng.choice([0.4, 1.0] if name == leader else [0.0, 0.0, 0.4, 1.0])
                    self._cut[name] = {port for port in self._ports if rng.random() < share}
        self._note()
        away = [
            each
            for each in self._nodes()
            if kind == "halves" and len(self._names) == 3 and each.name == self._names[2]
        ]
        for each in away:
            each.kill()
        # A decision that is under way, or follows from earlier checks, is of what was before.
        self._world.run(self._world.now + _STALE, over)
        self._is_constant = self._is_peace = True
        # A hand-over before may have been a moment ago.
        self._observe(over, _HOLD + _BOUND)
        self._observe(over, 2 * _HOLD, is_quiet=kind == "halves")
        self._is_constant = False
        if kind == "blind":
            self._blind_each_leader(over)
        self._is_peace = False
        self._moves.clear()
        for each in away:
            each.start()
        for cut in self._cut.values():
            cut.clear()
        self._note()
        self._observe(over, _BOUND)

    def _blind_each_leader(self, over: Callable[[], bool]) -> None:
        """
        Have two leaders lose sight as soon as they lead.
        """
        world = self._world
        for _ in range(2):
            leaders = [each.name for each in self._nodes() if each.leads]
            if over() or not leaders:
                return
            for name in self._names:
                self._cut[name] = set(self._ports) if name == leaders[0] else set()
            self._note()
            world.run(world.now + _HOLD + _BOUND, partial(self._is_done, over, leaders[0]))

    def _is_done(self, over: Callable[[], bool], former: str) -> bool:
        """
        Whether another node leads than a former leader.
        """
        return over() or any(each.leads and each.name != former for each in self._nodes())

    def _observe(self, over: Callable[[], bool], seconds: float, *, is_quiet: bool = False) -> None:
        """
        Let time pass, and compare.

        @param is_quiet: whether leadership may not move meanwhile.
        """
        if over():
            return
        world, moves = self._world, len(self._moves)
        world.run(world.now + seconds, over)
        if over():
            return
        if is_quiet and len(self._moves) > moves:
            self._broken("leadership rests", f"it goes on moving: {self._moves}")
        leaders = [each for each in self._nodes() if each.leads]
        if len(leaders) != 1:
            self._broken("leader sees", f"{len(leaders)} nodes lead in peace")
            return
        for node in self._nodes():
            self._compare(node, leaders[0].name)
        self._compare_leader(leaders[0])

    def _compare(self, node: Any, leader: str) -> None:
        for port in self._ports:
            server = node.pool.servers.get(server_id(_IP, port))
            if server is None:
                self._broken("reached is up", f"{port} is not registered on {node.name}")
                continue
            reached = [name for name in self._names if self.reaches(name, port)]
            said = (
                f"{port} is {server.state}, disputed {server.condition.disputed}, on "
                f"{node.name}; {leader} leads; reached by {reached}"
            )
            if 2 * len(reached) > len(self._names) and server.state is not State.UP:
                self._broken("reached is up", said)
            if not reached and server.state is not State.DOWN:
                self._broken("unreached is down", said)
            if leader in reached and (server.condition.disputed or server.state is not State.UP):
                self._broken("disputes end", said)
            self.counts["disputed"] += server.condition.disputed

    def _compare_leader(self, node: Any) -> None:
        """
        The leader may miss servers only where no other node is better by a majority of those that
        it misses and that are up by the word of others.
        """
        up = {
            port
            for port in self._ports
            if node.pool.servers[server_id(_IP, port)].state is State.UP
        }
        here = {port for port in up if self.reaches(node.name, port)}
        missed = up - here
        for name in self._names:
            gain = sum(self.reaches(name, port) for port in missed)
            loss = sum(not self.reaches(name, port) for port in here)
            if missed and gain - loss > len(missed) / 2:
                self._broken(
                    "leader sees",
                    f"{node.name} leads, and misses {sorted(missed)}; {name} reaches {gain} of "
                    f"them, and misses {loss} others",
                )
                return
