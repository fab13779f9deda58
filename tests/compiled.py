"""
Tests with the compiled modules: C{python -m tests.compiled DIRECTORY [PYTEST ARGUMENTS]}.

Compiles them in a copy of the checkout, so that all other tests run the modules as they are, and
runs tests there; by default, those of the data path and of the whole program.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.places import ROOT

DEFAULT: Final = (
    "tests/http1",
    "tests/net",
    "tests/node",
    "tests/proxy",
    "tests/integration",
    "tests/system/test_bad_input.py",
    "tests/system/test_node.py",
    "tests/system/test_slow_peers.py",
    "tests/system/test_stopping.py",
    "tests/system/test_websockets.py",
)

LEFT_OUT: Final = shutil.ignore_patterns(
    *(".*", "_trial_temp*", "__pycache__", "build", "dist", "venv", "*.egg-info", "*.so"),
)


def main() -> int:
    """
    Compile and test; the exit status.
    """
    directory, *arguments = sys.argv[1:]
    checkout = Path(directory)
    shutil.rmtree(checkout, ignore_errors=True)
    shutil.copytree(ROOT, checkout, ignore=LEFT_OUT)
    environment = {name: value for name, value in os.environ.items() if name != "ALACRITY_PURE"}
    build = [sys.executable, "setup.py", "build_ext", "--inplace"]
    subprocess.run(build, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
    environment["PYTHONPATH"] = str(checkout)
    asked = "from alacrity.http1.compiled import is_compiled; print(is_compiled())"
    said = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if said != "True\n":
        sys.stderr.write("The modules were not compiled.\n")
        return 1
    command = [sys.executable, "-m", "pytest", *(arguments or DEFAULT)]
    return subprocess.run(command, cwd=checkout, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
