"""
L{alacrity.node.drains}: waiting for the requests of removed servers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.notes import NoteRefused, NoteUnanswered
from alacrity.management.documents.removals import (
    CannotWait,
    NodeDrain,
    RegisteredAgain,
    Removal,
)
from alacrity.node.data_path import InFlight
from alacrity.node.drains import (
    ANSWER,
    MOST_REMEMBERED,
    PATIENCE,
    POLL,
    REMEMBERED,
    Drains,
)
from alacrity.pool import Deregister, PoolView
from tests.support.pools import ID, apply_to, register

NONE = InFlight(0, 0)


class _Network:
    """
    Notes between nodes, which arrive at once.

    @ivar down: the nodes that do not answer.
    @ivar asked: the numbers of asks, by node.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[str, Any], Any]] = {}
        self.down: set[str] = set()
        self.asked: list[tuple[str, Any]] = []

    def notes(self, name: str) -> _Notes:
        """The notes of a node."""
        return _Notes(self, name)


class _Notes:
    def __init__(self, network: _Network, name: str) -> None:
        self._network = network
        self._name = name

    def answer(self, kind: str, handler: Callable[[str, Any], Any]) -> None:
        """Have notes of the one kind handled."""
        assert kind == "drain"
        self._network.handlers[self._name] = handler

    def ask(self, node: str, kind: str, body: Any, *, timeout: float) -> Deferred[Any]:
        """Ask at once."""
        assert timeout == ANSWER
        assert kind == "drain"
        self._network.asked.append((node, body))
        if node in self._network.down:
            return fail(NoteUnanswered("there is no connection"))
        try:
            return succeed(self._network.handlers[node](self._name, body))
        except NoteRefused as error:
            return fail(error)


def _always(answer: Any) -> Callable[[str, Any], Any]:
    return lambda _sender, _body: answer


class _Node:
    """
    A node with its pool.
    """

    def __init__(self, network: _Network, clock: Clock, name: str, names: list[str]) -> None:
        self.name = name
        self.view = PoolView()
        self.in_flight: dict[str, InFlight] = {}
        self.drains = Drains(
            self.view,
            network.notes(name),
            name,
            lambda: names,
            lambda id: self.in_flight.get(id, NONE),
            clock,
            limit=3,
        )


class DrainsTests(SynchronousTestCase):
    """
    Three nodes.
    """

    def setUp(self) -> None:
        """
        A server that all of them know.
        """
        self.clock = Clock()
        self.network = _Network()
        self.names = ["a", "b", "c"]
        self.a, self.b, self.c = self.nodes = [
            _Node(self.network, self.clock, name, self.names) for name in self.names
        ]
        for node in self.nodes:
            apply_to(node.view, register())

    def remove(self, *nodes: _Node) -> None:
        """Have nodes apply the removal."""
        for node in nodes or self.nodes:
            apply_to(node.view, Deregister(ID, 2.0, "asked to"))

    def wait(self, node: _Node, seconds: float = 30.0) -> Deferred[Any]:
        """Wait at a node that has applied the removal."""
        removal = node.drains.removal(ID)
        assert removal is not None
        return Deferred.fromCoroutine(node.drains.wait(ID, removal, seconds))

    def test_at_once(self) -> None:
        """Without requests in flight, the wait ends at once, and nothing runs any more."""
        self.remove()
        nodes = self.successResultOf(self.wait(self.a))
        self.assertEqual(nodes, [NodeDrain(name, 0, True) for name in self.names])
        self.clock.advance(POLL)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_requests_of_another_node(self) -> None:
        """The wait ends soon after the last request on any node."""
        self.c.in_flight[ID] = InFlight(2, 0)
        self.remove()
        self.c.in_flight[ID] = InFlight(0, 2)
        waiting = self.wait(self.a)
        for count in (2, 1):
            self.c.in_flight[ID] = InFlight(0, count)
            self.clock.pump([POLL] * 10)
            self.assertNoResult(waiting)
        self.c.in_flight[ID] = NONE
        self.clock.advance(POLL)
        self.assertTrue(all(each.done for each in self.successResultOf(waiting)))

    def test_removal_not_applied(self) -> None:
        """A node that has not applied the removal yet may still get requests."""
        self.c.in_flight[ID] = InFlight(1, 0)
        self.remove(self.a, self.b)
        waiting = self.wait(self.a, 2.0)
        self.clock.pump([POLL] * 5)
        self.assertNoResult(waiting)
        self.clock.advance(1.1)
        nodes = self.successResultOf(waiting)
        self.assertEqual(nodes[2], NodeDrain("c", 1, False))
        waiting = self.wait(self.a)
        self.c.in_flight[ID] = NONE
        self.clock.advance(POLL)
        self.assertNoResult(waiting)
        self.remove(self.c)
        self.clock.advance(POLL)
        self.successResultOf(waiting)

    def test_time_over(self) -> None:
        """After the time, the counts are told; a repeated wait goes on."""
        self.remove()
        self.b.in_flight[ID] = InFlight(0, 1)
        waiting = self.wait(self.a, 1.0)
        self.clock.pump([POLL] * 4)
        self.assertNoResult(waiting)
        self.clock.advance(POLL)
        self.assertEqual(self.successResultOf(waiting)[1], NodeDrain("b", 1, True))
        self.assertNoResult(self.wait(self.b))

    def test_shortest_time(self) -> None:
        """A time that is over before any node answers tells nothing of them."""
        self.remove()
        unanswered: Deferred[Any] = Deferred()
        self.patch(_Notes, "ask", lambda *_, **__: unanswered)
        waiting = self.wait(self.a, 0.001)
        self.clock.advance(0.001)
        nodes = self.successResultOf(waiting)
        self.assertEqual(nodes, [NodeDrain(name) for name in self.names])
        unanswered.errback(NoteUnanswered("late"))

    def test_unreachable(self) -> None:
        """
        While a node is unreachable for a moment, the wait goes on; for longer, it ends when the
        others have finished.
        """
        self.remove()
        self.b.in_flight[ID] = InFlight(0, 1)
        self.network.down = {"c"}
        waiting = self.wait(self.a)
        self.clock.pump([POLL] * round(PATIENCE / POLL + 5))
        self.assertNoResult(waiting)
        self.b.in_flight[ID] = NONE
        self.clock.advance(POLL)
        self.assertEqual(self.successResultOf(waiting)[2], NodeDrain("c"))
        # A shorter absence.
        waiting = self.wait(self.a)
        self.clock.pump([POLL] * 5)
        self.assertNoResult(waiting)
        self.network.down = set()
        self.clock.advance(POLL)
        self.assertTrue(all(each.done for each in self.successResultOf(waiting)))

    def test_malformed_answer(self) -> None:
        """A node whose answer makes no sense counts as unreachable."""
        self.remove()
        for answer in (
            None,
            [],
            [[1]],
            [[-1, True, 0, 1]],
            [[0, True, 1, 1], [0, True, 1, 1]],
            "x",
        ):
            self.network.handlers["c"] = _always(answer)
            waiting = self.wait(self.a, 0.1)
            self.clock.advance(0.1)
            self.assertIsNone(self.successResultOf(waiting)[2].in_flight)
            self.clock.advance(POLL)

    def test_malformed_question(self) -> None:
        """One that makes no sense is refused."""
        bodies: tuple[Any, ...] = (None, {}, [["a"]], [[1, 1]], [["a", "b"]])
        for body in bodies:
            with self.assertRaises(NoteRefused):
                self.network.handlers["a"]("b", body)

    def test_registered_again(self) -> None:
        """A registration ends the wait, and none begins after it."""
        self.remove()
        self.b.in_flight[ID] = InFlight(0, 1)
        removal = self.a.drains.removal(ID)
        assert removal is not None
        waiting = self.wait(self.a)
        apply_to(self.a.view, register(time=3.0))
        self.failureResultOf(waiting, RegisteredAgain)
        self.assertIsNone(self.a.drains.removal(ID))
        again = Deferred.fromCoroutine(self.a.drains.wait(ID, removal, 1.0))
        self.failureResultOf(again, RegisteredAgain)

    def test_caller_goes_away(self) -> None:
        """The wait ends with its caller, and no node is asked any more."""
        self.remove()
        self.b.in_flight[ID] = InFlight(0, 1)
        waiting = self.wait(self.a)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.clock.advance(POLL)
        asked = len(self.network.asked)
        self.clock.pump([POLL] * 20)
        self.assertEqual(len(self.network.asked), asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounds(self) -> None:
        """Many callers ask each node once a round, and there is a limit of callers."""
        self.remove()
        self.b.in_flight[ID] = InFlight(0, 1)
        waiting = [self.wait(self.a) for _ in range(3)]
        self.failureResultOf(self.wait(self.a), CannotWait)
        self.network.asked.clear()
        self.clock.pump([POLL] * 5)
        self.assertEqual([name for name, _ in self.network.asked], ["b", "c"] * 5)
        self.assertEqual([len(body) for _, body in self.network.asked], [3] * 10)
        self.a.drains.stop()
        for each in waiting:
            self.assertEqual(self.successResultOf(each)[1], NodeDrain("b", 1, True))
        self.failureResultOf(self.wait(self.a), CannotWait)
        self.clock.advance(POLL)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_find(self) -> None:
        """
        A node that remembers no removal, as it was started anew, asks the others; so it does if
        it is forgotten, and requests are still in flight.
        """
        self.remove()
        fresh = _Node(self.network, self.clock, "a", self.names)
        find = fresh.drains.find
        self.assertEqual(
            self.successResultOf(Deferred.fromCoroutine(find(ID))), Removal(index=2, version=1)
        )
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(find("10.0.0.9:1"))))
        self.clock.advance(REMEMBERED + 1)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(find(ID))))
        self.c.in_flight[ID] = InFlight(0, 1)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(find(ID))), Removal(index=0))

    def test_memory_is_bounded(self) -> None:
        """The latest removals are remembered."""
        for port in range(1, MOST_REMEMBERED + 2):
            apply_to(self.a.view, register(port))
            apply_to(self.a.view, Deregister(f"10.0.0.7:{port}", 2.0, "asked to"))
        self.assertIsNone(self.a.drains.removal("10.0.0.7:1"))
        self.assertIsNotNone(self.a.drains.removal("10.0.0.7:2"))

    def test_repr(self) -> None:
        """The number of callers is shown."""
        self.assertEqual(repr(self.a.drains), "<Drains of a: 0 wait>")
