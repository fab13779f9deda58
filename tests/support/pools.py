"""
Commands and pools to test with, also at random, and commands applied to a view.
"""

from __future__ import annotations

from hypothesis import strategies as st

from alacrity.pool import (
    Command,
    Deregister,
    HttpCheck,
    Outcome,
    Pool,
    PoolView,
    Register,
    Report,
    State,
    TcpCheck,
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

REGISTERS = st.builds(Register, IPS, PORTS, CHECKS, st.integers(1, 256), TIMES)
_VERDICTS: st.SearchStrategy[Deregister | Report] = st.one_of(
    st.builds(Deregister, IDS, TIMES, st.text(), st.none() | st.integers(0, 20)),
    st.builds(Report, IDS, st.integers(0, 20), st.sampled_from(State), st.text(), TIMES),
)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    REGISTERS,
    _VERDICTS,
    st.builds(Verdicts, st.lists(_VERDICTS, max_size=6).map(tuple)),
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
