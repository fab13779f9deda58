"""
No object of the data path assigns to the attributes of another.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.support.places import ROOT

ALLOWED: Final = {"self._sweep.clock"}
"""Twisted's LoopingCall is given its clock in no other way."""


def assigned(tree: ast.AST) -> Iterator[str]:
    """
    The attributes of others that a module assigns to.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            owner = node.value
            if not isinstance(owner, ast.Name) or owner.id != "self":
                yield ast.unparse(node)


class OwnershipTests(SynchronousTestCase):
    """
    The owners of attributes.
    """

    def test_own_attributes(self) -> None:
        """
        Each object sets its own attributes.
        """
        found = {
            each
            for path in sorted((ROOT / "alacrity" / "proxy").rglob("*.py"))
            for each in assigned(ast.parse(path.read_text()))
        }
        self.assertEqual(found, ALLOWED)

    def test_test(self) -> None:
        """
        It sees all ways of assigning.
        """
        tree = ast.parse("self.a = b.c = 1\nself.d.e += 1\nf.g, self.h = 1, 2\ni.j: int = 1")
        self.assertEqual(sorted(assigned(tree)), ["b.c", "f.g", "i.j", "self.d.e"])
