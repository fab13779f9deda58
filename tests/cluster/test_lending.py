"""
Lending of slots over the nodes of a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.lending import (
    ANY_NUMBER,
    EXPIRY,
    KEEPS,
    NO_SLOTS,
    Ledger,
    Report,
    SlotHolder,
    decide,
    level,
    share,
)

NAMES = ("a", "b", "c")
SERVER = "10.0.0.7:1"


class DecisionTests(SynchronousTestCase):
    """
    Who shall hold how many.
    """

    def test_level(self) -> None:
        """
        Each gets what it needs, or as much as the others that need more; the rest goes round.
        """
        self.assertEqual(level({"a": 1, "b": 2}, 10), {"a": 1, "b": 2})
        self.assertEqual(level({"a": 1, "b": 9, "c": 9}, 7), {"a": 1, "b": 3, "c": 3})
        self.assertEqual(level({"a": 5, "b": 5, "c": 5}, 1, turn=2), {"a": 0, "b": 0, "c": 1})
        self.assertEqual(level({"a": 5, "b": 5, "c": 5}, 2, turn=2), {"a": 1, "b": 0, "c": 1})

    def test_share(self) -> None:
        """
        The shares sum up to the cap.
        """
        self.assertEqual([share(name, NAMES, 7) for name in NAMES], [3, 2, 2])
        self.assertEqual([share(name, NAMES, 1) for name in NAMES], [1, 0, 0])
        self.assertEqual(share("d", NAMES, 7), 0)

    def test_idle(self) -> None:
        """
        What nobody needs is spread.
        """
        needs = dict.fromkeys(NAMES, 1)
        targets = decide(30, dict.fromkeys(NAMES, 0), needs)
        self.assertEqual(targets, dict.fromkeys(NAMES, 10))
        self.assertEqual(sum(decide(1000003, dict.fromkeys(NAMES, 0), needs).values()), 1000003)

    def test_moved(self) -> None:
        """
        A node that needs more gets what others do not use, once they have given it up.
        """
        held, needs = {"a": 0, "b": 10}, {"a": 4, "b": 3}
        self.assertEqual(decide(10, held, needs), {"a": 0, "b": 6})
        self.assertEqual(decide(10, {"a": 0, "b": 6}, needs), {"a": 4, "b": 6})

    def test_stays(self) -> None:
        """
        Where nobody lacks any, nothing moves.
        """
        held = {"a": 9, "b": 1}
        self.assertEqual(decide(10, held, {"a": 1, "b": 1}), held)

    @given(
        st.integers(-5, 60),
        st.dictionaries(
            st.sampled_from("abcde"), st.tuples(st.integers(0, 20), st.integers(1, 30)), min_size=1
        ),
        st.integers(0, 9),
    )
    def test_any(self, available: int, nodes: dict[str, tuple[int, int]], turn: int) -> None:
        """
        Growing is from the free ones alone; nobody lacks a slot while another holds more
        than it needs, or than is fair.
        """
        held = {name: slots for name, (slots, _) in nodes.items()}
        needs = {name: need for name, (_, need) in nodes.items()}
        targets = decide(available, held, needs, turn)
        grown = sum(max(0, targets[name] - held[name]) for name in held)
        assert grown <= max(0, available - sum(held.values()))
        assert min(targets.values()) >= 0
        for _ in range(len(nodes) + 1):
            held = decide(available, decide(available, held, needs, turn), needs, turn)
        assert sum(held.values()) == max(0, available) or sum(held.values()) <= available
        fair = level(needs, max(0, available), turn)
        assert all(held[name] >= fair[name] for name in held)


class Node:
    """
    One node with requests to one server.
    """

    rate = 0.5
    asks_until = 0.0

    def __init__(self, name: str, incarnation: int = 0, now: float = 0.0) -> None:
        self.name = name
        self.holder = SlotHolder(f"{name}{incarnation}", now)
        self.active: list[float] = []
        self.waiting = 0

    @property
    def limit(self) -> int:
        return self.holder.limits.get(SERVER, 0)

    @property
    def holds(self) -> int:
        return max(self.limit, len(self.active))

    def report(self) -> Report:
        return self.holder.report({SERVER: len(self.active)}, self.waiting)


class LedgerTests(SynchronousTestCase):
    """
    A leader, and three nodes that report to it.
    """

    def setUp(self) -> None:
        self.now = 0.0
        self.cap = 9
        self.nodes = {name: Node(name) for name in NAMES}
        self.ledger = Ledger(0.0, NAMES, [SERVER])

    def exchange(self, name: str) -> bool:
        node = self.nodes[name]
        report = node.report()
        answer, lacks = self.ledger.report(self.now, name, report, NAMES, lambda _: self.cap)
        node.holder.answered(self.now, report, answer)
        return lacks

    def limits(self) -> list[int]:
        return [self.nodes[name].limit for name in NAMES]

    def test_waits_for_all(self) -> None:
        """
        A new leader lends nothing of what a member may hold that has not reported.
        """
        self.exchange("a")
        self.exchange("b")
        self.assertEqual(self.limits(), [0, 0, 0])
        self.exchange("c")
        for name in NAMES:
            self.exchange(name)
        self.assertEqual(self.limits(), [3, 3, 3])

    def test_new_server(self) -> None:
        """
        A server that has come since is lent out at once.
        """
        self.ledger = Ledger(0.0, NAMES, [])
        self.exchange("a")
        self.exchange("b")
        self.assertEqual(self.limits(), [3, 3, 0])

    def test_silent_member(self) -> None:
        """
        A member that stays silent is taken to hold its share, after a while.
        """
        self.exchange("a")
        self.now = EXPIRY
        for name in ("a", "b", "a", "b"):
            self.exchange(name)
        self.assertEqual(sum(self.limits()), 6)

    def test_moved(self) -> None:
        """
        A node with requests that wait says so, and gets the idle slots of others by their next
        reports.
        """
        for _ in range(2):
            for name in NAMES:
                self.exchange(name)
        busy = self.nodes["a"]
        busy.active = [0.0] * 3
        busy.waiting = 20
        self.assertTrue(self.exchange("a"))
        for name in ("b", "b", "c", "c", "a"):
            self.exchange(name)
        self.assertEqual(self.limits(), [9, 0, 0])

    def test_lost_answer(self) -> None:
        """
        An answer that comes after a later report has no effect, and the leader lends the slots
        of a lost one anew.
        """
        for name in NAMES:
            self.exchange(name)
        node = self.nodes["a"]
        first = node.report()
        answer, _ = self.ledger.report(0.0, "a", first, NAMES, lambda _: 9)
        self.assertEqual(answer[SERVER], 3)
        second = node.report()
        self.assertEqual(node.holder.answered(0.0, first, answer), set())
        self.assertEqual(node.limit, 0)
        answer, _ = self.ledger.report(0.0, "a", second, NAMES, lambda _: 9)
        self.assertEqual(node.holder.answered(0.0, second, answer), {SERVER})
        self.assertEqual(self.ledger.report(0.0, "a", first, NAMES, lambda _: 9), ({}, False))

    def test_other_answers(self) -> None:
        """
        A node that is no member gets none; where the leader knows of no cap, any number may be had.
        """
        node = self.nodes["a"]
        answer = self.ledger.report(0.0, "a", node.report(), ["b"], lambda _: 9)[0]
        self.assertEqual(answer, {SERVER: NO_SLOTS})
        report = node.report()
        answer = self.ledger.report(0.0, "a", report, NAMES, lambda _: 0)[0]
        self.assertEqual(answer, {SERVER: ANY_NUMBER})
        node.holder.answered(0.0, report, answer)
        self.assertGreater(node.limit, 1000000)

    def test_isolated(self) -> None:
        """
        A node that hears from no leader keeps what it holds for a while, then its share at most.
        """
        node = self.nodes["a"]
        node.holder.take_shares({SERVER: 5})
        self.assertEqual(node.holder.isolated(KEEPS - 1, lambda _: 3), set())
        self.assertEqual(node.holder.isolated(KEEPS, lambda _: 3), {SERVER})
        self.assertEqual(node.limit, 3)
        node.holder.forget([])
        self.assertEqual(node.holder.limits, {})


class Simulation:
    """
    Three nodes and any leaders, in steps of a tenth of a second. Reports and answers are lost,
    late, or out of order; leaders change, and a deposed one goes on for up to 10 s; nodes restart,
    and are cut off from all leaders. Requests take up to 10 s.
    """

    STEP = 0.1

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.now = 0.0
        self.cap = rng.choice([1, 2, 3, 7, 20])
        self.nodes = {name: Node(name) for name in NAMES}
        # By term: the ledger, and when its leader was deposed.
        self.ledgers = {1: Ledger(0.0, NAMES, [SERVER])}
        self.deposed: dict[int, float] = {}
        self.follows = dict.fromkeys(NAMES, 1)
        self.cut_off: dict[str, float] = {}
        self.mail: list[tuple[float, Callable[[], None]]] = []
        self.loss = 0.0
        self.restarts = 0

    def post(self, call: Callable[[], None]) -> None:
        """Have something arrive later, or never."""
        rng = self.rng
        if rng.random() >= self.loss:
            late = rng.expovariate(2.0) if rng.random() < self.loss else 0.0
            self.mail.append((self.now + late, call))

    def step(self) -> None:
        """Let a tenth of a second pass."""
        self.now += self.STEP
        rng = self.rng
        for name, node in self.nodes.items():
            shares = partial(self.share, name)
            node.holder.isolated(self.now, shares)
            node.active = [
                began
                for began in node.active
                if self.now - began < 10.0 and rng.random() > node.rate / 4
            ]
            node.waiting += rng.random() < node.rate
            if rng.random() < 0.02:
                node.rate = rng.choice([0.0, 0.1, 0.9])
            self.fill(node)
            if self.cut_off.get(name, 0.0) <= self.now and node.asks_until <= self.now:
                self.report(node)
        self.deliver()
        for term, when in list(self.deposed.items()):
            if self.now - when > 10.0:
                self.ledgers.pop(term, None)

    def deliver(self) -> None:
        """Have what is due arrive, and the answers to it."""
        while due := [each for each in self.mail if each[0] <= self.now]:
            first = self.rng.choice(due)
            self.mail.remove(first)
            first[1]()

    def share(self, name: str, id: str) -> int:
        return share(name, NAMES, self.cap)

    def fill(self, node: Node) -> None:
        """Requests that wait begin, as far as the node may have them."""
        while node.waiting and len(node.active) < node.limit:
            node.waiting -= 1
            node.active.append(self.now)
        held = {each.name: each.holds for each in self.nodes.values()}
        assert sum(held.values()) <= self.cap, (self.now, held)

    def report(self, node: Node) -> None:
        """A node reports to the leader that it knows."""
        term, report = self.follows[node.name], node.report()
        node.asks_until = self.now + 0.5
        self.post(lambda: self.reported(term, node, report))

    def reported(self, term: int, node: Node, report: Report) -> None:
        ledger = self.ledgers.get(term)
        if ledger is not None:
            answer, _ = ledger.report(self.now, node.name, report, NAMES, lambda _: self.cap)
            self.post(lambda: self.answered(node, report, answer))

    def answered(self, node: Node, report: Report, answer: dict[str, int]) -> None:
        node.holder.answered(self.now, report, answer)
        node.asks_until = self.now
        if node is self.nodes[node.name]:
            self.fill(node)

    def change_leader(self) -> None:
        """There is a new leader, of which each node hears in its time."""
        term = max([*self.ledgers, *self.deposed])
        self.deposed[term] = self.now
        self.ledgers[term + 1] = Ledger(self.now, NAMES, [SERVER])

    def trouble(self) -> None:
        """Perhaps something happens."""
        rng = self.rng
        if rng.random() < 0.01:
            self.change_leader()
        newest = max([*self.ledgers, *self.deposed])
        for name in NAMES:
            if rng.random() < 0.1:
                self.follows[name] = newest
            if rng.random() < 0.002:
                self.cut_off[name] = self.now + rng.choice([5.0, 40.0, 90.0])
            if rng.random() < 0.002:
                self.restarts += 1
                self.nodes[name] = Node(name, self.restarts, self.now)
        if rng.random() < 0.02:
            self.loss = rng.choice([0.0, 0.1, 0.6])

    def calm(self) -> None:
        """From now on, all goes well."""
        self.loss = 0.0
        self.cut_off.clear()
        newest = max([*self.ledgers, *self.deposed])
        self.follows = dict.fromkeys(NAMES, newest)


class LendingProperties(SynchronousTestCase):
    """
    Whatever happens.
    """

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 1 << 32))
    def test_never_exceeded(self, seed: int) -> None:
        """
        The slots that nodes hold never exceed the cap; and when all goes well again, no request
        waits for more than a second beside a slot that is idle.
        """
        simulation = Simulation(seed)
        for _ in range(1500):
            simulation.trouble()
            simulation.step()
        simulation.calm()
        for _ in range(15):
            simulation.step()
        beside = dict.fromkeys(NAMES, 0.0)
        for _ in range(300):
            simulation.step()
            nodes = simulation.nodes
            is_idle = sum(len(each.active) for each in nodes.values()) < simulation.cap
            for name in NAMES:
                waits = nodes[name].waiting > 0 and is_idle
                beside[name] = beside[name] + simulation.STEP if waits else 0.0
                assert beside[name] <= 1.0, (simulation.now, name)
