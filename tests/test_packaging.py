"""
Tests of what is installed: plugins, of all files, are easily left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.places import ROOT

SOURCE = ROOT


def run(*command: str | Path, directory: Path) -> str:
    """
    Run a command, and return what it says.
    """
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "ALACRITY_PURE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class WheelTests(SynchronousTestCase):
    """
    The wheel, in a virtual environment of its own.
    """

    def test_wheel(self) -> None:
        """
        Installed from a wheel, C{twistd} knows us wherever it is called; what comes
        along is the package, its marker of types, and the plugin; and C{alacrity} runs.
        """
        work = Path(self.mktemp()).absolute()
        copy = work / "source"
        copy.mkdir(parents=True)
        for name in ("alacrity", "twisted", "setup.py", "pyproject.toml", "README.md"):
            path = SOURCE / name
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(path, copy / name, ignore=ignored)
            else:
                shutil.copy(path, copy / name)
        options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
        pip = (sys.executable, "-m", "pip")
        run(*pip, "wheel", *options, "--no-build-isolation", "-w", work, copy, directory=work)
        (wheel,) = work.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        expected = {
            str(path.relative_to(SOURCE))
            for path in (SOURCE / "alacrity").rglob("*")
            if path.suffix == ".py" or path.name == "py.typed"
        }
        self.assertEqual(names, expected | {"twisted/plugins/alacrity_plugin.py"})

        venv.create(work / "venv", with_pip=False, symlinks=True)
        python = work / "venv" / "bin" / "python"
        run(*pip, "--python", python, "install", *options, wheel, directory=work)
        site = Path(
            run(
                python, "-c", "import site; print(site.getsitepackages()[0])", directory=work
            ).strip()
        )
        self.borrow_dependencies(site)
        elsewhere = work / "elsewhere"
        elsewhere.mkdir()
        said = run(
            python,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "alacrity",
            "--help",
            directory=elsewhere,
        )
        self.assertIn("An HTTP/1.1 reverse proxy and load balancer", said)
        self.assertIn("--state-dir=", said)
        said = run(
            python, work / "venv" / "bin" / "alacrity", "register", "--help", directory=elsewhere
        )
        self.assertIn("Run a server, and keep it registered while it runs.", said)
        where = run(python, "-c", "import alacrity; print(alacrity.__file__)", directory=elsewhere)
        self.assertEqual(Path(where.strip()).parent.parent, site)

    def borrow_dependencies(self, site: Path) -> None:
        """
        Have all that is installed here be there, but for ourselves.
        """
        ours = Path(sysconfig.get_path("purelib"))
        for path in ours.iterdir():
            if path.name == "twisted":
                ignored = shutil.ignore_patterns("alacrity_plugin*", "dropin.cache", "test")
                shutil.copytree(path, site / "twisted", ignore=ignored, dirs_exist_ok=True)
            elif not path.name.startswith("alacrity") and not (site / path.name).exists():
                (site / path.name).symlink_to(path)
