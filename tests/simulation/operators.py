"""
Operators who decide about servers, servers with leases that live and die, and the commands that
a leader proposes about them by its own clock, which may be wrong.

Renewals are no commands, so they are not here: a server lives or is dead, and each leader knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.python.failure import Failure

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.pool import (
    Administer,
    AdminState,
    Command,
    Deregister,
    DrawStickyKey,
    ExpireLease,
    GuardLimits,
    HttpCheck,
    NoCheck,
    Register,
    Report,
    ReviveLease,
    Server,
    ServerOptions,
    SpendGuard,
    State,
    server_id,
)
from tests.simulation.ledger import Ledger
from tests.simulation.world import World

WINDOW: Final = 2.0
"""Seconds of a window of the guard. Short, since few seconds are simulated."""

_LIMITS: Final = GuardLimits(0.3, WINDOW)
_IP: Final = "10.0.0.1"
_PORTS: Final = range(1, 13)
_LOOK: Final = 0.25
_REMOVALS: Final = 0.1
_JUMPS: Final = (-1000.0, -10.0, -1.5, -0.3, 0.3, 1.5, 10.0, 1000.0)


class Operators:
    """
    What operators, servers and leaders do in a run with administration.
    """

    def __init__(self, world: World, ledger: Ledger, nodes: Callable[[], list[Any]]) -> None:
        """
        @param nodes: those that run.
        """
        self._world = world
        self._ledger = ledger
        self._nodes = nodes
        self._clocks: dict[str, float] = {}
        self._dead: set[str] = set()
        # Registrations that were down once.
        self._down: set[tuple[str, int]] = set()
        self._ports = list(_PORTS)
        # The process and term for which a leader has spent the window.
        self._spent: set[tuple[str, int, int]] = set()
        self._waiting: set[tuple[str, str]] = set()
        self._count = 0
        self._in_peace = False
        self.stopped = False
        world.schedule(_LOOK, world.outside, self._look)

    # Clients

    def command(self, number: int) -> Command:
        """
        A command as a caller of the API proposes it.
        """
        rng = self._world.rng
        port = rng.choice(self._ports)
        id = server_id(_IP, port)
        now = self._world.now
        kind = rng.random()
        if kind < 0.4:
            return self._decision(id, number, now)
        if kind < 0.85:
            self._dead.discard(id)
            options = ServerOptions(lease=3.0 + port)
            check = NoCheck() if port % 2 else HttpCheck(f"/{number}")
            return Register(_IP, port, check, 1, now, options)
        if kind < 0.9:
            if rng.random() < 0.5:
                return Deregister(id, now, "asked", version=rng.randint(0, 60))
            return Deregister(id, now, "asked")
        if kind < 0.95:
            return DrawStickyKey(number.to_bytes(8, "big"))
        state, answered = rng.choice([(State.STOPPING, False), (State.DOWN, True)])
        return Report(id, rng.randint(0, 60), state, "said", now, answered)

    def _decision(self, id: str, number: int, now: float) -> Administer:
        rng = self._world.rng
        unset = msgspec.UNSET
        reasons: list[str | msgspec.UnsetType] = [unset, f"decision {number}"]
        return Administer(
            id,
            now,
            state=rng.choice([unset, *AdminState]),
            weight=rng.choice([unset, None, 0, number % 257]),
            until=rng.choice([unset, None, now + rng.uniform(0.0, 4.0)]),
            reason=rng.choice(reasons),
            version=rng.choice([None, None, rng.randint(0, 60)]),
        )

    # Faults

    def set_clock(self) -> None:
        """
        Set the clock of a node, ahead or back.
        """
        nodes = self._nodes()
        if nodes:
            rng = self._world.rng
            name = rng.choice(nodes).name
            self._clocks[name] = self._clocks.get(name, 0.0) + rng.choice(_JUMPS)
            self._world.note(f"the clock of {name} is wrong by {self._clocks[name]:g} s")

    def die(self) -> None:
        """
        Have some servers die, so that they renew their leases no more, or come back.
        """
        rng = self._world.rng
        for port in rng.sample(self._ports, rng.randint(1, len(self._ports))):
            id = server_id(_IP, port)
            if rng.random() < 0.7:
                self._dead.add(id)
            else:
                self._dead.discard(id)

    def make_peace(self) -> None:
        """
        Have all clocks right.
        """
        self._clocks.clear()
        self._in_peace = True

    def finish(self, over: Callable[[], bool]) -> None:
        """
        Have all servers die. See that each lease expires, but the last eligible server's, and
        that no decision outlasts its end: the guard never stops.
        """
        world = self._world
        self._dead.update(server_id(_IP, port) for port in self._ports)
        # A new leader's window, one that a clock set back has spent, and one for each server.
        world.run(world.now + WINDOW * (len(self._ports) + 4.0), lambda: over() or not self._left())
        if not over():
            self._ledger.expect(
                not self._left(), lambda: f"guard goes on: these stay as they are: {self._left()}"
            )
        self.stopped = True

    def _left(self) -> list[str]:
        pools = [node.pool for node in self._nodes() if node.leads]
        if not pools:
            return ["all, as nobody leads"]
        servers = pools[0].servers.values()
        alive = sum(each.eligible for each in servers)
        left = [
            f"{each.id} (lease)"
            for each in servers
            if each.id in self._dead
            and each.options.lease is not None
            and not each.condition.lease_expired
            and (not each.eligible or alive > 1)
        ]
        now = self._world.now
        for each in servers:
            until = each.administration.until
            if until is not None and until < now - 1.0:
                left.append(f"{each.id} (until)")
        return left

    # Leaders

    def _look(self) -> None:
        if self.stopped:
            return
        world = self._world
        for node in self._nodes():
            if node.leads and not node.time.paused and node.version >= 2:
                self._lead(node)
        world.schedule(_LOOK, world.outside, self._look)

    def _lead(self, node: Any) -> None:
        now = self._world.now + self._clocks.get(node.name, 0.0)
        leadership = node.name, id(node.time), node.replica._engine.term
        for server in node.pool.servers.values():
            administration, condition = server.administration, server.condition
            is_dead = server.id in self._dead
            command: Command | None = None
            if administration.until is not None and administration.until <= now:
                command = Administer(server.id, now, AdminState.READY, version=server.version)
            elif server.options.lease is None and server.state is State.UP:
                continue
            elif is_dead and server.options.lease is not None and not condition.lease_expired:
                command = ExpireLease(server.id, server.revision, now, _LIMITS)
            elif not is_dead and (condition.lease_expired or condition.suspect):
                command = ReviveLease(server.id, server.revision, now)
            elif self._is_to_be_removed(server):
                command = Deregister(server.id, now, "down", server.revision, guard=_LIMITS)
            elif server.state is State.PENDING and not is_dead:
                command = Report(server.id, server.revision, State.UP, "passed", now)
            if command is None:
                continue
            if isinstance(command, ExpireLease | Deregister) and leadership not in self._spent:
                self._spent.add(leadership)
                self._propose(node, "guard", SpendGuard(now))
            self._propose(node, server.id, command)

    def _is_to_be_removed(self, server: Server) -> bool:
        """
        Whether a leader believes that a server is down for too long. It may be up again by now,
        or in maintenance.
        """
        registration = server.id, server.revision
        if server.state is State.DOWN:
            self._down.add(registration)
        return (
            registration in self._down
            and not self._in_peace
            and self._world.rng.random() < _REMOVALS
        )

    def _propose(self, node: Any, about: str, command: Command) -> None:
        """
        Propose a command, unless one about the same server waits on this node.
        """
        key = node.name, about
        if key in self._waiting:
            return
        self._waiting.add(key)
        self._count += 1
        request_id = f"lead-{self._count}"
        ledger = self._ledger
        if not isinstance(command, Report):
            ledger.newer.add(request_id)

        def over(result: Any) -> None:
            self._waiting.discard(key)
            if not isinstance(result, Failure):
                ledger.acknowledge(request_id)
            elif result.check(ProposalRefused):
                ledger.refuse(request_id)
            elif result.check(OutcomeUnknown) is None:
                ledger.violate(f"{request_id}: {result.getTraceback()}")

        self._world.schedule(4.0, self._world.outside, lambda: self._waiting.discard(key))
        node.propose(command, request_id).addBoth(over)
