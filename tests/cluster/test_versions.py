"""
Two versions: what the one that is shipped has written, a newer one reads; what is new,
the one that is shipped refuses.
"""

from __future__ import annotations

from random import Random

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import NAME, Storage
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.raft.membership import Members, decode_members, encode_members
from alacrity.cluster.replica import Replica
from alacrity.cluster.state import Replicated, apply, decode_state, envelope_version
from alacrity.pool import Pool, PoolView
from tests.cluster.raft.engines import Sent
from tests.simulation.clock import patched, use
from tests.simulation.newer import VERSION, NewEnvelope, NewerMachine, Touch
from tests.simulation.older import OlderMachine, SecondMachine
from tests.simulation.world import World
from tests.support.fake_files import FakeFiles
from tests.support.places import GOLDEN

MEMBER = Member("a", "10.0.0.1:8688")
TOUCH = msgspec.msgpack.encode(NewEnvelope(VERSION, "t", 0, Touch(8080, 9.0)))
VERSIONS = (OlderMachine, SecondMachine, PoolMachine, NewerMachine)


class _Alone(Sent):
    """
    A transport of a node without peers.
    """

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class VersionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        self.clock = Clock()
        self.view = PoolView()

    def make(self, machine: PoolMachine, files: FakeFiles) -> Replica:
        return Replica(
            MEMBER,
            Storage.open(files),
            _Alone(),
            self.view,
            self.clock,
            maybeDeferred,
            Random(1),
            machine=machine,
        )

    def envelopes(self, version: int = 1) -> list[bytes]:
        golden = (GOLDEN / f"envelopes-v{version}.msgpack").read_bytes()
        return msgspec.msgpack.decode(golden, type=list[bytes])

    def pool(self) -> Pool:
        state = Replicated()
        for each in self.envelopes():
            state, _ = apply(state, each)
        return state.pool

    def test_each_version_applies_the_commands_of_the_first(self) -> None:
        for version in VERSIONS:
            machine = version()
            for each in self.envelopes():
                self.assertTrue(machine.readable(each, 1))
                machine.apply(each)
            self.assertEqual(machine.state.pool, self.pool())
            self.assertEqual(machine.encode(), (GOLDEN / "state-v1.msgpack").read_bytes())

    def test_each_version_takes_the_state_of_the_first(self) -> None:
        golden = (GOLDEN / "state-v1.msgpack").read_bytes()
        for version in VERSIONS:
            machine = version()
            machine.restore(golden)
            self.assertEqual(machine.state, decode_state(golden))

    def test_the_second_version(self) -> None:
        """
        The raising of the format, and commands of both, after the commands of the first.
        """
        envelopes = self.envelopes(2)
        new = [each for each in envelopes if envelope_version(each) == 2]
        self.assertIs(new[0], envelopes[0])
        golden = (GOLDEN / "state-v2.msgpack").read_bytes()
        for version in VERSIONS[1:]:
            machine = version()
            for each in self.envelopes():
                machine.apply(each)
            for each in new:
                self.assertFalse(machine.readable(each, 1))
                self.assertTrue(machine.readable(each, 2))
            for each in envelopes:
                machine.apply(each)
                # From now on nobody needs to be heard.
                self.assertTrue(all(machine.readable(other, 1) for other in new))
            self.assertEqual((machine.encode(), machine.format), (golden, 2))
            again = version()
            again.restore(golden)
            self.assertEqual(again.state, machine.state)
        older = OlderMachine()
        self.assertFalse(older.readable(envelopes[0], 2))
        self.assertRaises(CannotApply, older.apply, envelopes[0])
        self.assertRaises(CannotApply, older.restore, golden)

    def test_all_start_with_the_file_of_the_first(self) -> None:
        """
        The only member of a cluster, with a snapshot after the first two of the golden
        envelopes, and the others as entries 6 to 8, the last not known to be committed.
        (Written by the first version; leave the file alone.)
        """
        golden = (GOLDEN / "node-1.bin").read_bytes()
        for version in VERSIONS:
            with self.subTest(version.__name__):
                self.view = PoolView()
                replica = self.make(version(), FakeFiles({NAME: golden}))
                self.successResultOf(Deferred.fromCoroutine(replica.start()))
                for _ in range(60):
                    self.world.now += 0.05
                    self.clock.advance(0.05)
                self.assertTrue(replica.is_leader)
                self.assertEqual(self.view.pool, self.pool())
                self.assertEqual(replica.format, min(version.version, NEWEST_FORMAT))
                self.successResultOf(Deferred.fromCoroutine(replica.stop()))

    def test_an_entry_about_the_members(self) -> None:
        """
        Membership entries as they are written now, and as they were before they named incarnations.
        """
        written = bytes.fromhex(
            "0292a1789295a161a3613a3100a00095a162a3623a3107d920" + "6162" * 16 + "03"
        )
        members = (Member("a", "a:1"), Member("b", "b:1", 7, "ab" * 16, 3))
        self.assertEqual(encode_members(Members("x", members)), written)
        self.assertEqual(decode_members(written), Members("x", members))
        before = bytes.fromhex("0292a1789293a161a3613a310093a162a3623a3107")
        without = (Member("a", "a:1"), Member("b", "b:1", 7))
        self.assertEqual(decode_members(before), Members("x", without))

    def test_this_version_does_not_take_what_is_new(self) -> None:
        newer = NewerMachine()
        newer.apply(TOUCH)
        this = PoolMachine()
        self.assertTrue(newer.readable(TOUCH, 4))
        self.assertFalse(newer.readable(TOUCH, 3))
        self.assertFalse(this.readable(TOUCH, 4))
        error = self.assertRaises(CannotApply, this.apply, TOUCH)
        self.assertEqual(str(error), "the command has version 4; known here: up to 3")
        error = self.assertRaises(CannotApply, this.restore, newer.encode())
        self.assertEqual(str(error), "the snapshot has format 4; known here: up to 3")
        self.assertEqual(this.state, Replicated())
        again = NewerMachine()
        again.restore(newer.encode())
        self.assertEqual(again.state, newer.state)
