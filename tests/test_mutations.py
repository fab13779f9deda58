"""
The catalogue of mutants fits the code, and the machinery that applies them works. What
finds each, C{python -m tests.mutations} says.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.mutations.catalogue import CATALOGUE, SAMPLE
from tests.mutations.patching import AnchorLost, Edit, Mutant, mutated
from tests.simulation.scenarios import SCENARIOS
from tests.support.places import ROOT

_ROOT = ROOT

AREAS = {
    "elections",
    "replication",
    "following",
    "storage",
    "reconfiguration",
    "proposals",
    "replica",
    "pool",
    "leases",
    "sight",
}


class CatalogueTests(SynchronousTestCase):
    def test_each_mutant_can_be_applied(self) -> None:
        for mutant in CATALOGUE.values():
            with self.subTest(mutant.name):
                for source, path in mutated(mutant).values():
                    compile(source, path, "exec")

    def test_each_area_has_some(self) -> None:
        areas = Counter(each.area for each in CATALOGUE.values())
        self.assertEqual(set(areas), AREAS)
        self.assertGreaterEqual(min(areas.values()), 5)
        self.assertGreaterEqual(len(CATALOGUE), 60)

    def test_names_are_unique(self) -> None:
        """
        None has taken the place of another one in the catalogue.
        """
        from tests.mutations import catalogue

        self.assertEqual(len(catalogue._MUTANTS), len(CATALOGUE))

    def test_the_sample_is_known_by_seeds(self) -> None:
        self.assertEqual(len(SAMPLE), 8)
        for name in SAMPLE:
            self.assertGreaterEqual(CATALOGUE[name].seed, 0, name)

    def test_a_known_seed_has_its_scenario(self) -> None:
        for mutant in CATALOGUE.values():
            with self.subTest(mutant.name):
                self.assertEqual(mutant.scenario in SCENARIOS, mutant.seed >= 0)

    def test_an_anchor_that_is_gone(self) -> None:
        for old, times in (("no such text", 0), ("self", None)):
            edit = Edit("alacrity.cluster.raft.adapter", old, "")
            error = self.assertRaises(AnchorLost, mutated, Mutant("m", "a", "f", (edit,)))
            self.assertIn("and must have it once: change tests/mutations/catalogue.py", str(error))
            if times is not None:
                self.assertIn(f"{times} times", str(error))

    def test_a_module_that_is_gone(self) -> None:
        edit = Edit("alacrity.cluster.gone", "", "")
        error = self.assertRaises(AnchorLost, mutated, Mutant("m", "a", "f", (edit,)))
        self.assertIn("there is no module alacrity.cluster.gone", str(error))


class OneTests(SynchronousTestCase):
    def ask(self, name: str, *how: str) -> str:
        command = [sys.executable, "-m", "tests.mutations.one", name, *how]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_ROOT)
        return done.stdout.splitlines()[-1]

    def test_a_seed_finds_one(self) -> None:
        self.assertRegex(self.ask("vote-unsaved", "seeds", "0"), r"killed: seed 0, partitions: ")

    def test_a_seed_does_not_find_another(self) -> None:
        self.assertEqual(self.ask("truncation-unsaved", "seeds", "0"), "survived")
