"""
The commands that change a pool, and their outcomes. L{alacrity.pool.draft} applies them.

Times are in seconds since the epoch, read from the clock of the node that proposed the
command.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from alacrity.pool.guard import GuardLimits
from alacrity.pool.model import NO_OPTIONS, AdminState, Check, NoCheck, Server, ServerOptions, State


class Register(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag="register"):
    """
    Add the server at an address, or replace all that it was registered with. The operators'
    decisions about it stay.

    @ivar time: of the proposal.

    The other attributes are those of L{Server}.
    """

    ip: str
    port: int
    check: Check
    weight: int
    time: float
    options: ServerOptions = NO_OPTIONS


class Deregister(msgspec.Struct, frozen=True, gc=False, tag="deregister"):
    """
    Remove a server.

    @ivar revision: remove it only if this is still the revision of its registration;
        L{None}: whatever that is.
    @ivar reason: of the removal, for people.
    @ivar version: remove it only if this is still the server's version; L{msgspec.UNSET}:
        whatever that is. Since format 2.
    @ivar guard: the limits of the guard against mass loss, if it is the checks that remove
        the server. They remove only one that is down, and none that an operator has put into
        another state than ready: it would come back without that decision.
        L{msgspec.UNSET}: a caller removes the server, and is not limited. Since format 2.
    """

    id: str
    time: float
    reason: str
    revision: int | None = None
    version: int | msgspec.UnsetType = msgspec.UNSET
    guard: GuardLimits | msgspec.UnsetType = msgspec.UNSET


class Report(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag="report"):
    """
    Put a server into the state to which its checks have brought it. One whose lease has
    expired does not come up by its checks.

    @ivar revision: of the registration that was checked.
    @ivar reason: of the state, for people.
    @ivar answered: whether the check that failed got an HTTP answer. Since format 2.
    @ivar disputed: whether the server is in this state by the word of other members, though its
        checks fail on the leader. Since format 2.
    """

    id: str
    revision: int
    state: State
    reason: str
    time: float
    answered: bool = False
    disputed: bool = False


class ExpireLease(msgspec.Struct, frozen=True, gc=False, tag="expire"):
    """
    Take a server down since its lease was not renewed in time; or keep it as suspect, if the
    guard against mass loss allows no further loss now, or it is the last eligible one. Proposed
    again, it takes effect once the guard allows it. Since format 2.

    @ivar revision: of the registration that has the lease.
    """

    id: str
    revision: int
    time: float
    guard: GuardLimits


class ReviveLease(msgspec.Struct, frozen=True, gc=False, tag="revive"):
    """
    Note that a server has renewed its lease after it had expired, or was suspected: it is up
    again, or pending if it is checked too. Renewals in time are no commands. Since format 2.

    @ivar revision: of the registration that has the lease.
    """

    id: str
    revision: int
    time: float


Verdict: TypeAlias = Report | Deregister | ExpireLease | ReviveLease
"""The commands that result from checks and leases, about one registration each."""


class Verdicts(msgspec.Struct, frozen=True, gc=False, tag="verdicts"):
    """
    Apply several verdicts, one after the other. Since format 2.
    """

    verdicts: tuple[Verdict, ...]


class Administer(msgspec.Struct, frozen=True, gc=False, tag="administer"):
    """
    Change the operators' decisions about a server. One that comes out of maintenance, where it
    was not checked, is pending until a check passes. Since format 2.

    @ivar state: the new state; L{msgspec.UNSET}: it stays, and so does its end.
    @ivar weight: the new weight, brought to 0 to L{HEAVIEST
        <alacrity.pool.model.HEAVIEST>}; L{None}: the registered weight holds again;
        L{msgspec.UNSET}: it stays.
    @ivar until: when the state ends, in seconds since the epoch; L{None}: it does not end by
        itself; L{msgspec.UNSET}: as it was, if the state is not set either, else L{None}.
    @ivar reason: of the decision, for people; L{msgspec.UNSET}: it stays, if the state is not
        set either, else it is empty.
    @ivar version: change it only if this is still the server's version; L{None}: whatever that
        is.
    """

    id: str
    time: float
    state: AdminState | msgspec.UnsetType = msgspec.UNSET
    weight: int | msgspec.UnsetType | None = msgspec.UNSET
    until: float | msgspec.UnsetType | None = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    version: int | None = None


class SpendGuard(msgspec.Struct, frozen=True, gc=False, tag="spend-guard"):
    """
    Begin a window of the guard against mass loss without an allowance. A new leader proposes
    it before the first loss: it cannot know whether its own view of the servers is good. Since
    format 2.

    @ivar time: when the leader began to lead.
    """

    time: float


class DrawStickyKey(msgspec.Struct, frozen=True, gc=False, tag="sticky-key"):
    """
    Set the key of sticky cookies, unless there is one. Since format 2.

    @ivar key: 32 random bytes.
    """

    key: bytes


Command: TypeAlias = (
    Register
    | Deregister
    | Report
    | ExpireLease
    | ReviveLease
    | Verdicts
    | Administer
    | SpendGuard
    | DrawStickyKey
)


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


class Administered(msgspec.Struct, frozen=True, gc=False, tag="administered"):
    """
    The operators' decisions about the server are as the command says.
    """

    server: Server


class Kept(msgspec.Struct, frozen=True, gc=False, tag="kept"):
    """
    The server is kept as suspect, by the guard against mass loss or as the last one.
    """

    server: Server


class VersionMismatch(msgspec.Struct, frozen=True, gc=False, tag="version-mismatch"):
    """
    Nothing changed: the server has another version than the command names.
    """

    server: Server


class Done(msgspec.Struct, frozen=True, gc=False, tag="done"):
    """
    A command that concerns no server is applied.
    """


class Stale(msgspec.Struct, frozen=True, gc=False, tag="stale"):
    """
    Nothing changed: the command is about an earlier registration of the server, or about one
    that is in another state by now (its lease, or, if it is to be removed by its checks, itself).
    """

    server: Server


class Unknown(msgspec.Struct, frozen=True, gc=False, tag="unknown"):
    """
    Nothing changed: there is no such server.
    """

    id: str


VerdictOutcome: TypeAlias = Deregistered | Reported | Kept | Stale | VersionMismatch | Unknown


class Judged(msgspec.Struct, frozen=True, gc=False, tag="judged"):
    """
    The L{Verdicts} are applied.

    @ivar outcomes: of each verdict, in their order; empty where the outcome of an earlier
        request is given again, since those of verdicts are not kept.
    """

    outcomes: tuple[VerdictOutcome, ...]


Outcome: TypeAlias = VerdictOutcome | Registered | Administered | Judged | Done


def format_of(command: Command) -> int:
    """
    The lowest format of a cluster in which a command may be proposed. Commands without new
    features keep a low one, so that older nodes can apply them.
    """
    match command:
        case Register():
            is_old = not isinstance(command.check, NoCheck) and command.options == NO_OPTIONS
        case Deregister():
            is_old = command.version is msgspec.UNSET and command.guard is msgspec.UNSET
        case Report():
            is_old = (
                not command.answered
                and not command.disputed
                and command.state is not State.STOPPING
            )
        case _:
            is_old = False
    return 1 if is_old else 2
