"""
Tests of what the documents say that the program can tell: links, configuration keys with
their defaults, lines of the log.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import Settings
from tests.support.places import ROOT

PAGES: Final = tuple(
    page
    for directory in ("", "acceptance", "benchmarks", "docs")
    for page in sorted((ROOT / directory).glob("*.md"))
)

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_VARIABLE: Final = re.compile(r"NAME|NODE|ADDRESS|URL|\bN\b|…|\d+|raft\.log|refused: ")
"""The parts of a quoted line that differ from case to case, or come before many reasons."""

_SHORTEST: Final = 8
"""Characters of a constant part of a line that are enough to recognise it."""


def text_of(path: Path) -> str:
    """
    The text of a page.
    """
    return path.read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """
    The anchors that GitHub gives the headings of a page.
    """
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def rows(text: str, head: str) -> Iterator[list[str]]:
    """
    The cells of each row of the table with a certain first line.
    """
    _, _, rest = text.partition(f"\n{head}\n")
    assert rest, head
    for line in rest.splitlines()[1:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in re.split(r" \|(?= )", line.removesuffix(" |")[1:])]


def code(cell: str) -> list[str]:
    """
    The pieces of code in a cell.
    """
    return re.findall(r"`([^`]+)`", cell)


def value_of(cell: str) -> list[Any]:
    """
    The defaults in a cell, of one key each.

    @raise tomllib.TOMLDecodeError: it has words instead.
    """
    if cell == "none":
        return [None]
    values: list[Any] = tomllib.loads(f"values = [{cell.replace('`', '')}]")["values"]
    return values


def plain(value: object) -> object:
    """
    A default as TOML has it.
    """
    if isinstance(value, tuple):
        return list(value)
    return None if value == "" else value


class LinkTests(SynchronousTestCase):
    """
    Links from page to page.
    """

    def test_targets(self) -> None:
        """
        Each leads to a file that is there, and to a heading in it.
        """
        for page in PAGES:
            for link in _LINK.findall(text_of(page)):
                if link.startswith(("http:", "https:")):
                    continue
                name, _, anchor = link.partition("#")
                target = (page.parent / name).resolve() if name else page
                self.assertTrue(target.exists(), f"{page.name}: {link}")
                if anchor:
                    self.assertIn(anchor, anchors(text_of(target)), f"{page.name}: {link}")


class GlossaryTests(SynchronousTestCase):
    """
    The glossary.
    """

    def test_order(self) -> None:
        """
        Its terms are in alphabetical order, each once.
        """
        terms = re.findall(r"(?m)^- \*\*([^*]+)\*\*", text_of(ROOT / "docs" / "glossary.md"))
        self.assertEqual(terms, sorted(set(terms), key=str.lower))


class ConfigurationTests(SynchronousTestCase):
    """
    The tables of configuration keys.
    """

    def assert_documented(self, table: str, documented: dict[str, str]) -> None:
        """
        See that a table of the configuration has these keys, with these defaults.
        """
        defaults = getattr(Settings(), table)
        fields = [field.name for field in msgspec.structs.fields(defaults)]
        self.assertEqual(sorted(documented), sorted(fields), table)
        for key, cell in documented.items():
            try:
                (value,) = value_of(cell)
            except tomllib.TOMLDecodeError:
                continue  # It follows from another key, which it names.
            self.assertEqual(plain(getattr(defaults, key)), value, f"{table}.{key}")

    def test_readme(self) -> None:
        """
        The README has each key of each table with its default.
        """
        found: dict[str, dict[str, str]] = {}
        table = ""
        readme = text_of(ROOT / "README.md")
        for first, keys, defaults, _ in rows(readme, "| table | key | default | meaning |"):
            table = "".join(code(first)) or table
            documented = found.setdefault(table, {})
            names = code(keys)
            cells = [defaults] if len(names) < 2 else defaults.split(", ")
            documented.update(zip(names, cells, strict=True) if names else ())
        self.assertEqual(sorted(found), sorted(Settings.__struct_fields__))
        self.assertEqual(found.pop("cluster"), {})
        for name, documented in found.items():
            self.assert_documented(name, documented)

    def test_cluster(self) -> None:
        """
        The page on the cluster has those of its table. A name depends on the address.
        """
        page = text_of(ROOT / "docs" / "cluster.md")
        documented = {
            code(key)[0]: default for key, default, _ in rows(page, "| key | default | meaning |")
        }
        self.assertEqual(documented.pop("name"), "`advertise`")
        self.assert_documented("cluster", {**documented, "name": "from `advertise`"})


class LogLineTests(SynchronousTestCase):
    """
    The lines of the log that the page on operations explains.
    """

    def test_lines(self) -> None:
        """
        The program has the words of each.
        """
        strings = {
            node.value
            for path in (ROOT / "alacrity").rglob("*.py")
            for node in ast.walk(ast.parse(text_of(path)))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        page = text_of(ROOT / "docs" / "operations.md")
        lines = [line for first, _ in rows(page, "| line | meaning |") for line in code(first)]
        self.assertGreater(len(lines), 10)
        for line in lines:
            parts = [part for part in _VARIABLE.split(line) if len(part.strip()) >= _SHORTEST]
            self.assertTrue(parts, line)
            for part in parts:
                words = part.removeprefix(": ").strip()
                self.assertTrue(any(words in text for text in strings), f"{line}: {words}")
