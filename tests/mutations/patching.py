"""
A module with a fault: its source is changed on the way in, nothing on disk is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import msgspec


class AnchorLost(Exception):
    """
    The text that a mutant replaces is not in the module, or not once. The message is one
    line.
    """


class Edit(msgspec.Struct, frozen=True):
    """
    A change of one module's source.

    @ivar old: the text that is replaced, which is there once.
    @ivar new: what stands there instead.
    """

    module: str
    old: str
    new: str


class Mutant(msgspec.Struct, frozen=True):
    """
    One fault.

    @ivar name: by which it is asked for.
    @ivar area: C{elections}, C{replication}, C{following}, C{storage}, C{reconfiguration},
        C{proposals}, C{replica}, C{pool} or C{leases}.
    @ivar fault: what is wrong, in words.
    @ivar seed: of the simulation, one that finds it; -1: none of 300 does, a test does.
    @ivar scenario: in which that seed finds it. (Which one a seed has by its number changes
        when a scenario is added.)
    @ivar equivalent: why nothing can find it; empty: something must.
    """

    name: str
    area: str
    fault: str
    edits: tuple[Edit, ...]
    seed: int = -1
    scenario: str = ""
    equivalent: str = ""


def mutated(mutant: Mutant) -> dict[str, tuple[str, str]]:
    """
    The source of each module that the mutant changes, with the fault, and its path.

    @raise AnchorLost: a text to replace is not there, or more than once.
    """
    sources: dict[str, tuple[str, str]] = {}
    for edit in mutant.edits:
        source, path = sources.get(edit.module) or _source(edit.module)
        found = source.count(edit.old)
        if found != 1:
            raise AnchorLost(
                f"{mutant.name}: {edit.module} has {edit.old!r} {found} times, and must have it "
                f"once: change tests/mutations/catalogue.py"
            )
        sources[edit.module] = source.replace(edit.old, edit.new), path
    return sources


@cache
def _source(module: str) -> tuple[str, str]:
    package = module.rpartition(".")[0]
    spec = PathFinder.find_spec(module, _search_path(package))
    if spec is None or spec.origin is None:
        raise AnchorLost(f"there is no module {module}: change tests/mutations/catalogue.py")
    return Path(spec.origin).read_text(encoding="utf-8"), spec.origin


def _search_path(package: str) -> Sequence[str] | None:
    """
    Where a package's modules are, without importing what the mutant may change.
    """
    parent = find_spec(package.partition(".")[0])
    if parent is None or parent.submodule_search_locations is None:
        return None
    paths = list(parent.submodule_search_locations)
    for part in package.split(".")[1:]:
        paths = [f"{each}/{part}" for each in paths]
    return paths


class _Faulty(MetaPathFinder, Loader):
    """
    Imports modules with faults in them.
    """

    def __init__(self, sources: dict[str, tuple[str, str]]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._sources:
            return None
        return ModuleSpec(fullname, self, origin=self._sources[fullname][1])

    def exec_module(self, module: ModuleType) -> None:
        source, path = self._sources[module.__name__]
        exec(compile(source, path, "exec"), vars(module))  # noqa: S102


def apply(mutant: Mutant) -> None:
    """
    Have this process import the mutant's modules with the fault.

    @raise AnchorLost: see L{mutated}.
    """
    sources = mutated(mutant)
    early = sorted(set(sources) & set(sys.modules))
    if early:
        raise AssertionError(f"{early[0]} is imported already")
    sys.meta_path.insert(0, _Faulty(sources))
