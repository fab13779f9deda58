"""
The commands that change a pool, their outcomes, and the function L{apply}.

Two rules hold:

  1. L{apply} is pure: its result depends on the pool and the command alone. Times
     are in the command, read from the clock of the node that proposed it.
  2. L{apply} is total: any command on any pool gives an outcome, never an
     exception. (A raise would stop every node of a cluster at the same command.)
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from alacrity.pool.model import Check, Pool, Server, State, server_id


class Register(msgspec.Struct, frozen=True, gc=False, tag="register"):
    """
    Add the server at an address, or update its check and weight.

    @ivar time: of the proposal, in seconds since the epoch.
    """

    ip: str
    port: int
    check: Check
    weight: int
    time: float


class Deregister(msgspec.Struct, frozen=True, gc=False, tag="deregister"):
    """
    Remove a server.

    @ivar revision: remove it only if this is still the revision of its registration;
        L{None}: whatever that is.
    @ivar reason: of the removal, for people.
    """

    id: str
    time: float
    reason: str
    revision: int | None = None


class Report(msgspec.Struct, frozen=True, gc=False, tag="report"):
    """
    Put a server into the state to which its checks have brought it.

    @ivar revision: of the registration that was checked.
    @ivar reason: of the state, for people.
    """

    id: str
    revision: int
    state: State
    reason: str
    time: float


class Verdicts(msgspec.Struct, frozen=True, gc=False, tag="verdicts"):
    """
    Apply several reports and removals that checks led to, one after the other. Since
    format 2 of the cluster.
    """

    verdicts: tuple[Report | Deregister, ...]


Command: TypeAlias = Register | Deregister | Report | Verdicts


class Registered(msgspec.Struct, frozen=True, gc=False, tag="registered"):
    """
    The server is registered.

    @ivar created: whether the server is new, rather than updated.
    """

    server: Server
    created: bool


class Deregistered(msgspec.Struct, frozen=True, gc=False, tag="deregistered"):
    """
    The server is removed.

    @ivar server: as it was before.
    """

    server: Server


class Reported(msgspec.Struct, frozen=True, gc=False, tag="reported"):
    """
    The server is in the reported state now.
    """

    server: Server


class Stale(msgspec.Struct, frozen=True, gc=False, tag="stale"):
    """
    Nothing changed: the command is about an earlier registration of the server.
    """

    server: Server


class Unknown(msgspec.Struct, frozen=True, gc=False, tag="unknown"):
    """
    Nothing changed: there is no such server.
    """

    id: str


class Judged(msgspec.Struct, frozen=True, gc=False, tag="judged"):
    """
    The L{Verdicts} are applied.

    @ivar outcomes: of each verdict, in their order; empty where the outcome of an earlier
        request is given again, since those of verdicts are not kept.
    """

    outcomes: tuple[Deregistered | Reported | Stale | Unknown, ...]


Outcome: TypeAlias = Registered | Deregistered | Reported | Stale | Unknown | Judged


def apply(pool: Pool, command: Command) -> tuple[Pool, Outcome]:
    """
    The pool after a command, and the outcome of the command.

    Each command raises the pool's index by one, whatever its outcome.
    """
    draft = PoolDraft(pool)
    outcome = draft.apply(command)
    return draft.pool(), outcome


class PoolDraft:
    """
    A pool that is being changed by commands. For any number of commands, the dictionary
    of servers is copied once.

    @ivar index: how many commands were applied to the pool, as in L{Pool}.
    """

    __slots__ = ("_owned", "_pool", "_servers", "index")

    def __init__(self, pool: Pool) -> None:
        self.index = pool.index
        self._pool = pool
        self._servers = pool.servers
        self._owned = False

    def pool(self) -> Pool:
        """
        The pool as it is now. Commands that are applied later do not change this value.
        """
        if self._pool.index != self.index:
            self._pool = Pool(self.index, self._servers)
            self._owned = False
        return self._pool

    def apply(self, command: Command) -> Outcome:
        """
        Apply a command, as L{apply} does.
        """
        self.index += 1
        match command:
            case Register():
                return self._register(command)
            case Verdicts(verdicts):
                return Judged(tuple(map(self._apply_verdict, verdicts)))
            case _:
                return self._apply_verdict(command)

    def _apply_verdict(
        self, verdict: Report | Deregister
    ) -> Deregistered | Reported | Stale | Unknown:
        found = self._servers.get(verdict.id)
        if found is None:
            return Unknown(verdict.id)
        if verdict.revision is not None and verdict.revision != found.revision:
            return Stale(found)
        if isinstance(verdict, Deregister):
            del self._own_servers()[verdict.id]
            return Deregistered(found)
        moved = msgspec.structs.replace(
            found,
            state=verdict.state,
            reason=verdict.reason,
            since=found.since if found.state is verdict.state else verdict.time,
        )
        self._own_servers()[verdict.id] = moved
        return Reported(moved)

    def _register(self, command: Register) -> Registered:
        """
        Register a server. One that is up stays up, so that registering again costs no
        request. One that is down announces by registering that it has come back: it is
        pending again.
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
        self._own_servers()[id] = server
        return Registered(server, created=known is None)

    def _own_servers(self) -> dict[str, Server]:
        """
        The servers, to be changed in place: a dictionary that this draft alone has.
        """
        if not self._owned:
            self._servers = self._servers.copy()
            self._owned = True
        return self._servers
