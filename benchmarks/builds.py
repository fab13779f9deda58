"""
Alacrity as this checkout has it: with its compiled modules, and from its sources alone.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acceptance.lab.nodes import Node
from acceptance.lab.processes import PROXY_CORE, ROOT, FileOutput
from acceptance.lab.waiting import Broken
from benchmarks.programs import CONNECTIONS

HOW_TO_COMPILE = "python setup.py build_ext --inplace, or pip install -e ."

_EXTENSIONS = "*.so"
_CONFIGURATION = """\
[timeouts]
client_idle = 600.0
server_idle = 600.0
[limits]
client_connections = {connections}
idle_per_server = 64
"""


def compiled_modules(root: Path = ROOT) -> list[Path]:
    """
    The compiled modules of a package in its place.

    @param root: the directory with the package in it.
    """
    return sorted((root / "alacrity").rglob(_EXTENSIONS))


def outdated(root: Path = ROOT) -> list[Path]:
    """
    The sources that were changed after they were compiled.
    """
    return [
        source
        for module in compiled_modules(root)
        if (source := module.with_name(f"{module.name.partition('.')[0]}.py")).is_file()
        and source.stat().st_mtime > module.stat().st_mtime
    ]


def sources_alone(directory: Path, root: Path = ROOT) -> Path:
    """
    Copy the package without its compiled modules, unless that is done.

    @param directory: where the copy goes.
    @return: the directory to import it from.
    """
    place = directory / "sources"
    if not place.is_dir():
        leave_out = shutil.ignore_patterns(_EXTENSIONS, "__pycache__")
        for package in ("alacrity", "twisted"):
            shutil.copytree(root / package, place / package, ignore=leave_out)
    return place


def loaded_modules(maps: str) -> set[Path]:
    """
    The compiled modules of Alacrity that a process has loaded, from wherever.

    @param maps: the content of its C{/proc/PID/maps}.
    """
    files = {Path(path) for path in re.findall(r" (/.*\.so)$", maps, re.MULTILINE)}
    return {path for path in files if _package(path) == "alacrity"}


def _package(module: Path) -> str:
    """
    The outermost package that a module is in; empty if it is in none.
    """
    name = ""
    for directory in module.parents:
        # A checkout, too, may be a directory of that name.
        if not (directory / "__init__.py").exists():
            break
        name = directory.name
    return name


@contextmanager
def start_node(directory: Path, configuration: str = "", *, sources: Path = ROOT) -> Iterator[Node]:
    """
    Run Alacrity as a cluster of one without servers.

    @param configuration: the content of its file; empty: that of the comparison.
    @param sources: the directory to import it from: this checkout as it stands, or a copy.
    @raise Broken: it does not start.
    """
    # Each run begins with an empty pool, whatever one before it in the directory kept.
    place = Path(tempfile.mkdtemp(prefix="node-", dir=directory))
    node = Node(
        place,
        configuration=configuration or _CONFIGURATION.format(connections=CONNECTIONS),
        output=FileOutput(place / "log"),
        environment={"PYTHONPATH": str(sources)},
        core=PROXY_CORE,
    )
    with node:
        yield node.started()


def expect_build(node: Node, *, compiled: bool) -> None:
    """
    See that a node runs what it is to be measured as.

    @raise Broken: it has loaded compiled modules and should not, or the reverse.
    """
    loaded = loaded_modules(Path(f"/proc/{node.pid}/maps").read_text())
    if bool(loaded) != compiled:
        has = f"{len(loaded)} compiled modules" if loaded else "no compiled module"
        raise Broken(f"{node.name} has loaded {has} and would be measured as another build")
