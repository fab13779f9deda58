"""
The replicated state: pure, total, each request once; and its bytes.
"""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.state import (
    GENERATION,
    Applied,
    Envelope,
    Expired,
    NotReadable,
    Replicated,
    Unreadable,
    apply,
    decode_envelope,
    decode_state,
    encode_envelope,
    encode_state,
    envelope_version,
    outcome_of,
    version_of,
)
from alacrity.pool import (
    Deregister,
    HttpCheck,
    Pool,
    Register,
    Registered,
    Report,
    State,
    TcpCheck,
    Unknown,
)
from alacrity.pool import apply as apply_to_pool
from tests.support.places import GOLDEN
from tests.support.pools import COMMANDS, POOLS

REGISTER = Register("10.0.0.7", 8080, TcpCheck(interval=2.5), 1, 1700000000.0)


def entry(request_id: str = "a", since: int = 0, command: object = REGISTER) -> bytes:
    return msgspec.msgpack.encode(
        {"version": 1, "request_id": request_id, "since": since, "command": command}
    )


class ApplyTests(SynchronousTestCase):
    def test_a_command_is_applied_as_the_pool_does(self) -> None:
        state, result = apply(Replicated(), entry())
        pool, outcome = apply_to_pool(Pool(), REGISTER)
        self.assertEqual(state.pool, pool)
        self.assertEqual(result, Applied("a", outcome))

    def test_a_repeat_changes_nothing_and_has_the_first_outcome(self) -> None:
        state, first = apply(Replicated(), entry())
        assert isinstance(first, Applied)
        again, second = apply(state, entry())
        self.assertIs(again, state)
        self.assertEqual(second, Applied("a", first.outcome, repeated=True))

    def test_what_came_to_nothing_is_remembered_too(self) -> None:
        state, _ = apply(Replicated(), entry("gone", command=Deregister("10.0.0.7:8080", 1.0, "")))
        state, _ = apply(state, entry("new"))
        again, result = apply(state, entry("gone", command=Deregister("10.0.0.7:8080", 1.0, "")))
        self.assertIs(again, state)
        self.assertEqual(result, Applied("gone", Unknown("10.0.0.7:8080"), repeated=True))

    def test_no_command_changes_nothing(self) -> None:
        state, _ = apply(Replicated(), entry())
        again, result = apply(state, entry("b", command=None))
        self.assertIs(again, state)
        self.assertEqual(result, Applied("b", None))

    def test_a_newer_version_is_not_read(self) -> None:
        state = Replicated()
        again, result = apply(state, msgspec.msgpack.encode({"version": NEWEST_FORMAT + 1}))
        self.assertIs(again, state)
        self.assertEqual(
            result,
            Unreadable(
                f"the command has version {NEWEST_FORMAT + 1}; known here: up to {NEWEST_FORMAT}"
            ),
        )

    def test_requests_are_remembered_long_enough_and_never_count_twice(self) -> None:
        state = Replicated()
        state, _ = apply(state, entry("first"))
        for number in range(GENERATION - 1):
            state, _ = apply(state, entry(f"r{number}", state.pool.index))
        self.assertEqual(apply(state, entry("first"))[1], apply(state, entry("first"))[1])
        self.assertIsNotNone(outcome_of(state, "first"))
        for number in range(2 * GENERATION):
            state, _ = apply(state, entry(f"s{number}", state.pool.index))
        self.assertIsNone(outcome_of(state, "first"))
        self.assertLessEqual(len(state.recent) + len(state.older), 2 * GENERATION)
        again, result = apply(state, entry("first"))
        self.assertIs(again, state)
        self.assertEqual(result, Expired("first"))

    @given(st.binary(max_size=60))
    def test_it_is_total(self, data: bytes) -> None:
        state = Replicated()
        again, result = apply(state, data)
        self.assertIs(again, state)
        self.assertIsInstance(result, Unreadable)

    @given(POOLS, COMMANDS, st.text(), st.integers(0, 50))
    def test_it_is_pure(self, pool: Pool, command: object, request_id: str, since: int) -> None:
        state = Replicated(pool)
        data = entry(request_id, since, command)
        before = encode_state(state)
        self.assertEqual(apply(state, data), apply(state, data))
        self.assertEqual(encode_state(state), before)


class BytesTests(SynchronousTestCase):
    @given(POOLS, st.lists(COMMANDS, max_size=5))
    def test_a_state_comes_back_as_it_was(self, pool: Pool, commands: list[object]) -> None:
        state = Replicated(pool)
        for number, command in enumerate(commands):
            state, _ = apply(state, entry(str(number), 0, command))
        back = decode_state(encode_state(state))
        self.assertEqual(back, state)
        self.assertEqual(list(back.pool.servers), list(state.pool.servers))
        self.assertEqual(encode_state(back), encode_state(state))

    @given(st.binary(max_size=60))
    def test_garbage_is_no_state(self, data: bytes) -> None:
        self.assertRaises(NotReadable, decode_state, data)

    def test_a_newer_snapshot_is_not_read(self) -> None:
        data = msgspec.msgpack.encode({"format": 3, "state": {}})
        error = self.assertRaises(NotReadable, decode_state, data)
        self.assertEqual(str(error), "the snapshot has format 3; known here: up to 2")
        data = msgspec.msgpack.encode({"format": 2, "state": {}})
        error = self.assertRaises(NotReadable, decode_state, data)
        self.assertEqual(str(error), "the snapshot has format 2, and its state 1")

    def test_a_server_under_another_id_is_no_state(self) -> None:
        state, _ = apply(Replicated(), entry())
        server = state.pool.servers["10.0.0.7:8080"]
        wrong = Replicated(Pool(1, {"10.0.0.8:8080": server}))
        self.assertRaises(NotReadable, decode_state, encode_state(wrong))

    def test_a_version_is_read_from_what_else_is_unknown(self) -> None:
        self.assertEqual(envelope_version(msgspec.msgpack.encode({"version": 9, "new": 1})), 9)
        self.assertIsNone(envelope_version(b"\xc1"))

    def test_every_command_can_be_said_in_the_first_version(self) -> None:
        self.assertEqual({version_of(REGISTER), version_of(None)}, {1})


class GoldenTests(SynchronousTestCase):
    """
    Golden files of earlier versions are read, and written in the same way.
    """

    ENVELOPES = (
        Envelope(1, "0123456789abcdef01234567", 3, REGISTER),
        Envelope(1, "b", 4, Register("2001:db8::1", 80, HttpCheck("/health", (200, 204)), 2, 2.5)),
        Envelope(1, "c", 5, Deregister("10.0.0.7:8080", 3.0, "asked", 7)),
        Envelope(1, "d", 6, Report("10.0.0.7:8080", 1, State.DOWN, "refused", 4.0)),
        Envelope(1, "e", 7, None),
    )

    def test_envelopes(self) -> None:
        golden = (GOLDEN / "envelopes-v1.msgpack").read_bytes()
        kept = msgspec.msgpack.decode(golden, type=list[bytes])
        self.assertEqual([decode_envelope(each) for each in kept], list(self.ENVELOPES))
        self.assertEqual([encode_envelope(each) for each in self.ENVELOPES], kept)

    def test_a_state(self) -> None:
        golden = (GOLDEN / "state-v1.msgpack").read_bytes()
        state = Replicated()
        for envelope in self.ENVELOPES:
            state, _ = apply(state, encode_envelope(envelope))
        self.assertEqual(decode_state(golden), state)
        self.assertEqual(encode_state(state), golden)
        self.assertIsInstance(outcome_of(state, "b"), Registered)
