"""
Crashes and disk failures at any moment: what was synced is never lost.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.fake_files import Crashed, FakeFiles
from tests.support.logs import (
    STEPS,
    Life,
    opened,
    state_of,
)


class CrashTests(SynchronousTestCase):
    """
    Random changes, ended by a crash or interrupted by failures at random.
    """

    @settings(max_examples=1500, deadline=None)
    @given(
        STEPS,
        st.integers(0, 60),
        st.sets(st.integers(0, 60), max_size=3),
        st.integers(0, 1 << 30),
        st.booleans(),
        st.booleans(),
    )
    def test_crash(
        self,
        steps: list[tuple[str, int, int]],
        crash_at: int,
        fail_at: set[int],
        seed: int,
        power: bool,
        fsync: bool,
    ) -> None:
        """
        After a crash, the synced state is there, maybe with the changes of an interrupted
        sync, and no other. Without fsync this holds for the death of the process.
        """
        power = power and fsync
        files = FakeFiles()
        files.crash_at = crash_at
        life = None
        try:
            storage = opened(files, fsync=fsync)
            life = Life(files, storage)
            files.fail_at = fail_at
            for step in steps:
                life.step(*step)
        except Crashed:
            pass
        rng = Random(seed)
        found = files.crash(rng, power=power)
        content = found.content()
        with capturedLogs():
            again = opened(found, fsync=fsync)
        if life is None:
            self.assertEqual(len(again), 0)
        else:
            self.assertIn(state_of(again), life.possible)
        # It goes on from there, and reading it changes nothing.
        last = again[-1][1] if len(again) else 0
        self.assertEqual(state_of(opened(FakeFiles(found.content()))), state_of(again), content)
        again.add(b"more", last + 1, 9)
        again.sync()
        self.assertEqual(state_of(opened(found.crash(None, power=power))), state_of(again))

    @settings(max_examples=500, deadline=None)
    @given(STEPS, st.sets(st.integers(3, 40), max_size=8))
    def test_failures(self, steps: list[tuple[str, int, int]], fail_at: set[int]) -> None:
        """
        After failed writes, the first that succeeds brings all changes to disk.
        """
        files = FakeFiles()
        storage = opened(files)
        files.fail_at = fail_at
        life = Life(files, storage)
        for step in steps:
            life.step(*step)
        files.fail_at = set()
        storage.sync()
        self.assertFalse(storage.dirty)
        self.assertEqual(state_of(opened(files.crash())), state_of(storage))
