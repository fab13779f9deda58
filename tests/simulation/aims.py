"""
Trouble that aims: at votes, at leaders with a tail that nobody else has, at the entries of
earlier terms; and messages that nobody honest has sent, which Raft must withstand.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from tests.simulation.network import Wires
from tests.simulation.nodes import Node, peer
from tests.simulation.world import World

_STRANGERS = ("x8", "x9")
_REPLAYED = 300


class Aims:
    """
    The faults of a run that look at what the nodes are about to do.
    """

    def __init__(
        self,
        world: World,
        network: Wires,
        nodes: dict[str, Any],
        restart_later: Callable[[Any], None],
        acknowledged: Container[str],
        *,
        forging: bool,
        replays: bool,
    ) -> None:
        """
        @param restart_later: has a node start again that was killed.
        @param acknowledged: the requests that were.
        @param forging: whether messages are forged.
        @param replays: whether proposals come again long after they were acknowledged.
        """
        self._world = world
        self._network = network
        self._nodes = nodes
        self._restart_later = restart_later
        self._acknowledged = acknowledged
        self._forging = forging
        self._replays = replays
        self._proposals: list[tuple[str, dict[str, Any]]] = []
        self._hunted = 0
        self._peace = False
        self._slow = network.slow

    def make_peace(self) -> None:
        """
        Let nodes live, and messages be honest.
        """
        self._peace = True
        self._hunted = 0
        self._forging = False
        self._network.slow = self._slow

    def _leader(self) -> Any | None:
        leaders = [each for each in self._nodes.values() if each.running and each.leads]
        return self._world.rng.choice(leaders) if leaders else None

    def _later(self, least: float, most: float, what: Callable[[], object]) -> None:
        world = self._world
        delay = world.rng.uniform(least, most)
        world.schedule(delay, world.outside, lambda: None if self._peace else what())

    def _isolate(self, node: Any, *company: str) -> None:
        inside = {node.name, *company}
        self._network.cut(
            {
                (a, b)
                for a in self._nodes
                for b in self._nodes
                if a != b and (a in inside) != (b in inside)
            }
        )

    def _kill(self, node: Any) -> None:
        if node.running:
            node.kill(power=True)
            self._restart_later(node)

    # Faults

    def hunt_voters(self) -> None:
        """
        Kill the next nodes that vote, just after, and let them start at once.
        """
        self._hunted += self._world.rng.randint(1, 3)

    def split_vote(self) -> None:
        """
        Silence the leader, and have those that want its place hear late of each other.
        """
        leader = self._leader()
        if leader is not None:
            self._world.note(f"{leader.name} is silenced, and votes are to be split")
            self._isolate(leader)
            self._network.slow = 0.4
            self._later(1.0, 2.5, self._hurry)

    def _hurry(self) -> None:
        self._network.slow = self._slow

    def figure_8(self) -> None:
        """
        Leave the leader with one follower, so that their tail is in a minority; kill it, or
        cut it off; have another one lead, alone at once; and have the first come back.
        """
        leader = self._leader()
        if leader is None:
            return
        rng = self._world.rng
        others = sorted(set(self._nodes) - {leader.name})
        friend = rng.choice(others)
        self._world.note(f"{leader.name} and {friend} are to have a tail")
        self._isolate(leader, friend)
        self._later(0.1, 0.5, lambda: self._second_act(leader, friend))

    def _second_act(self, leader: Any, friend: str) -> None:
        if self._world.rng.random() < 0.6:
            self._kill(leader)
            self._isolate(self._nodes[friend])
        else:
            self._isolate(leader)
        self._later(0.6, 1.2, lambda: self._third_act(leader, friend))

    def _third_act(self, leader: Any, friend: str) -> None:
        second = self._leader()
        if second is not None and second is not leader:
            self._isolate(second)
        if not leader.running:
            leader.start()

    def long_tail(self) -> None:
        """
        Isolate the leader for as long as it may lead, and then have it come back.
        """
        leader = self._leader()
        if leader is not None:
            self._isolate(leader)
            self._later(1.0, 1.8, lambda: self._network.cut(set()))

    # Messages

    def sent(self, name: str, to: str, message: dict[str, Any]) -> None:
        """
        A message has left a node.
        """
        kind = message["type"]
        if self._hunted and kind in {"response_vote", "request_vote"}:
            self._hunted -= 1
            node = self._nodes[name]
            self._later(0.0, 0.004, lambda: self._restart(node, node.time))
        if self._replays and kind == "apply_command":
            self._replay(name, to, message)
        if self._forging:
            self._forge(name, to, kind, message)

    def _restart(self, node: Any, time: Any) -> None:
        if node.time is time and node.running:
            node.kill(power=True)
            world = self._world
            delay = world.rng.uniform(0.0, 0.05)
            world.schedule(delay, world.outside, lambda: None if node.running else node.start())

    def _replay(self, name: str, to: str, message: dict[str, Any]) -> None:
        rng = self._world.rng
        proposals = self._proposals
        if len(proposals) < _REPLAYED:
            proposals.append((name, message))
        elif rng.random() < 0.05:
            sender, old = rng.choice(proposals)
            if old["request_id"] in self._acknowledged:
                node = self._nodes[to]
                if node.replica is not None and node.transport.running:
                    time = node.time
                    receive = node.transport._onMessageReceived
                    time.happen(lambda: receive(peer(sender), dict(old)))

    def _forge(self, name: str, to: str, kind: str, message: dict[str, Any]) -> None:
        term = message.get("term", 0)
        if kind == "request_vote":
            vote = {"type": "response_vote", "term": term}
            for stranger in _STRANGERS:
                self._give(name, stranger, vote)
            self._give(name, to, {**vote, "term": term - 1})
            # A log that is long, and old.
            self._give(to, name, {**message, "last_log_index": 10**6, "last_log_term": 0})
            for each in self._nodes.values():
                # Nobody asks one that waits to be taken in.
                waits = isinstance(each, Node) and each.replica is not None
                if waits and not each.replica._engine.configuration:
                    self._give(each.name, name, message)
        elif kind == "pre_vote":
            answer = {"type": "pre_vote_reply", "term": term, "granted": True}
            for stranger in _STRANGERS:
                self._give(name, stranger, {**answer, "current": term - 1})
            self._give(name, to, {**answer, "term": term - 1, "current": term - 1})
        elif kind == "response_vote":
            for _ in range(2):
                self._give(to, name, message)
        elif kind == "next_node_idx":
            for stranger in _STRANGERS:
                self._give(to, stranger, message)

    def _give(self, name: str, sender: str, message: dict[str, Any]) -> None:
        node = self._nodes[name]
        time = node.time

        def give() -> None:
            if node.replica is not None and node.transport.running:
                node.transport._onMessageReceived(peer(sender), dict(message))

        self._later(0.0, 0.03, lambda: time.happen(give))
