"""
The packages; all else is in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    # twistd finds plugins in a package that is Twisted's own, and is in no
    # directory of ours that a tool would take for a package.
    packages=[*find_packages(include=["alacrity", "alacrity.*"]), "twisted.plugins"],
    package_data={"alacrity": ["py.typed"]},
    zip_safe=False,
)
