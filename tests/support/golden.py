"""
The contents of the golden files of formats 2 and 3. Until their release they may be written anew::

    python -m tests.support.golden
"""

from __future__ import annotations

from typing import Final

import msgspec

from alacrity.cluster.state import (
    ClusterCommand,
    Envelope,
    NameCluster,
    RaiseFormat,
    Replicated,
    apply,
    encode_envelope,
    encode_state,
    version_of,
)
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
    Register,
    Report,
    ReviveLease,
    ServerOptions,
    SpendGuard,
    State,
    TcpCheck,
    Verdicts,
)
from tests.support.places import GOLDEN

_LIMITS: Final = GuardLimits(0.125, 60.0)
_LEASE: Final = ServerOptions(priority=1, group="canary", max_requests=8, lease=30.0)


def _id(port: int) -> str:
    return f"10.0.0.9:{port}"


_COMMANDS: Final[tuple[Command | RaiseFormat, ...]] = (
    RaiseFormat(2),
    # The servers have revisions 5 to 10, after the five envelopes of format 1.
    Register("10.0.0.9", 1, NoCheck(), 2, 10.0, _LEASE),
    Register("10.0.0.9", 2, NoCheck(), 1, 10.0, ServerOptions(lease=3.0)),
    Register("10.0.0.9", 3, TcpCheck(), 1, 10.0, ServerOptions(lease=3.0)),
    Register("10.0.0.9", 4, HttpCheck("/up"), 1, 10.0),
    Register("10.0.0.9", 5, HttpCheck("/up"), 1, 10.0),
    Register("10.0.0.9", 6, HttpCheck("/up"), 1, 10.0),
    Verdicts(
        (
            Report(_id(3), 7, State.UP, "passed", 11.0),
            Report(_id(4), 8, State.UP, "passed", 11.0),
            Report(_id(5), 9, State.UP, "passed", 11.0),
            Report(_id(4), 8, State.STOPPING, "answered 410", 12.0),
            Report(_id(5), 9, State.DOWN, "answered 500", 12.0, answered=True),
            Report(_id(4), 8, State.STOPPING, "others reach it", 12.5, disputed=True),
            ExpireLease("10.0.0.7:8080", 1, 12.0, _LIMITS),
            ReviveLease(_id(1), 5, 12.0),
            Deregister(_id(6), 12.0, "down too long", 10, guard=_LIMITS),
        )
    ),
    Administer(_id(4), 13.0, AdminState.DRAIN, 0, 99.5, "a deploy", 11),
    Administer(_id(5), 13.0, weight=None),
    Administer(_id(6), 13.0),
    SpendGuard(14.0),
    ExpireLease(_id(2), 6, 80.0, _LIMITS),
    ExpireLease(_id(3), 7, 81.0, _LIMITS),
    ReviveLease(_id(3), 3, 82.0),
    DrawStickyKey(bytes(range(32))),
    Deregister(_id(6), 83.0, "asked", version=10),
)

ENVELOPES_2: Final = tuple(
    Envelope(version_of(command), f"f{number}", number, command)
    for number, command in enumerate(_COMMANDS)
)
"""The envelopes of the golden file: all commands of format 2, with all fields."""


def state_2() -> Replicated:
    """
    The state after the golden envelopes of both formats.
    """
    state = Replicated()
    golden = (GOLDEN / "envelopes-v1.msgpack").read_bytes()
    for data in msgspec.msgpack.decode(golden, type=list[bytes]):
        state, _ = apply(state, data)
    for envelope in ENVELOPES_2:
        state, _ = apply(state, encode_envelope(envelope))
    return state


_COMMANDS_3: Final[tuple[ClusterCommand, ...]] = (
    RaiseFormat(3),
    NameCluster("0123456789abcdef"),
    NameCluster("fedcba9876543210", anew=True),
)

ENVELOPES_3: Final = tuple(
    Envelope(3, f"g{number}", len(ENVELOPES_2) + number, command)
    for number, command in enumerate(_COMMANDS_3)
)
"""The envelopes of the golden file: format 3 names the cluster."""


def state_3() -> Replicated:
    """
    The state after the golden envelopes of all formats.
    """
    state = state_2()
    for envelope in ENVELOPES_3:
        state, _ = apply(state, encode_envelope(envelope))
    return state


def main() -> None:
    """
    Write the files.
    """
    envelopes = msgspec.msgpack.encode([encode_envelope(each) for each in ENVELOPES_2])
    (GOLDEN / "envelopes-v2.msgpack").write_bytes(envelopes)
    (GOLDEN / "state-v2.msgpack").write_bytes(encode_state(state_2()))
    envelopes = msgspec.msgpack.encode([encode_envelope(each) for each in ENVELOPES_3])
    (GOLDEN / "envelopes-v3.msgpack").write_bytes(envelopes)
    (GOLDEN / "state-v3.msgpack").write_bytes(encode_state(state_3()))


if __name__ == "__main__":
    main()
