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


Command: TypeAlias = Register | Deregister | Report


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


Outcome: TypeAlias = Registered | Deregistered | Reported | Stale | Unknown


def apply(pool: Pool, command: Command) -> tuple[Pool, Outcome]:
    """
    The pool after a command, and what the command came to.

    Each command raises the pool's index by one, whatever its outcome.
    """
    index = pool.index + 1
    servers = pool.servers
    outcome: Outcome
    match command:
        case Register():
            registered = _register(pool, command, index)
            server = registered.server
            servers = {**servers, server.id: server}
            outcome = registered
        case Deregister(id=id, revision=revision):
            found = servers.get(id)
            if found is None:
                outcome = Unknown(id)
            elif revision is not None and revision != found.revision:
                outcome = Stale(found)
            else:
                servers = servers.copy()
                del servers[id]
                outcome = Deregistered(found)
        case Report(id=id):
            found = servers.get(id)
            if found is None:
                outcome = Unknown(id)
            elif command.revision != found.revision:
                outcome = Stale(found)
            else:
                moved = msgspec.structs.replace(
                    found,
                    state=command.state,
                    reason=command.reason,
                    since=found.since if found.state is command.state else command.time,
                )
                servers = {**servers, id: moved}
                outcome = Reported(moved)
    return Pool(index, servers), outcome


def _register(pool: Pool, command: Register, index: int) -> Registered:
    """
    A server that is up stays up, so that registering again costs no request. One
    that is down says by registering that it has come back: it is pending again.
    """
    known = pool.servers.get(server_id(command.ip, command.port))
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
        revision=index,
    )
    return Registered(server, created=known is None)
