"""
The function L{apply}, which changes a pool by a command.

Two rules hold:

  1. L{apply} is pure: its result depends on the pool and the command alone.
  2. L{apply} is total: any command on any pool gives an outcome, never an exception. (A raise
     would stop every node of a cluster at the same command.)
"""

from __future__ import annotations

from math import isfinite

import msgspec

from alacrity.pool.commands import (
    Administer,
    Administered,
    Command,
    Deregister,
    Deregistered,
    Done,
    DrawStickyKey,
    ExpireLease,
    Judged,
    Kept,
    Outcome,
    Register,
    Registered,
    Report,
    Reported,
    ReviveLease,
    SpendGuard,
    Stale,
    Unknown,
    Verdict,
    VerdictOutcome,
    Verdicts,
    VersionMismatch,
)
from alacrity.pool.guard import GuardLimits, spent_window
from alacrity.pool.model import (
    AS_REGISTERED,
    HEAVIEST,
    NO_OPTIONS,
    UNKNOWN_CONDITION,
    Administration,
    AdminState,
    Condition,
    NoCheck,
    Pool,
    Server,
    State,
    server_id,
)

_LEASE_EXPIRED = "the lease expired"
_LEASE_RENEWED = "the lease was renewed"
_UNCHECKED = "not checked since its maintenance"


def apply(pool: Pool, command: Command, format: int = 2) -> tuple[Pool, Outcome]:
    """
    The pool after a command, and the outcome of the command.

    Each command raises the pool's index by one, whatever its outcome.

    @param format: of the cluster.
    """
    draft = PoolDraft(pool, format)
    outcome = draft.apply(command)
    return draft.pool(), outcome


def _with_defaults(server: Server) -> Server:
    """
    The same server, with the very values that stand for no options, no decision and nothing
    known. Those are left out of what is encoded, and others that are equal are not.
    """
    defaults: dict[str, object] = {}
    if server.options == NO_OPTIONS:
        defaults["options"] = NO_OPTIONS
    if server.administration == AS_REGISTERED:
        defaults["administration"] = AS_REGISTERED
    if server.condition == UNKNOWN_CONDITION:
        defaults["condition"] = UNKNOWN_CONDITION
    return msgspec.structs.replace(server, **defaults)


class PoolDraft:
    """
    A pool that is being changed by commands. For any number of commands, the dictionary
    of servers is copied once.

    @ivar index: how many commands were applied to the pool, as in L{Pool}.
    @ivar format: the format of the cluster. In format 1, the fields that are of format 2 keep
        their defaults.
    """

    __slots__ = ("_guard", "_owned", "_pool", "_servers", "_sticky_key", "format", "index")

    def __init__(self, pool: Pool, format: int = 2) -> None:
        self.index = pool.index
        self.format = format
        self._pool = pool
        self._servers = pool.servers
        self._guard = pool.guard
        self._sticky_key = pool.sticky_key
        self._owned = False

    def pool(self) -> Pool:
        """
        The pool as it is now. Commands that are applied later do not change this value.
        """
        if self._pool.index != self.index:
            self._pool = Pool(self.index, self._servers, self._guard, self._sticky_key)
            self._owned = False
        return self._pool

    def apply(self, command: Command) -> Outcome:
        """
        Apply a command, as the function L{apply} does.
        """
        self.index += 1
        match command:
            case Register():
                return self._register(command)
            case Verdicts(verdicts):
                return Judged(tuple(map(self._apply_verdict, verdicts)))
            case Administer():
                return self._administer(command)
            case SpendGuard(time):
                self._guard = spent_window(time, len(self._servers))
                return Done()
            case DrawStickyKey(key):
                self._sticky_key = self._sticky_key or key
                return Done()
            case _:
                return self._apply_verdict(command)

    # Registrations

    def _register(self, command: Register) -> Registered:
        """
        Register a server. One that is up stays up, so that registering again costs no
        request. One that is down announces by registering that it has come back: it is
        pending again. Without a check, it is up as long as its lease lasts.
        """
        id = server_id(command.ip, command.port)
        known = self._servers.get(id)
        state: State
        if known is not None and known.state is State.UP:
            state, reason, since = known.state, known.reason, known.since
        elif isinstance(command.check, NoCheck):
            state, reason, since = State.UP, "registered with a lease", command.time
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
            options=command.options,
            administration=AS_REGISTERED if known is None else known.administration,
        )
        return Registered(self._put(server), created=known is None)

    # Verdicts of checks and leases

    def _apply_verdict(self, verdict: Verdict) -> VerdictOutcome:
        found = self._servers.get(verdict.id)
        if found is None:
            return Unknown(verdict.id)
        if verdict.revision is not None and verdict.revision != found.revision:
            return Stale(found)
        match verdict:
            case Deregister():
                return self._deregister(verdict, found)
            case Report():
                return self._report(verdict, found)
            case ExpireLease():
                return self._expire(verdict, found)
            case ReviveLease():
                return self._revive(verdict, found)

    def _deregister(
        self, command: Deregister, found: Server
    ) -> Deregistered | Kept | Stale | VersionMismatch:
        version, limits = command.version, command.guard
        if version is not msgspec.UNSET and version != found.version:
            return VersionMismatch(found)
        if limits is not msgspec.UNSET:
            is_ready = found.administration.state is AdminState.READY
            if found.state is not State.DOWN or not is_ready:
                return Stale(found)
            if len(self._servers) == 1 or not self._may_lose_one(command.time, limits):
                return self._keep(found)
            self._guard = self._guard.count()
        del self._own_servers()[command.id]
        return Deregistered(found)

    def _report(self, command: Report, found: Server) -> Reported | Stale:
        state = command.state
        condition = found.condition
        if condition.lease_expired and state is not State.DOWN:
            return Stale(found)
        # A passing check says nothing of the lease.
        is_cleared = state is State.UP and found.options.lease is None
        moved = msgspec.structs.replace(
            found,
            state=state,
            reason=command.reason,
            since=found.since if found.state is state else command.time,
            condition=msgspec.structs.replace(
                condition,
                answered=command.answered and state is State.DOWN,
                suspect=condition.suspect and not is_cleared,
                disputed=command.disputed and state is not State.DOWN,
            ),
        )
        return Reported(self._put(moved))

    def _expire(self, command: ExpireLease, found: Server) -> Reported | Kept | Stale:
        if found.options.lease is None or found.condition.lease_expired:
            return Stale(found)
        if found.state is not State.DOWN:
            # One that is down by its checks is no loss by its lease.
            if self._is_last_eligible(found) or not self._may_lose_one(command.time, command.guard):
                return self._keep(found)
            self._guard = self._guard.count()
        expired = msgspec.structs.replace(
            found,
            state=State.DOWN,
            reason=_LEASE_EXPIRED,
            since=found.since if found.state is State.DOWN else command.time,
            condition=Condition(lease_expired=True),
        )
        return Reported(self._put(expired))

    def _revive(self, command: ReviveLease, found: Server) -> Reported | Stale:
        if found.condition.lease_expired:
            state = State.UP if isinstance(found.check, NoCheck) else State.PENDING
            revived = msgspec.structs.replace(
                found,
                state=state,
                reason=_LEASE_RENEWED,
                since=command.time,
                condition=UNKNOWN_CONDITION,
            )
        elif found.condition.suspect:
            condition = msgspec.structs.replace(found.condition, suspect=False)
            revived = msgspec.structs.replace(found, condition=condition)
        else:
            return Stale(found)
        return Reported(self._put(revived))

    def _is_last_eligible(self, server: Server) -> bool:
        return server.eligible and not any(
            each.eligible for each in self._servers.values() if each is not server
        )

    def _may_lose_one(self, time: float, limits: GuardLimits) -> bool:
        self._guard = self._guard.at(time, len(self._servers), limits)
        return self._guard.allows(limits)

    def _keep(self, found: Server) -> Kept:
        suspect = msgspec.structs.replace(found.condition, suspect=True)
        return Kept(self._put(msgspec.structs.replace(found, condition=suspect)))

    # Operators' decisions

    def _administer(self, command: Administer) -> Administered | VersionMismatch | Unknown:
        found = self._servers.get(command.id)
        if found is None:
            return Unknown(command.id)
        if command.version is not None and command.version != found.version:
            return VersionMismatch(found)
        before, unset = found.administration, msgspec.UNSET
        state = before.state if command.state is unset else command.state
        if state is AdminState.READY:
            until = None
        elif command.until is not unset:
            until = command.until
        else:
            until = before.until if command.state is unset else None
        if until is not None and not isfinite(until):
            until = None
        weight = before.weight if command.weight is unset else command.weight
        if command.reason is not unset:
            reason = command.reason
        else:
            reason = before.reason if command.state is unset else ""
        after = Administration(
            state=state,
            weight=None if weight is None else min(HEAVIEST, max(0, weight)),
            until=until,
            reason=reason,
        )
        server = msgspec.structs.replace(found, administration=after)
        if state is AdminState.MAINTENANCE and found.condition.disputed:
            # It is not checked any more.
            condition = msgspec.structs.replace(found.condition, disputed=False)
            server = msgspec.structs.replace(server, condition=condition)
        is_unchecked = (
            before.state is AdminState.MAINTENANCE
            and state is not AdminState.MAINTENANCE
            and not isinstance(found.check, NoCheck)
        )
        if is_unchecked and (found.state is State.UP or found.state is State.STOPPING):
            server = msgspec.structs.replace(
                server, state=State.PENDING, reason=_UNCHECKED, since=command.time
            )
        return Administered(self._put(server))

    # Changes

    def _put(self, server: Server) -> Server:
        """
        Put a server into the pool that is new or may have changed.

        @return: the server as it is in the pool now; what is as it was keeps its version.
        """
        known = self._servers.get(server.id)
        if self.format >= 2:
            was_up = server.state is State.UP or (
                # In format 1 it is not noted who was up.
                known is not None and (known.condition.was_up or known.state is State.UP)
            )
            if was_up != server.condition.was_up:
                condition = msgspec.structs.replace(server.condition, was_up=was_up)
                server = msgspec.structs.replace(server, condition=condition)
        if known is not None and server == known:
            return known
        server = _with_defaults(server)
        if self.format >= 2:
            changed = 0 if server.revision == self.index else self.index
            server = msgspec.structs.replace(server, changed=changed)
        self._own_servers()[server.id] = server
        return server

    def _own_servers(self) -> dict[str, Server]:
        """
        The servers, to be changed in place: a dictionary that this draft alone has.
        """
        if not self._owned:
            self._servers = self._servers.copy()
            self._owned = True
        return self._servers
