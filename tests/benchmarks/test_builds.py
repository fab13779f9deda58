"""
L{benchmarks.builds}: compiled modules, and the package without them.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.builds import compiled_modules, loaded_modules, outdated, sources_alone

NAME = "parser.cpython-311-x86_64-linux-gnu.so"


class BuildTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        for path in ("alacrity/http1/__pycache__", "twisted/plugins"):
            (self.root / path).mkdir(parents=True)
        for path in ("alacrity/__init__.py", "alacrity/http1/parser.py", "twisted/plugins/a.py"):
            (self.root / path).write_text("pass\n")
        self.compiled = self.root / "alacrity/http1" / NAME

    def compile(self) -> None:
        """Put a compiled module beside its source, as new as that."""
        self.compiled.write_bytes(b"\x7fELF")
        source = self.compiled.with_name("parser.py")
        os.utime(self.compiled, ns=(source.stat().st_mtime_ns,) * 2)

    def test_nothing_is_compiled(self) -> None:
        self.assertEqual((compiled_modules(self.root), outdated(self.root)), ([], []))

    def test_compiled(self) -> None:
        self.compile()
        self.assertEqual(compiled_modules(self.root), [self.compiled])
        self.assertEqual(outdated(self.root), [])

    def test_changed_since(self) -> None:
        self.compile()
        source = self.compiled.with_name("parser.py")
        later = self.compiled.stat().st_mtime_ns + 1_000_000_000
        os.utime(source, ns=(later, later))
        self.assertEqual(outdated(self.root), [source])

    def test_sources_alone(self) -> None:
        self.compile()
        place = sources_alone(Path(self.mktemp()), self.root)
        found = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
        self.assertEqual(
            found, {"alacrity/__init__.py", "alacrity/http1/parser.py", "twisted/plugins/a.py"}
        )

    def test_copied_once(self) -> None:
        directory = Path(self.mktemp())
        place = sources_alone(directory, self.root)
        (place / "alacrity" / "mark").touch()
        self.assertEqual(sources_alone(directory, self.root), place)
        self.assertTrue((place / "alacrity" / "mark").exists())

    def test_loaded(self) -> None:
        """
        Of what a process has loaded, only modules of the package count, each once: not those
        of others, in whatever directory they are.
        """
        self.compile()
        (self.root / "alacrity/http1/__init__.py").touch()
        other = self.root / "alacrity/venv/lib/uvloop/loop.cpython-311-x86_64-linux-gnu.so"
        other.parent.mkdir(parents=True)
        other.touch()
        line = "7f00-7f01 r-xp 00000000 08:01 42                 "
        paths = [self.compiled.absolute(), self.compiled.absolute(), other.absolute(), "[heap]"]
        maps = "".join(f"{line}{path}\n" for path in paths)
        self.assertEqual(loaded_modules(maps), {self.compiled.absolute()})
        self.assertEqual(loaded_modules(""), set())
