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
    RaiseFormat,
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
    Administer,
    Deregister,
    DrawStickyKey,
    ExpireLease,
    GuardLimits,
    HttpCheck,
    NoCheck,
    Pool,
    Register,
    Registered,
    Report,
    ReviveLease,
    ServerOptions,
    SpendGuard,
    State,
    TcpCheck,
    Unknown,
)
from alacrity.pool import apply as apply_to_pool
from tests.support.golden import ENVELOPES_2, ENVELOPES_3, state_2, state_3
from tests.support.places import GOLDEN
from tests.support.pools import COMMANDS, OLD_COMMANDS, POOLS

REGISTER = Register("10.0.0.7", 8080, TcpCheck(interval=2.5), 1, 1700000000.0)


FIELDS_OF_FORMAT_1 = {
    "ip",
    "port",
    "check",
    "weight",
    "state",
    "reason",
    "since",
    "registered",
    "revision",
}


def _plain(state: Replicated) -> bytes:
    return msgspec.msgpack.encode(state)


def entry(request_id: str = "a", since: int = 0, command: object = REGISTER) -> bytes:
    version = version_of(command)  # type: ignore[arg-type] # tests pass any command
    return msgspec.msgpack.encode(
        {"version": version, "request_id": request_id, "since": since, "command": command}
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
        state = Replicated(pool, format=2)
        data = entry(request_id, since, command)
        before = encode_state(state)
        once, again = (msgspec.msgpack.encode(apply(state, data)) for _ in range(2))
        self.assertEqual(once, again)
        self.assertEqual(encode_state(state), before)


class BytesTests(SynchronousTestCase):
    @given(POOLS, st.lists(COMMANDS, max_size=5))
    def test_a_state_comes_back_as_it_was(self, pool: Pool, commands: list[object]) -> None:
        """
        A state of format 2, and what later commands make of it, survives a snapshot.
        """
        state = Replicated(pool, format=2)
        back = state
        for number, command in enumerate(commands):
            back = decode_state(encode_state(back))
            data = entry(str(number), 0, command)
            (back, result), (state, expected) = apply(back, data), apply(state, data)
            self.assertEqual(msgspec.msgpack.encode(result), msgspec.msgpack.encode(expected))
            self.assertEqual(list(back.pool.servers), list(state.pool.servers))
        self.assertEqual(_plain(decode_state(encode_state(back))), _plain(state))

    @given(st.lists(OLD_COMMANDS, max_size=20))
    def test_format_1_has_its_fields_alone(self, commands: list[object]) -> None:
        """
        Commands of format 1 leave a state that programs of format 1 read, byte for byte.
        """
        state = Replicated()
        for number, command in enumerate(commands):
            state, result = apply(state, entry(str(number), 0, command))
            self.assertIsInstance(result, Applied)
        encoded = msgspec.msgpack.decode(encode_state(state))
        self.assertEqual(encoded["format"], 1)
        self.assertEqual(encoded["state"].keys(), {"pool", "recent", "older"})
        self.assertEqual(encoded["state"]["pool"].keys(), {"index", "servers"})
        outcomes = [each.get("server") for each in encoded["state"]["recent"].values()]
        for server in [*encoded["state"]["pool"]["servers"].values(), *filter(None, outcomes)]:
            self.assertEqual(server.keys(), FIELDS_OF_FORMAT_1)
        back = decode_state(encode_state(state))
        self.assertEqual((back, encode_state(back)), (state, encode_state(state)))

    def test_format_1_becomes_format_2(self) -> None:
        """
        Servers keep their revisions as versions, and who is up then was up.
        """
        up = Report("10.0.0.7:8080", 1, State.UP, "passed", 2.0)
        state = Replicated()
        for number, command in enumerate((REGISTER, up)):
            state, _ = apply(state, entry(str(number), 0, command))
        before = state.pool
        state, _ = apply(state, entry("format", 0, RaiseFormat(2)))
        self.assertEqual((state.pool, state.format), (before, 2))
        self.assertEqual(state.pool.servers["10.0.0.7:8080"].version, 1)
        self.assertEqual(decode_state(encode_state(state)), state)
        down = Report("10.0.0.7:8080", 1, State.DOWN, "500", 3.0, answered=True)
        state, _ = apply(state, entry("down", 0, down))
        server = state.pool.servers["10.0.0.7:8080"]
        self.assertEqual((server.version, server.may_fail_open), (3, True))

    def test_commands_of_format_2_do_not_pass_for_format_1(self) -> None:
        """
        The version of an envelope is at least that of its command, which older programs rely on.
        """
        commands: tuple[object, ...] = (
            Administer("10.0.0.7:8080", 1.0),
            ExpireLease("10.0.0.7:8080", 1, 1.0, GuardLimits(0.2, 60.0)),
            ReviveLease("10.0.0.7:8080", 1, 1.0),
            SpendGuard(1.0),
            DrawStickyKey(b"k"),
            Deregister("10.0.0.7:8080", 1.0, "", version=1),
            Report("10.0.0.7:8080", 1, State.STOPPING, "410", 1.0),
            msgspec.structs.replace(REGISTER, options=ServerOptions(priority=1)),
            msgspec.structs.replace(REGISTER, check=NoCheck()),
        )
        for command in commands:
            data = msgspec.msgpack.encode(
                {"version": 1, "request_id": "a", "since": 0, "command": command}
            )
            with self.subTest(command):
                state, result = apply(Replicated(), data)
                self.assertEqual(state, Replicated())
                self.assertEqual(result, Unreadable("the command is not one of version 1"))

    @given(st.binary(max_size=60))
    def test_garbage_is_no_state(self, data: bytes) -> None:
        self.assertRaises(NotReadable, decode_state, data)

    def test_a_newer_snapshot_is_not_read(self) -> None:
        data = msgspec.msgpack.encode({"format": 4, "state": {}})
        error = self.assertRaises(NotReadable, decode_state, data)
        self.assertEqual(str(error), "the snapshot has format 4; known here: up to 3")
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


class Golden2Tests(SynchronousTestCase):
    """
    Golden files of format 2 are read, and written in the same way. They may change until the
    release: C{python -m tests.support.golden} writes them anew.
    """

    def test_envelopes(self) -> None:
        """
        Each kind of command, with each field.
        """
        golden = (GOLDEN / "envelopes-v2.msgpack").read_bytes()
        kept = msgspec.msgpack.decode(golden, type=list[bytes])
        self.assertEqual([decode_envelope(each) for each in kept], list(ENVELOPES_2))
        self.assertEqual([encode_envelope(each) for each in ENVELOPES_2], kept)

    def test_a_state(self) -> None:
        """
        The state that the envelopes lead to has something in each field.
        """
        golden = (GOLDEN / "state-v2.msgpack").read_bytes()
        state = state_2()
        self.assertEqual(decode_state(golden), state)
        self.assertEqual(encode_state(state), golden)
        pool = state.pool
        self.assertEqual((state.format, pool.sticky_key), (2, bytes(range(32))))
        self.assertEqual(pool.guard.used, 1)
        servers = list(pool.servers.values())
        for field in ("options", "administration", "condition", "changed"):
            default = msgspec.structs.asdict(servers[0])[field]
            self.assertTrue(any(getattr(each, field) != default for each in servers[1:]), field)
        for condition in ("was_up", "answered", "lease_expired", "suspect", "disputed"):
            self.assertTrue(any(getattr(each.condition, condition) for each in servers), condition)


class Golden3Tests(SynchronousTestCase):
    """
    The same, for format 3.
    """

    def test_envelopes(self) -> None:
        golden = (GOLDEN / "envelopes-v3.msgpack").read_bytes()
        kept = msgspec.msgpack.decode(golden, type=list[bytes])
        self.assertEqual([decode_envelope(each) for each in kept], list(ENVELOPES_3))
        self.assertEqual([encode_envelope(each) for each in ENVELOPES_3], kept)

    def test_a_state(self) -> None:
        """
        The state is that of format 2, under another number, and with the cluster's id.
        """
        golden = (GOLDEN / "state-v3.msgpack").read_bytes()
        self.assertEqual(decode_state(golden), state_3())
        self.assertEqual(encode_state(state_3()), golden)
        self.assertEqual(state_3().cluster_id, "fedcba9876543210")
        before = msgspec.structs.replace(state_3(), format=2, cluster_id="")
        self.assertEqual(before, state_2())


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
