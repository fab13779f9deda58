"""
The rooms of C{alacrity}: the table in C{docs/architecture.md} says what the contracts in
C{pyproject.toml} enforce, and knows each room.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.places import ROOT

_ROW = re.compile(r"^\| `([a-z0-9.]+)` \| (.*) \|$")
_PARTS_OF_PROXY = ("interfaces", "events", "deadlines", "upstream", "exchange", "front")


def documented() -> dict[str, set[str]]:
    """
    The table: the imports that each room is allowed.
    """
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## What each room may import\n")[2].partition("\n## ")[0]
    rows = filter(None, map(_ROW.match, section.splitlines()))
    return {row[1]: set(re.findall(r"`([^`]+)`", row[2])) for row in rows}


def enforced(contracts: list[Mapping[str, Any]]) -> dict[str, set[str]]:
    """
    The same, by the contracts: the rooms that are not forbidden, and the exceptions.
    """
    forbidding = [each for each in contracts if each["type"] == "forbidden"]
    rooms = {each["id"] for each in forbidding}
    allowed = {}
    for each in forbidding:
        forbidden = {name.removeprefix("alacrity.") for name in each["forbidden_modules"]}
        exceptions = {
            rule.partition(" -> ")[2].removeprefix("alacrity.")
            for rule in each.get("ignore_imports", ())
        }
        allowed[each["id"]] = (rooms - forbidden - {each["id"]}) | exceptions
    return allowed


class ImportTests(SynchronousTestCase):
    def setUp(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        self.linter = project["tool"]["importlinter"]

    def test_the_table_is_what_is_enforced(self) -> None:
        self.assertEqual(documented(), enforced(self.linter["contracts"]))

    def test_every_room_has_a_row(self) -> None:
        rooms = {
            path.stem
            for path in (ROOT / "alacrity").iterdir()
            if path.name != "__init__.py"
            and (path.suffix == ".py" or (path / "__init__.py").exists())
        }
        rooms.remove("proxy")
        self.assertEqual(set(documented()), rooms | {f"proxy.{part}" for part in _PARTS_OF_PROXY})

    def test_contracts_are_about_their_rooms_alone(self) -> None:
        for each in self.linter["contracts"]:
            if each["type"] == "forbidden":
                self.assertEqual(each["source_modules"], [f"alacrity.{each['id']}"])
                self.assertTrue(each["allow_indirect_imports"])

    def test_imports_for_types_count(self) -> None:
        self.assertFalse(self.linter.get("exclude_type_checking_imports", False))

    def test_there_are_no_circles(self) -> None:
        (circles,) = (each for each in self.linter["contracts"] if each["id"] == "circles")
        self.assertEqual(
            (circles["type"], circles["ancestors"]), ("acyclic_siblings", ["alacrity"])
        )
