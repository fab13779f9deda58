"""
The commands that change a pool, and L{apply}, the one function that does it.

Two rules hold the whole:

  1. L{apply} is pure: all it knows is the pool and the command. Times are in
     the command, read from the clock of the node that proposed it.
  2. L{apply} is total: any command on any pool gives an outcome, never an
     exception. (A raise would stop every node of a cluster at the same place.)
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from alacrity.pool.model import Check, Pool, Server, State, server_id


class Register(msgspec.Struct, frozen=True, gc=False, tag="register"):
    """
    Add the server at an address, or update its check and weight.

    @ivar time: when it was proposed, in seconds since the epoch.
    """

    ip: str
    port: int
    check: Check
    weight: int
    time: float


class Deregister(msgspec.Struct, frozen=True, gc=False, tag="deregister"):
    """
    Remove a server.

    @ivar revision: remove it only if this is still its registration; L{None}:
        whatever its registration.
    @ivar reason: why, for people.
    """

    id: str
    time: float
    reason: str
    revision: int | None = None


class Report(msgspec.Struct, frozen=True, gc=False, tag="report"):
    """
    A server's checks have brought it into another state.

    @ivar revision: the registration that was checked.
    """

    id: str
    revision: int
    state: State
    reason: str
    time: float


class Verdicts(msgspec.Struct, frozen=True, gc=False, tag="verdicts"):
    """
    All that the checks of a moment have come to, in the order in which it counts.
    Since format 2 of the cluster.
    """

    verdicts: tuple[Report | Deregister, ...]


Command: TypeAlias = Register | Deregister | Report | Verdicts


class Registered(msgspec.Struct, frozen=True, gc=False, tag="registered"):
    """
    @ivar created: whether the server is new, rather than updated.
    """

    server: Server
    created: bool


class Deregistered(msgspec.Struct, frozen=True, gc=False, tag="deregistered"):
    """
    @ivar server: as it was last.
    """

    server: Server


class Reported(msgspec.Struct, frozen=True, gc=False, tag="reported"):
    """
    The server is in the reported state now.
    """

    server: Server


class Stale(msgspec.Struct, frozen=True, gc=False, tag="stale"):
    """
    Nothing changed: the server was registered anew since the command was made.
    """

    server: Server


class Unknown(msgspec.Struct, frozen=True, gc=False, tag="unknown"):
    """
    Nothing changed: there is no such server.
    """

    id: str


class Judged(msgspec.Struct, frozen=True, gc=False, tag="judged"):
    """
    @ivar outcomes: of each of the L{Verdicts}, in their order; none where they are not
        remembered, as it was long ago.
    """

    outcomes: tuple[Deregistered | Reported | Stale | Unknown, ...]


Outcome: TypeAlias = Registered | Deregistered | Reported | Stale | Unknown | Judged


def apply(pool: Pool, command: Command) -> tuple[Pool, Outcome]:
    """
    The pool after a command, and what the command came to.

    Each command raises the pool's index by one, whatever its outcome.
    """
    draft = Draft(pool)
    outcome = draft.apply(command)
    return draft.pool(), outcome


class Draft:
    """
    A pool to which commands are applied. For any number of commands, the servers are
    copied once.

    @ivar index: the pool's.
    """

    __slots__ = ("_owned", "_pool", "_servers", "index")

    def __init__(self, pool: Pool) -> None:
        self.index = pool.index
        self._pool = pool
        self._servers = pool.servers
        self._owned = False

    def pool(self) -> Pool:
        """
        The pool as it is now. What is applied later does not change this value.
        """
        if self._pool.index != self.index:
            self._pool = Pool(self.index, self._servers)
            self._owned = False
        return self._pool

    def apply(self, command: Command) -> Outcome:
        """
        Apply a command, as L{apply} does.

        @return: what the command came to.
        """
        self.index += 1
        match command:
            case Register():
                return self._register(command)
            case Verdicts(verdicts):
                return Judged(tuple(map(self._judge, verdicts)))
            case _:
                return self._judge(command)

    def _judge(self, verdict: Report | Deregister) -> Deregistered | Reported | Stale | Unknown:
        found = self._servers.get(verdict.id)
        if found is None:
            return Unknown(verdict.id)
        if verdict.revision is not None and verdict.revision != found.revision:
            return Stale(found)
        if isinstance(verdict, Deregister):
            del self._changing()[verdict.id]
            return Deregistered(found)
        moved = msgspec.structs.replace(
            found,
            state=verdict.state,
            reason=verdict.reason,
            since=found.since if found.state is verdict.state else verdict.time,
        )
        self._changing()[verdict.id] = moved
        return Reported(moved)

    def _register(self, command: Register) -> Registered:
        """
        A server that is up stays up, so that registering again costs no request. One
        that is down says by registering that it has come back: it is pending again.
        """
        id = server_id(command.ip, command.port)
        known = self._servers.get(id)
        state: State
        if known is not None and known.state is State.UP:
            state, reason, since = known.state, known.reason, known.since
        else:
            state, reason, since = State.PENDING, "not checked yet", command.time
        server = Server(
            ip=command.ip,
            port=command.port,
            check=command.check,
            weight=command.weight,
            state=state,
            reason=reason,
            since=since,
            registered=command.time,
            revision=self.index,
        )
        self._changing()[id] = server
        return Registered(server, created=known is None)

    def _changing(self) -> dict[str, Server]:
        """
        The servers, to be changed in place: nobody else has this dictionary.
        """
        if not self._owned:
            self._servers = self._servers.copy()
            self._owned = True
        return self._servers
