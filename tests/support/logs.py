"""
Storages of the log to test with: their state as one value, and random steps to change them.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from alacrity.cluster.log.files import Files
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Snapshot, Storage
from tests.support.fake_files import FakeFiles

INCARNATION = "00112233445566778899aabbccddeeff"

MEMBERS = (Member("a", "10.0.0.1:8688"), Member("b", "10.0.0.2:8688"))


def opened(files: Files, **options: Any) -> Storage:
    return Storage.open(files, new_incarnation=lambda: INCARNATION, **options)


def state_of(storage: Storage) -> object:
    """
    The persistent state, as a value that can be compared.
    """
    return (
        storage.incarnation,
        storage.getCurrentTerm(),
        storage.getVotedForNodeId(),
        storage.getRaftCommitIndex(),
        tuple(storage[:]),
        storage.snapshot,
        storage.peers,
    )


def snapshot_of(storage: Storage, index: int, state: bytes = b"state") -> Snapshot:
    """
    A snapshot at an entry of the log that is not its first.
    """
    at = index - storage[0][1]
    previous = storage[at - 1][1:]
    return Snapshot(state, *storage[at][1:], MEMBERS, previous)


def filled() -> FakeFiles:
    """
    A disk with a log of five frames.
    """
    files = FakeFiles()
    storage = opened(files)
    storage.add(b"\1", 1, 0)
    storage.sync()
    storage.setCurrentTerm(1, "a")
    storage.sync()
    storage.add(b"\0one", 2, 1)
    storage.add(b"\0two", 3, 1)
    storage.sync()
    storage.remember_peer("b", INCARNATION[::-1])
    storage.setRaftCommitIndex(3)
    storage.sync()
    return files


_KINDS = {
    "add": 6,
    "truncate": 1,
    "term": 1,
    "commit": 1,
    "peer": 1,
    "forget": 1,
    "second": 1,
    "trim": 1,
    "sync": 4,
    "prepare": 3,
    "write": 4,
    "adopt": 4,
    "replace": 1,
}


def steps_of(rng: Random) -> list[tuple[str, int, int]]:
    """
    Random steps: each is a kind, and two numbers that are its parameters.
    """
    kinds = rng.choices(list(_KINDS), list(_KINDS.values()), k=rng.randint(1, 60))
    return [(kind, rng.randint(0, 9), rng.randint(0, 9)) for kind in kinds]


# Not lists of steps, which hypothesis keeps too short for a compaction to come about.
STEPS = st.integers(0, 1 << 62).map(Random).map(steps_of)


class Life:
    """
    A storage, the steps done to it, and the states in which a crash may leave it.
    """

    def __init__(self, files: FakeFiles, storage: Storage) -> None:
        self.files = files
        self.storage = storage
        self.compaction: Any = None
        self.written = False
        self.possible = [state_of(storage)]

    def step(self, kind: str, a: int, b: int) -> None:
        storage = self.storage
        if kind == "sync":
            state = state_of(storage)
            self.possible.append(state)
            try:
                storage.sync()
            except OSError:
                return
            self.possible = [state]
        elif kind == "write":
            if self.compaction is not None and not self.written:
                try:
                    self.compaction.write()
                except OSError:
                    self.compaction = None
                else:
                    self.written = True
        else:
            self.change(storage, kind, a, b)

    def change(self, storage: Storage, kind: str, a: int, b: int) -> None:
        last = storage[-1][1] if len(storage) else 0
        least = 0 if storage.snapshot is None else storage.snapshot.last_index
        if kind == "add":
            storage.add(b"command" * a, last + 1, storage.getCurrentTerm())
        elif kind == "truncate":
            keep = max(1, least - storage[0][1] + 1) if len(storage) else 0
            storage.deleteEntriesFrom(max(keep, len(storage) - a))
        elif kind == "term":
            storage.setCurrentTerm(storage.getCurrentTerm() + a, [None, "a", "b"][b % 3])
        elif kind == "commit":
            storage.setRaftCommitIndex(max(1, last - a))
        elif kind == "peer":
            storage.remember_peer(f"peer{a % 3}", f"{b:032x}")
        elif kind == "forget":
            storage.forget_peer(f"peer{a % 3}")
        elif kind == "second":
            storage.onOneSecondTimer()
        elif kind == "prepare":
            if self.compaction is None and len(storage) > 1:
                at = max(1, len(storage) - 1 - a)
                index = storage[at][1]
                if index >= least:
                    self.compaction = storage.prepare(snapshot_of(storage, index, b"%d" % b))
                    self.written = False
        elif kind == "adopt":
            if self.compaction is not None and self.written:
                storage.adopt(self.compaction)
                self.compaction = None
        elif kind == "replace":
            index = last + 1 + a
            entries = [(b"p", index, 1), (b"l", index + 1, 2), (b"n", index + 2, 2)][: 2 + b % 2]
            storage.replace(Snapshot(b"new", index + 1, 2, MEMBERS, (index, 1)), entries)
        elif kind == "trim" and storage.snapshot is not None:
            storage.deleteEntriesTo(min(a, storage.snapshot.first_kept - storage[0][1]))
