"""
A second opinion on the pool: each applied command is compared with what its definition says
about operators' decisions, versions, and the guard.

Nothing here uses the code that it checks, but the values of the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from alacrity.cluster.state import NotReadable, decode_envelope
from alacrity.pool import (
    AS_REGISTERED,
    Administer,
    Administration,
    AdminState,
    Deregister,
    ExpireLease,
    GuardLimits,
    Pool,
    Server,
    SpendGuard,
    State,
    Verdicts,
)

INVARIANTS: Final = {
    "decisions stay": "a decision changes by operators' commands only, and ends with a removal "
    "that somebody asks for",
    "version rises": "each change of a server raises its version, and nothing else does",
    "guard holds": "no span of a window's length loses more than two windows may",
    "guard is spent": "a new leader's first window loses nothing, nor one after a clock went back",
    "last stays": "no expiry takes the last eligible server",
    "key stays": "the key of sticky cookies is drawn once",
}


class PoolLedger:
    """
    Follows the pool by the commands that the first node applies at each index.
    """

    def __init__(self, violate: Callable[[str], None]) -> None:
        self._violate = violate
        self._index = 0
        self._versions: dict[str, int] = {}
        self._decisions: dict[str, Administration] = {}
        # The times of losses since a clock went back.
        self._losses: list[float] = []
        self._allowed = 1
        self._newest = float("-inf")
        self._closed_until = float("-inf")
        self._is_closing = False

    def applied(self, data: bytes, before: Pool, after: Pool, format: int) -> None:
        """
        A node has applied an entry, which made one pool of another.

        @param format: of the state, after it.
        """
        if after.index <= self._index:
            return
        try:
            command = decode_envelope(data).command
        except NotReadable:
            return
        self._index = after.index
        for each in command.verdicts if isinstance(command, Verdicts) else (command,):
            self._expect_of(each, before, after)
        self._compare(before, after, format)

    def _broken(self, invariant: str, text: str) -> None:
        self._violate(f"{invariant}: at index {self._index}, {text}")

    def _expect_of(self, command: object, before: Pool, after: Pool) -> None:
        match command:
            case Administer():
                self._decide(command, before)
            case Deregister():
                self._remove(command, before, after)
            case ExpireLease(id, _, time, limits):
                was, now = before.servers.get(id), after.servers.get(id)
                self._attempted(time, limits, len(before.servers))
                if was is not None and now is not None and was.state is not now.state:
                    self._lost(time, limits)
                if any(map(_eligible, before.servers.values())) and not any(
                    map(_eligible, after.servers.values())
                ):
                    self._broken("last stays", f"{id} was the last")
            case SpendGuard(time):
                self._goes(time, 0.0)
                self._closed_until = time
                self._is_closing = True
            case _:
                pass

    def _decide(self, command: Administer, before: Pool) -> None:
        server = before.servers.get(command.id)
        if server is None or (
            command.version is not None and command.version != self._versions.get(command.id)
        ):
            return
        was = self._decisions.get(command.id, AS_REGISTERED)
        unset = msgspec.UNSET
        fields = {
            name: getattr(command, name)
            for name in ("state", "weight", "until", "reason")
            if getattr(command, name) is not unset
        }
        if command.state is not unset:
            fields = {"until": None, "reason": "", **fields}
        decision = msgspec.structs.replace(was, **fields)
        if decision.state is AdminState.READY:
            decision = msgspec.structs.replace(decision, until=None)
        self._decisions[command.id] = decision

    def _remove(self, command: Deregister, before: Pool, after: Pool) -> None:
        is_gone = command.id in before.servers and command.id not in after.servers
        if command.guard is not msgspec.UNSET:
            self._attempted(command.time, command.guard, len(before.servers))
            if is_gone:
                self._lost(command.time, command.guard)
                held = self._decisions.get(command.id, AS_REGISTERED).state
                if held is not AdminState.READY:
                    self._broken("decisions stay", f"checks remove {command.id}, in {held}")
                if before.servers[command.id].state is not State.DOWN:
                    self._broken("decisions stay", f"checks remove {command.id}, which is not down")
                if not after.servers:
                    self._broken("last stays", "the checks empty the pool")
        if is_gone:
            self._decisions.pop(command.id, None)

    # The guard

    def _goes(self, time: float, window: float) -> None:
        if self._is_closing and window:
            # Its length is known by the first command that has one.
            self._closed_until += window
            self._is_closing = False
        if window and time < self._newest - window:
            self._losses.clear()
            self._newest = time
            self._closed_until = float("-inf")
        self._newest = max(self._newest, time)

    def _attempted(self, time: float, limits: GuardLimits, servers: int) -> None:
        self._goes(time, limits.window)
        self._allowed = max(self._allowed, 1, int(limits.share * servers + 1e-9))

    def _lost(self, time: float, limits: GuardLimits) -> None:
        self._losses.append(time)
        recent = [each for each in self._losses if time - limits.window < each <= time]
        if len(recent) > 2 * self._allowed:
            self._broken("guard holds", f"{len(recent)} are lost by {time:.3f}")
        if self._closed_until - limits.window <= time < self._closed_until:
            self._broken("guard is spent", f"one is lost at {time:.3f}")

    # Comparison

    def _compare(self, before: Pool, after: Pool, format: int) -> None:
        if before.sticky_key not in {b"", after.sticky_key}:
            self._broken("key stays", "it is another")
        for id, server in after.servers.items():
            decision = self._decisions.get(id, AS_REGISTERED)
            if server.administration != decision:
                self._broken(
                    "decisions stay", f"{id} has {server.administration}, decided was {decision}"
                )
            was = before.servers.get(id)
            if was is None or _without_version(was) != _without_version(server):
                # In format 1 the version is that of the registration.
                self._versions[id] = after.index if format >= 2 else server.revision
            if server.version != self._versions.get(id, server.version):
                self._broken(
                    "version rises", f"{id} has {server.version}, not {self._versions[id]}"
                )


def _eligible(server: Server) -> bool:
    weight = server.administration.weight
    return (
        server.state is State.UP
        and server.administration.state is AdminState.READY
        and (server.weight if weight is None else weight) > 0
    )


def _without_version(server: Server) -> Server:
    return msgspec.structs.replace(server, changed=0)
