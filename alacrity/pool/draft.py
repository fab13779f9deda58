"""
The function L{apply}, which changes a pool by a command.

Two rules hold:

  1. L{apply} is pure: its result depends on the pool and the command alone.
  2. L{apply} is total: any command on any pool gives an outcome, never an exception. (A raise
     would stop every node of a cluster at the same command.)
"""

from __future__ import annotations

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


def apply(pool: Pool, command: Command, format: int = 2) -> tuple[Pool, Outcome]:
    """
    The pool after a command, and the outcome of the command.

    Each command raises the pool's index by one, whatever its outcome.

    @param format: of the cluster.
    """
    draft = PoolDraft(pool, format)
    outcome = draft.apply(command)
    return draft.pool(), outcome


def _condition(
    *, was_up: bool, answered: bool = False, lease_expired: bool = False, suspect: bool = False
) -> Condition:
    if was_up or answered or lease_expired or suspect:
        return Condition(was_up, answered, lease_expired, suspect)
    # This very value is left out of what is encoded.
    return UNKNOWN_CONDITION


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
            condition=_condition(was_up=known is not None and known.condition.was_up),
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
    ) -> Deregistered | Kept | VersionMismatch:
        version, limits = command.version, command.guard
        if version is not msgspec.UNSET and version != found.version:
            return VersionMismatch(found)
        if limits is not msgspec.UNSET:
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
        moved = msgspec.structs.replace(
            found,
            state=state,
            reason=command.reason,
            since=found.since if found.state is state else command.time,
            condition=_condition(
                was_up=condition.was_up,
                answered=command.answered and state is State.DOWN,
                lease_expired=condition.lease_expired,
                suspect=condition.suspect and state is not State.UP,
            ),
        )
        return Reported(self._put(moved))

    def _expire(self, command: ExpireLease, found: Server) -> Reported | Kept | Stale:
        if found.options.lease is None or found.condition.lease_expired:
            return Stale(found)
        if found.state is not State.DOWN:
            # One that is down by its checks is no loss by its lease.
            others = any(each.eligible for id, each in self._servers.items() if id != command.id)
            if not others or not self._may_lose_one(command.time, command.guard):
                return self._keep(found)
            self._guard = self._guard.count()
        expired = msgspec.structs.replace(
            found,
            state=State.DOWN,
            reason=_LEASE_EXPIRED,
            since=found.since if found.state is State.DOWN else command.time,
            condition=_condition(was_up=found.condition.was_up, lease_expired=True),
        )
        return Reported(self._put(expired))

    def _revive(self, command: ReviveLease, found: Server) -> Reported | Stale:
        condition = _condition(was_up=found.condition.was_up)
        if found.condition.lease_expired:
            state = State.UP if isinstance(found.check, NoCheck) else State.PENDING
            revived = msgspec.structs.replace(
                found,
                state=state,
                reason=_LEASE_RENEWED,
                since=command.time,
                condition=condition,
            )
        elif found.condition.suspect:
            revived = msgspec.structs.replace(found, condition=condition)
        else:
            return Stale(found)
        return Reported(self._put(revived))

    def _may_lose_one(self, time: float, limits: GuardLimits) -> bool:
        self._guard = self._guard.at(time, len(self._servers), limits)
        return self._guard.allows(limits)

    def _keep(self, found: Server) -> Kept:
        condition = found.condition
        if condition.suspect:
            return Kept(found)
        suspect = msgspec.structs.replace(condition, suspect=True)
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
        if command.reason is not unset:
            reason = command.reason
        else:
            reason = before.reason if command.state is unset else ""
        after = Administration(
            state=state,
            weight=before.weight if command.weight is unset else command.weight,
            until=until,
            reason=reason,
        )
        return Administered(self._put(msgspec.structs.replace(found, administration=after)))

    # Changes

    def _put(self, server: Server) -> Server:
        """
        Put a server into the pool that is new or has changed.
        """
        if self.format >= 2:
            condition = server.condition
            if server.state is State.UP and not condition.was_up:
                condition = msgspec.structs.replace(condition, was_up=True)
            changed = 0 if server.revision == self.index else self.index
            server = msgspec.structs.replace(server, condition=condition, changed=changed)
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
