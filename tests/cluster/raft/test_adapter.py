"""
The names of PySyncObj's that the adapter spells.
"""

from __future__ import annotations

import re
from inspect import get_annotations, getsource
from pathlib import Path

from pysyncobj import SyncObj
from twisted.trial.unittest import SynchronousTestCase

import alacrity
from alacrity.cluster.raft import adapter
from alacrity.cluster.raft.adapter import RaftAdapter

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
