"""
Commands and pools to test with, also at random, and commands applied to a view.
"""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

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
    Outcome,
    Pool,
    PoolView,
    Register,
    Report,
    ReviveLease,
    ServerOptions,
    SpendGuard,
    State,
    TcpCheck,
    Verdict,
    Verdicts,
    apply,
    server_id,
)

ID = "10.0.0.7:8080"

# Few of each, so that commands meet the same servers.
IPS = st.sampled_from(["10.0.0.7", "10.0.0.8", "2001:db8::1"])
PORTS = st.sampled_from([80, 8080])
IDS = st.builds(server_id, IPS, PORTS) | st.just("nobody")
TIMES = st.floats(0, 2**33, allow_nan=False)
CHECKS = st.builds(
    TcpCheck, interval=st.none() | st.floats(0.1, 60), port=st.none() | st.integers(1, 65535)
) | st.builds(HttpCheck, path=st.sampled_from(["/", "/health"]), rise=st.none() | st.integers(1, 9))

OLD_REGISTERS = st.builds(Register, IPS, PORTS, CHECKS, st.integers(1, 256), TIMES)
_OLD_VERDICTS: st.SearchStrategy[Deregister | Report] = st.one_of(
    st.builds(Deregister, IDS, TIMES, st.text(), st.none() | st.integers(0, 20)),
    st.builds(
        Report,
        IDS,
        st.integers(0, 20),
        st.sampled_from([State.PENDING, State.UP, State.DOWN]),
        st.text(),
        TIMES,
    ),
)
OLD_COMMANDS: st.SearchStrategy[Command] = OLD_REGISTERS | _OLD_VERDICTS
"""Those of format 1."""

# Also numbers that no configuration and no clock has: `apply` must be total.
_ANY_FLOATS = st.floats() | st.sampled_from([0.0, 0.5, 1.0, 60.0])
_ANY_TIMES = TIMES | st.floats()
_INDEXES = st.integers(0, 20)
_LIMITS = st.builds(GuardLimits, _ANY_FLOATS, _ANY_FLOATS)
_OPTIONS = st.builds(
    ServerOptions,
    st.integers(-1, 3),
    st.sampled_from(["", "canary"]),
    st.none() | st.integers(0, 9),
    st.none() | st.floats(3.0, 86400.0),
)
REGISTERS = OLD_REGISTERS | st.builds(
    Register, IPS, PORTS, CHECKS | st.just(NoCheck()), st.integers(0, 256), TIMES, _OPTIONS
)
_VERDICTS: st.SearchStrategy[Verdict] = st.one_of(
    _OLD_VERDICTS,
    st.builds(
        Deregister,
        IDS,
        _ANY_TIMES,
        st.text(),
        st.none() | _INDEXES,
        st.just(msgspec.UNSET) | _INDEXES,
        st.just(msgspec.UNSET) | _LIMITS,
    ),
    st.builds(
        Report,
        IDS,
        _INDEXES,
        st.sampled_from(State),
        st.text(),
        _ANY_TIMES,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(ExpireLease, IDS, _INDEXES, _ANY_TIMES, _LIMITS),
    st.builds(ReviveLease, IDS, _INDEXES, _ANY_TIMES),
)
ADMINISTERS = st.builds(
    Administer,
    IDS,
    TIMES,
    st.just(msgspec.UNSET) | st.sampled_from(AdminState),
    st.just(msgspec.UNSET) | st.none() | st.integers(-(2**63), 2**64 - 1) | st.integers(0, 256),
    st.just(msgspec.UNSET) | st.none() | _ANY_TIMES,
    st.just(msgspec.UNSET) | st.text(),
    st.none() | _INDEXES,
)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    REGISTERS,
    _VERDICTS,
    st.builds(Verdicts, st.lists(_VERDICTS, max_size=6).map(tuple)),
    ADMINISTERS,
    st.builds(SpendGuard, _ANY_TIMES),
    st.builds(DrawStickyKey, st.binary(max_size=32)),
)


def pool_after(commands: list[Command]) -> Pool:
    """
    The pool after commands.
    """
    pool = Pool()
    for command in commands:
        pool, _ = apply(pool, command)
    return pool


POOLS = st.builds(pool_after, st.lists(COMMANDS, max_size=20))


def apply_to(view: PoolView, command: Command) -> Outcome:
    """
    Apply a command to the pool of a view, as a replica does.
    """
    pool, outcome = apply(view.pool, command)
    view.advance(pool, outcome)
    return outcome


def register(port: int = 8080, time: float = 1.0) -> Register:
    """
    The registration of the server L{ID}, or of one at another port.
    """
    return Register("10.0.0.7", port, TcpCheck(), weight=1, time=time)


def report(state: State, revision: int, time: float, reason: str = "because") -> Report:
    """
    A report about the server L{ID}.
    """
    return Report(ID, revision, state, reason, time)
