"""
A monitor, with a pool and servers that answer as they are told.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from alacrity.health.checks import Checks, Verdict
from alacrity.health.doubts import Doubts
from alacrity.health.monitor import TICK, Monitor
from alacrity.health.witness import Witnesses
from alacrity.pool import (
    NO_OPTIONS,
    Check,
    Command,
    Deregister,
    Outcome,
    Pool,
    PoolView,
    Register,
    Server,
    ServerOptions,
    State,
    TcpCheck,
)
from tests.support.pools import apply_to

EPOCH: Final = 1_700_000_000.0


PASS: Final = Verdict(passed=True, reason="connected")


FAIL: Final = Verdict(passed=False, reason="connection refused")


ID: Final = "10.0.0.7:8080"


STAYING: Final = 9
"""The port of a server that passes its checks, whatever others do."""


class Health(msgspec.Struct, frozen=True):
    """
    The defaults, but without jitter.
    """

    interval: float = 5.0
    fast_interval: float = 1.0
    jitter: float = 0.0
    timeout: float = 2.0
    rise: int = 2
    fall: int = 3
    deregister_after: float = 86400.0
    lease_deregister_after: float = 300.0
    guard_share: float = 0.2
    guard_window: float = 60.0


def restored(count: int, state: State = State.UP) -> Pool:
    """
    A pool as it is read from disk.
    """
    servers = (
        Server(f"10.0.{n >> 8}.{n & 255}", 80, TcpCheck(), 1, state, "before", EPOCH, EPOCH, 1)
        for n in range(count)
    )
    return Pool(1, {server.id: server for server in servers})


def failing(server: Server) -> Verdict:
    """
    All servers but one fail their checks.
    """
    return PASS if server.port == STAYING else FAIL


class Bench:
    """
    A monitor with a pool and servers that answer as they are told.

    @ivar answer: gives the outcome of a check; L{None}: it stays open, in C{open}.
    @ivar begun: when each check began, and of which server.
    @ivar overlapped: whether a server had two checks in flight.
    @ivar set_by: by how much the time of day was set, in seconds.
    """

    set_by = 0.0

    def __init__(
        self,
        pool: Pool | None = None,
        health: Health | None = None,
        *,
        format: int = 1,
        witnesses: Witnesses | None = None,
        only_leader: bool = False,
    ) -> None:
        self.clock = Clock()
        self.view = PoolView(pool)
        self.commands: list[Command] = []
        self.decide: Callable[[], Deferred[None]] = lambda: succeed(None)
        self.answer: Callable[[Server], Verdict | Exception | None] = lambda server: PASS
        self.begun: list[tuple[float, Server, Check, float]] = []
        self.open: dict[str, Deferred[Verdict]] = {}
        self.inside: set[str] = set()
        self.slow_to_cancel = False
        self.closing: dict[str, Deferred[None]] = {}
        self.cancelled: list[str] = []
        self.overlapped = False
        self.greatest = 0
        doubts = None
        if witnesses is not None:
            doubts = Doubts(witnesses, clock=self.clock, rng=Random(2), only_leader=only_leader)
        self.monitor = Monitor(
            self.view,
            self.propose,
            health or Health(),
            Checks(tcp=self.check, http=self.check),
            clock=self.clock,
            wall=lambda: EPOCH + self.set_by + self.clock.seconds(),
            rng=Random(1),
            has_format_2=lambda: format >= 2,
            doubts=doubts,
        )

    async def propose(self, command: Command) -> Outcome:
        self.commands.append(command)
        await self.decide()
        return apply_to(self.view, command)

    def check(self, server: Server, check: Check, timeout: float) -> Deferred[Verdict]:
        self.begun.append((self.clock.seconds(), server, check, timeout))
        outcome = self.answer(server)
        if isinstance(outcome, Verdict):
            return succeed(outcome)
        if isinstance(outcome, Exception):
            return fail(outcome)
        return Deferred.fromCoroutine(self.wait(server.id))

    async def wait(self, id: str) -> Verdict:
        self.overlapped |= id in self.inside
        self.inside.add(id)
        self.greatest = max(self.greatest, len(self.inside))
        self.open[id] = Deferred()
        try:
            return await self.open[id]
        except CancelledError:
            self.cancelled.append(id)
            del self.open[id]
            if self.slow_to_cancel:
                self.closing[id] = Deferred()
                await self.closing[id]
            raise
        finally:
            self.inside.discard(id)

    def end(self, verdict: Verdict = PASS, id: str = ID) -> None:
        self.open.pop(id).callback(verdict)

    def register(
        self, port: int = 8080, check: Check | None = None, options: ServerOptions = NO_OPTIONS
    ) -> Server:
        now = EPOCH + self.clock.seconds()
        apply_to(self.view, Register("10.0.0.7", port, check or TcpCheck(), 1, now, options))
        return self.view.pool.servers[f"10.0.0.7:{port}"]

    def remove(self, id: str = ID) -> None:
        apply_to(self.view, Deregister(id, EPOCH, "asked to"))

    def state(self, id: str = ID) -> State:
        return self.view.pool.servers[id].state

    def advance(self, seconds: float) -> None:
        self.clock.pump([TICK] * round(seconds / TICK))

    def times(self) -> list[float]:
        return [round(at, 1) for at, *_ in self.begun]
