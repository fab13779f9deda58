"""
How much memory a node takes, beyond its pool, while it replays its log or catches up.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from pysyncobj.node import Node
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.files import DirectoryFiles
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.environment import RaftLimits
from alacrity.cluster.raft.membership import bootstrap
from alacrity.cluster.raft.messages import AppendEntries, InstallSnapshot, plain
from alacrity.cluster.replica import Replica
from alacrity.cluster.state import (
    Envelope,
    Replicated,
    StateDraft,
    decode_state,
    encode_envelope,
    encode_state,
)
from alacrity.pool import Change, HttpCheck, Pool, PoolView, Register, Server, State, TcpCheck
from tests.cluster.raft.engines import Sent
from tests.simulation.clock import patched, use
from tests.simulation.world import World

MIB = 2**20
BOUND = 40.0
"""MiB beyond the pool itself."""

SERVERS = 10_000
MEMBERS = tuple(Member(name, f"{name}:8688") for name in "abc")


class _Transport(Sent):
    """
    Takes all, and delivers what a test says.
    """

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def greeting(self, name: str) -> None:
        """Nobody greets."""

    def fault(self, name: str) -> None:
        """None is known."""

    def refused(self) -> dict[str, str]:
        """Nobody is refused."""
        return {}

    def greet_again(self) -> None:
        """Nobody hears it."""

    def last_contact(self, name: str) -> float | None:
        return None

    def send(self, node: object, message: object) -> bool:
        return True


def _pool() -> Pool:
    servers = (
        Server(f"10.0.{n >> 8}.{n & 255}", 80, TcpCheck(), 1, State.UP, "connected", 1.0, 1.0, n)
        for n in range(1, SERVERS + 1)
    )
    return Pool(SERVERS, {server.id: server for server in servers})


def _entries(count: int, path: str) -> Iterator[bytes]:
    """
    Commands that register the servers anew, one after the other.
    """
    for n in range(count):
        at = 1 + n % SERVERS
        register = Register(f"10.0.{at >> 8}.{at & 255}", 80, HttpCheck(path), 1, 2.0)
        yield b"\0" + encode_envelope(Envelope(1, f"{n:024x}", SERVERS + n, register))


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        self.clock = Clock()
        self.view = PoolView()
        # A subscriber, as there is always one, that keeps nothing.
        self.changes = 0
        self.view.subscribe(self._changed)
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        self.state = encode_state(Replicated(_pool()))

    def _changed(self, _change: Change) -> None:
        self.changes += 1

    def begin(self) -> Storage:
        """
        The storage of a member of a cluster that has begun with many servers.
        """
        files = self.files = DirectoryFiles(self.path)
        storage = Storage.open(files, fsync=False)
        if not len(storage):
            bootstrap(storage, MEMBERS, self.state)
        return storage

    def start(self, storage: Storage) -> Replica:
        self.transport = _Transport()
        replica = Replica(
            MEMBERS[0], storage, self.transport, self.view, self.clock, maybeDeferred, Random(1)
        )
        self.addCleanup(self.files.close)
        self.addCleanup(self.stop, replica)
        self.successResultOf(Deferred.fromCoroutine(replica.start()))
        return replica

    def stop(self, replica: Replica) -> None:
        stopping = Deferred.fromCoroutine(replica.stop())
        self.clock.pump([0.0] * 5)
        self.successResultOf(stopping)

    def measured(self, final: bytes) -> None:
        """
        From now on, all counts that is beyond a final state's pool.
        """
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        pool = decode_state(final).pool
        self.pool_size = tracemalloc.get_traced_memory()[0]
        self.assertEqual(len(pool.servers), SERVERS)
        del pool
        gc.collect()
        self.before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()

    def assert_bounded(self) -> None:
        peak = tracemalloc.get_traced_memory()[1]
        beyond = (peak - self.before - self.pool_size) / MIB
        self.assertLess(beyond, BOUND)

    def final(self, storage: Storage) -> bytes:
        """
        The state after a log.
        """
        draft = StateDraft(decode_state(self.state))
        for command, _, _ in storage[:]:
            if command[:1] == b"\0":
                draft.apply(command[1:])
        return encode_state(draft.state())

    def replays(self, count: int, path: str) -> None:
        """
        Assert that a start with so many entries takes no more than is allowed.
        """
        storage = self.begin()
        for command in _entries(count, path):
            storage.add(command, storage[-1][1] + 1, 1)
        storage.setRaftCommitIndex(storage[-1][1])
        final = self.final(storage)
        storage.close()
        self.files.close()
        del storage
        self.measured(final)
        replica = self.start(self.begin())
        self.assert_bounded()
        self.assertEqual(self.view.pool.index, SERVERS + count)
        self.assertEqual(replica.state.pool, decode_state(final).pool)
        # Each was told of, once.
        self.assertEqual(self.changes, SERVERS + count)

    def test_start(self) -> None:
        self.replays(4990, "/health")

    def test_start_with_the_most_entries(self) -> None:
        """
        As many as there can be while a follower takes a snapshot.
        """
        self.replays(4 * RaftLimits().log, "/")

    def test_start_with_the_most_bytes(self) -> None:
        """
        Likewise, of long commands.
        """
        path = "/" + 2000 * "x"
        size = len(next(_entries(1, path)))
        self.replays(2 * max(RaftLimits().log_bytes, len(self.state) // 2) // size, path)

    def test_catching_up_by_entries(self) -> None:
        """
        A follower that was away is given all at once.
        """
        replica = self.start(self.begin())
        commands = list(_entries(RaftLimits().log, "/health"))
        messages = [
            AppendEntries(
                1,
                len(commands) + 2,
                2 + at,
                1 if at else 0,
                [(each, 3 + at + n, 1) for n, each in enumerate(commands[at : at + 300])],
                1,
            )
            for at in range(0, len(commands), 300)
        ]
        self.measured(self.state)
        for message in messages:
            self.transport._onMessageReceived(Node("b"), plain(message))
        while self.view.pool.index < SERVERS + len(commands):
            self.clock.advance(0)
        self.assert_bounded()
        self.assertEqual(replica.status().applied_index, len(commands) + 2)
        self.assertEqual(self.changes, SERVERS + len(commands))

    def test_catching_up_by_a_snapshot(self) -> None:
        """
        A follower that was away for long.
        """
        replica = self.start(self.begin())
        draft = StateDraft(decode_state(self.state))
        for command in _entries(RaftLimits().log, "/health"):
            draft.apply(command[1:])
        final = encode_state(draft.state())
        del draft
        members = list(MEMBERS)
        slices = range(0, len(final), RaftLimits().slice)
        self.measured(final)
        for at in slices:
            data = final[at : at + RaftLimits().slice]
            message = InstallSnapshot(1, 9000, 1, members, len(final), at, data, 1)
            self.transport._onMessageReceived(Node("b"), plain(message))
            self.clock.advance(0)
        self.assert_bounded()
        self.assertEqual(replica.status().applied_index, 9000)
        self.assertEqual(self.view.pool.index, SERVERS + RaftLimits().log)
