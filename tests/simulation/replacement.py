"""
The loss of a node's files, and its replacement by an operator, who takes his time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from alacrity.cluster.log.persistent import replay
from alacrity.cluster.log.records import parse_log
from alacrity.cluster.log.storage import NAME
from tests.simulation.network import Wires
from tests.simulation.nodes import Node, address_of
from tests.simulation.world import World


class Change(Protocol):
    """
    Waits for a change of the members.
    """

    def __call__(
        self,
        what: str,
        name: str,
        deferred: Deferred[None],
        then: Callable[[], None],
        otherwise: Callable[[], None],
    ) -> None: ...


class Replacement:
    """
    Has nodes lose their files, one at a time: never so many that there is nobody to know
    what was acknowledged. Such a node runs again, as it is configured. It must count for
    nothing until it is removed and added again, empty.
    """

    def __init__(
        self, world: World, network: Wires, nodes: dict[str, Node], change: Change
    ) -> None:
        """
        @param nodes: three.
        """
        self._world = world
        self._network = network
        self._nodes = nodes
        self._change = change
        self._lost: str | None = None
        self._peace = False

    @property
    def under_way(self) -> bool:
        """
        Whether a node has lost its files, and is not replaced yet.
        """
        return self._lost is not None

    def make_peace(self) -> None:
        """
        Let no more files be lost.
        """
        self._peace = True

    def lose(self) -> None:
        """
        Have a node lose its files, if all others have met it, and nobody else has. What it
        has acknowledged last, one of the others does not know, and has a chance to lead.
        """
        if self._lost is not None:
            return
        names = self._world.rng.sample(sorted(self._nodes), len(self._nodes))
        victim, behind, informed = (self._nodes[name] for name in names)
        if not (self._has_met(behind, victim) and self._has_met(informed, victim)):
            return
        self._lost = victim.name
        self._isolate(behind)
        self._later(0.2, 1.5, lambda: self._wipe(victim, informed))

    def _wipe(self, victim: Node, informed: Node) -> None:
        if self._peace:
            self._lost = None
            return
        world = self._world
        world.note(f"{victim.name} loses its files")
        victim.kill()
        victim.wipe()
        # It begins the cluster again, by itself, or waits to be taken in.
        victim.founders = world.rng.choice((tuple(sorted(self._nodes)), ()))
        self._isolate(informed)
        self._later(0.05, 0.5, lambda: None if victim.running else victim.start())
        self._later(1.0, 6.0, self._remove)

    def _isolate(self, node: Node) -> None:
        others = [name for name in self._nodes if name != node.name]
        self._network.cut(
            {pair for each in others for pair in ((node.name, each), (each, node.name))}
        )

    @staticmethod
    def _has_met(one: Node, node: Node) -> bool:
        """
        Whether a node will remember under which incarnation it knows another one.
        """
        content = one.files.read(NAME)
        if content is None or node.replica is None:
            return False
        incarnation = node.replica.identity.incarnation
        settled = () if one.replica is None else one.replica._engine.settled_configuration
        taken_in = any(each.incarnation == incarnation for each in settled)
        return taken_in or replay(parse_log(content)).incarnations.get(node.name) == incarnation

    def _later(self, least: float, most: float, what: Callable[[], object]) -> None:
        world = self._world
        world.schedule(world.rng.uniform(least, most), world.outside, what)

    def _through(self) -> Any | None:
        """
        The replica of a node that an operator would ask.
        """
        able = [
            node
            for name, node in sorted(self._nodes.items())
            if name != self._lost and node.replica is not None and not node.time.paused
        ]
        return self._world.rng.choice(able).replica if able else None

    def _again(self, what: Callable[[], None]) -> Callable[[], None]:
        return lambda: self._later(0.2, 0.5, what)

    def _remove(self) -> None:
        name, replica = self._lost, self._through()
        assert name is not None
        if replica is None:
            self._again(self._remove)()
            return
        removal = Deferred.fromCoroutine(replica.remove_member(name, timeout=8.0))
        self._change("remove", name, removal, self._empty, self._again(self._remove))

    def _empty(self) -> None:
        assert self._lost is not None
        node = self._nodes[self._lost]
        node.kill()
        node.wipe()
        node.founders = ()
        node.start()
        self._add()

    def _add(self) -> None:
        name, replica = self._lost, self._through()
        assert name is not None
        if replica is None:
            self._again(self._add)()
            return
        addition = Deferred.fromCoroutine(replica.add_member(address_of(name), timeout=8.0))
        self._change("add", name, addition, self._over, self._again(self._add))

    def _over(self) -> None:
        self._world.note(f"{self._lost} is replaced")
        self._lost = None
