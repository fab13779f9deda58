"""
The names of PySyncObj's that the adapter spells.
"""

from __future__ import annotations

import re
from inspect import get_annotations, getsource
from pathlib import Path
from typing import Any

from pysyncobj import SyncObj
from twisted.trial.unittest import SynchronousTestCase

import alacrity
from alacrity.cluster.raft import adapter
from alacrity.cluster.raft.adapter import RaftAdapter
from alacrity.cluster.raft.membership import Members, encode_members
from tests.cluster.raft.engines import A, B, C, EngineCase

PRIVATE = "_SyncObj__"


class NamesTests(SynchronousTestCase):
    """
    PySyncObj is pinned, since names are used that are its private ones.
    """

    def test_what_is_overridden_or_called_is_there(self) -> None:
        spelled = set(re.findall(rf"{PRIVATE}\w+", getsource(adapter)))
        names = spelled - set(get_annotations(RaftAdapter))
        self.assertGreater(len(names), 6)
        for name in [*names, "_onTick", "_checkCommandsToApply"]:
            self.assertTrue(callable(getattr(SyncObj, name, None)), name)

    def test_the_attributes_that_are_used_are_there(self) -> None:
        source = SyncObj.__init__.__code__.co_names
        names = [name for name in get_annotations(RaftAdapter) if name.startswith(PRIVATE)]
        self.assertGreater(len(names), 6)
        for name in names:
            self.assertIn(name, source)

    def test_one_file_spells_them(self) -> None:
        package = Path(alacrity.__file__).parent
        files = [each for each in package.rglob("*.py") if PRIVATE in each.read_text("utf-8")]
        self.assertEqual(files, [Path(adapter.__file__)])


class BookKeepingTests(EngineCase):
    """
    The adapter shows PySyncObj's own state at all times.
    """

    def test_nothing_else_takes_its_place(self) -> None:
        engine: Any = self.lead(A, B, C)
        self.confirm(engine, "b")
        change = encode_members(Members("x", (A, B)))
        self.append("b", engine.term + 1, [(change, 4, engine.term + 1)], prev=(3, engine.term))
        self.assertEqual([each.name for each in engine.configuration], ["a", "b"])
        raft = engine.raft
        for shown, own in {
            "log": "raftLog",
            "others": "otherNodes",
            "connected": "connectedNodes",
            "next_index": "raftNextIndex",
            "match_index": "raftMatchIndex",
            "last_response": "lastResponseTime",
        }.items():
            self.assertIs(getattr(raft, shown), getattr(raft, PRIVATE + own), shown)
