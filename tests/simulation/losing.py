"""
The loss of the state directories of most nodes at once, as when a disk that they share is not
mounted, until an operator brings them back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.simulation.nodes import Node
from tests.simulation.world import World
from tests.support.fake_files import FakeFiles


class LostDirectories:
    """
    Starts most nodes with empty directories, as they are configured, and later with their own
    again. Meanwhile they must not begin a cluster among themselves.
    """

    def __init__(
        self,
        world: World,
        nodes: dict[str, Node],
        lost: Callable[[str], None],
        found: Callable[[str], None],
    ) -> None:
        """
        @param lost: called with the name of a node that has lost its files.
        @param found: called with the name of a node that has its files again.
        """
        self._world = world
        self._nodes = nodes
        self._tell_lost = lost
        self._tell_found = found
        self._kept: dict[str, FakeFiles] = {}
        self._peace = False

    @property
    def under_way(self) -> bool:
        """
        Whether directories are away.
        """
        return bool(self._kept)

    def lose(self) -> None:
        """
        Have most nodes start with empty directories, if all nodes have begun.
        """
        nodes = list(self._nodes.values())
        if self._peace or self._kept or not all(self._has_begun(each) for each in nodes):
            return
        rng = self._world.rng
        for node in rng.sample(nodes, len(nodes) // 2 + 1):
            self._world.note(f"{node.name} loses its directory")
            node.kill(power=rng.random() < 0.5)
            self._kept[node.name] = node.files
            self._tell_lost(node.name)
            node.files = FakeFiles()
            self._world.schedule(
                rng.uniform(0.05, 0.5), self._world.outside, partial(self._start, node)
            )
        self._world.schedule(rng.uniform(2.0, 6.0), self._world.outside, self._bring_back)

    @staticmethod
    def _has_begun(node: Node) -> bool:
        return (
            node.running
            and node.replica is not None
            and not node.time.paused
            and node.replica.status().applied_index > 2
        )

    def _start(self, node: Node) -> None:
        if node.name in self._kept and not node.running:
            node.start()

    def _bring_back(self) -> None:
        for name, files in sorted(self._kept.items()):
            node = self._nodes[name]
            self._world.note(f"{name} has its directory again")
            node.kill()
            node.files = files
            self._tell_found(name)
        names, self._kept = sorted(self._kept), {}
        for name in names:
            self._nodes[name].start()

    def make_peace(self) -> None:
        """
        Bring the directories back, and let no more be lost.
        """
        self._peace = True
        self._bring_back()
