"""
The packages, and the modules that are compiled; all else is in pyproject.toml.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from setuptools import find_packages, setup

COMPILED: Final = (
    "alacrity/http1/*.py",
    "alacrity/metrics/counters.py",
    "alacrity/net/acknowledgements.py",
    "alacrity/net/gate.py",
    "alacrity/net/portions.py",
    "alacrity/net/sockets.py",
    "alacrity/net/transports.py",
    "alacrity/net/turns.py",
    "alacrity/net/unsent.py",
    "alacrity/proxy/deadlines.py",
    "alacrity/proxy/interfaces.py",
    "alacrity/proxy/exchange/*.py",
    "alacrity/proxy/front/*.py",
    "alacrity/proxy/upstream/*.py",
    "alacrity/proxy/upstream/failing/*.py",
    "alacrity/proxy/upstream/policies/*.py",
)
"""The modules of the data path, which are compiled where that is possible."""

LEFT: Final = {
    # Their classes have bases of Twisted, of which mypyc knows nothing.
    "alacrity/proxy/front/frontend.py",
    "alacrity/proxy/upstream/connector.py",
    # Functions within functions that are decorated: mypyc 2.4 loses their variables.
    "alacrity/proxy/upstream/keys.py",
    # A msgspec.Struct that is a key of a dictionary: compiled, it has no hash.
    "alacrity/proxy/upstream/tiers.py",
}
"""Those of them that mypyc cannot compile."""

CONFIGURATION: Final = """
[mypy]
ignore_missing_imports = True
[mypy-twisted.*,zope.*]
follow_imports = skip
"""
"""
How mypyc reads them. Twisted and zope.interface need not be there, and if they are, are not read:
that needs a plugin. Whether the types are right, is checked by C{tox -e types}.
"""


def extensions() -> list[Any]:
    """
    The compiled modules. There are none with C{ALACRITY_PURE=1}, nor without a C compiler or
    mypyc: the same modules then run as they are.
    """
    if os.environ.get("ALACRITY_PURE", "0") not in {"", "0"}:
        return []
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return uncompiled(f"there is no C compiler ({compiler})")
    try:
        from mypyc.build import mypycify
    except ImportError:
        return uncompiled("mypyc is not installed")
    sources = {str(path) for pattern in COMPILED for path in Path().glob(pattern)}
    modules = sorted(path for path in sources - LEFT if not path.endswith("__init__.py"))
    with TemporaryDirectory() as directory:
        configuration = Path(directory, "mypy.ini")
        configuration.write_text(CONFIGURATION)
        try:
            built = mypycify([f"--config-file={configuration}", *modules], opt_level="3")
        except SystemExit:
            return uncompiled("mypyc does not take its sources")
    for extension in built:
        # Where compiling fails, such as without Python's headers, the modules run as they are.
        extension.optional = True
    return built


def uncompiled(reason: str) -> list[Any]:
    """Say in one line that nothing is compiled."""
    sys.stderr.write(f"alacrity: the data path is not compiled: {reason}\n")
    return []


setup(
    # twistd finds plugins in a package that is Twisted's own, and is in no
    # directory of ours that a tool would take for a package.
    packages=[*find_packages(include=["alacrity", "alacrity.*"]), "twisted.plugins"],
    package_data={"alacrity": ["py.typed"]},
    ext_modules=extensions(),
    zip_safe=False,
)
