"""
Notes: messages between members that are not of the engine's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.notes import (
    LONGEST_BODY,
    MOST_ASKS,
    MOST_HANDLED,
    NoteRefused,
    Notes,
    NoteUnanswered,
)
from alacrity.cluster.replica_settings import ReplicaSettings
from tests.simulation.clock import patched, use
from tests.simulation.network import Network
from tests.simulation.nodes import Node
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.sockets import SocketNode, Sockets
from tests.simulation.world import World


def _who(name: str, sender: str, body: object) -> list[object]:
    return [sender, name, body]


class NotesCase(SynchronousTestCase):
    """
    Two nodes, whose messages arrive when the test says so.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.format = 2
        self.linked = True
        self.connection = 1
        self.under_way: list[tuple[str, str, bytes]] = []
        self.notes = {name: self.make(name) for name in "ab"}
        self.a, self.b = self.notes["a"], self.notes["b"]

    def make(self, name: str) -> Notes:
        def send(to: str, message: dict[str, Any]) -> bool:
            if self.linked:
                self.under_way.append((name, to, msgspec.msgpack.encode(message)))
            return self.linked

        return Notes(name, send, lambda _: self.connection, lambda: self.format, self.clock)

    def deliver(self) -> None:
        while self.under_way:
            sender, to, message = self.under_way.pop(0)
            decoded = msgspec.msgpack.decode(message)
            self.assertTrue(self.notes[to].received(sender, decoded))

    def reason(self, ask: Deferred[Any]) -> str:
        return str(self.failureResultOf(ask, NoteUnanswered).value)


class AskTests(NotesCase):
    def test_an_answer(self) -> None:
        self.b.answer("sum", lambda name, body: [name, sum(body)])
        ask = self.a.ask("b", "sum", (1, 2), timeout=1.0)
        self.assertNoResult(ask)
        self.deliver()
        self.assertEqual(self.successResultOf(ask), ["a", 3])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bytes_and_nothing(self) -> None:
        self.b.answer("echo", lambda name, body: body)
        for body in (b"\x00\xff", None, {"a": [1.5, True, "x"]}):
            ask = self.a.ask("b", "echo", body, timeout=1.0)
            self.deliver()
            self.assertEqual(self.successResultOf(ask), body)

    def test_an_answer_that_takes_time(self) -> None:
        waiting: Deferred[int] = Deferred()

        async def handle(name: str, body: object) -> int:
            return await waiting

        self.b.answer("later", handle)
        self.b.answer("soon", lambda name, body: succeed(1))
        ask = self.a.ask("b", "later", None, timeout=1.0)
        other = self.a.ask("b", "soon", None, timeout=1.0)
        self.deliver()
        self.assertEqual(self.successResultOf(other), 1)
        self.assertNoResult(ask)
        waiting.callback(7)
        self.deliver()
        self.assertEqual(self.successResultOf(ask), 7)

    def test_of_this_node(self) -> None:
        self.format = 1
        self.a.answer("sum", lambda name, body: [name, *body])
        ask = self.a.ask("a", "sum", (1, 2), timeout=1.0)
        self.assertEqual(self.successResultOf(ask), ["a", 1, 2])
        self.assertEqual(self.under_way, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer_in_time(self) -> None:
        ask = self.a.ask("b", "sum", 1, timeout=1.5)
        self.clock.advance(1.5)
        self.assertEqual(self.reason(ask), "b has not answered in 1.5 s")
        # The answer comes late.
        self.b.answer("sum", lambda name, body: body)
        self.deliver()

    def test_no_connection(self) -> None:
        self.linked = False
        ask = self.a.ask("b", "sum", 1, timeout=1.0)
        self.assertEqual(self.reason(ask), "there is no connection with b")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_connection_that_is_lost(self) -> None:
        ask = self.a.ask("b", "sum", 1, timeout=1.0)
        self.a.connection_changed("c")
        self.assertNoResult(ask)
        self.a.connection_changed("b")
        self.assertEqual(self.reason(ask), "the connection with b is lost")

    def test_an_answer_for_an_earlier_connection_is_not_sent(self) -> None:
        waiting: Deferred[int] = Deferred()
        self.b.answer("later", lambda name, body: waiting)
        self.a.ask("b", "later", None, timeout=1.0).addErrback(lambda _: None)
        self.deliver()
        self.connection += 1
        waiting.callback(1)
        self.assertEqual(self.under_way, [])
        self.clock.advance(1.0)

    def test_a_format_that_has_no_notes(self) -> None:
        self.format = 1
        ask = self.a.ask("b", "sum", 1, timeout=1.0)
        self.assertIn("not all members", self.reason(ask))
        self.assertFalse(self.a.tell("b", "sum", 1))
        self.assertEqual(self.under_way, [])

    def test_an_unknown_kind_is_refused(self) -> None:
        ask = self.a.ask("b", "x" * 1000, 1, timeout=1.0)
        self.deliver()
        self.failureResultOf(ask, NoteRefused)
        ask = self.a.ask("b", "sum", 1, timeout=1.0)
        self.deliver()
        reason = self.reason(ask)
        self.assertEqual(reason, "b refuses: notes of kind 'sum' are not known")

    def test_a_handler_that_refuses(self) -> None:
        def handle(name: str, body: object) -> None:
            raise NoteRefused("it does not lead")

        self.b.answer("lead", handle)
        ask = self.a.ask("b", "lead", 1, timeout=1.0)
        self.deliver()
        self.assertEqual(self.reason(ask), "b refuses: it does not lead")

    def test_a_handler_that_fails(self) -> None:
        self.b.answer("fails", lambda name, body: 1 // 0)
        self.b.answer("odd", lambda name, body: object())
        self.b.answer("long", lambda name, body: b"x" * (LONGEST_BODY + 1))
        for kind, errors in (
            ("fails", ZeroDivisionError),
            ("odd", TypeError),
            ("long", ValueError),
        ):
            ask = self.a.ask("b", kind, 1, timeout=1.0)
            self.deliver()
            self.assertEqual(self.reason(ask), "b refuses: it has failed to handle the note")
            self.assertEqual(len(self.flushLoggedErrors(errors)), 1)

    def test_bodies_are_bounded(self) -> None:
        self.b.answer("echo", lambda name, body: 1)
        with self.assertRaises(ValueError):
            self.a.ask("b", "echo", b"x" * LONGEST_BODY, timeout=1.0)
        with self.assertRaises(TypeError):
            self.a.tell("b", "echo", object())
        long = {"type": "note_ask", "id": 1, "kind": "echo", "body": b"x" * LONGEST_BODY}
        self.b.received("a", long)
        ((_, _, refusal),) = self.under_way
        self.assertIn(b"longer", refusal)

    def test_asks_of_a_member_are_bounded(self) -> None:
        asks = [self.a.ask("b", "sum", 1, timeout=1.0) for _ in range(MOST_ASKS)]
        self.assertIn("too many", self.reason(self.a.ask("b", "sum", 1, timeout=1.0)))
        self.a.ask("c", "sum", 1, timeout=9.0).addErrback(lambda _: None)
        self.clock.advance(1.0)
        for ask in asks:
            self.reason(ask)
        self.assertNoResult(ask := self.a.ask("b", "sum", 1, timeout=1.0))
        self.a.stop()
        self.assertEqual(self.reason(ask), "this node stops")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_handlers_are_bounded(self) -> None:
        waiting: list[Deferred[int]] = []

        def handle(name: str, body: object) -> Deferred[int]:
            waiting.append(Deferred())
            return waiting[-1]

        self.b.answer("later", handle)
        for id in range(MOST_HANDLED + 1):
            self.b.received("a", {"type": "note_ask", "id": id, "kind": "later", "body": None})
        self.assertEqual((len(waiting), len(self.under_way)), (MOST_HANDLED, 1))
        self.under_way.clear()
        waiting[0].callback(1)
        self.b.received("a", {"type": "note", "kind": "later", "body": None})
        self.assertEqual(len(waiting), MOST_HANDLED + 1)

    def test_a_caller_that_gives_up(self) -> None:
        self.b.answer("sum", lambda name, body: body)
        ask = self.a.ask("b", "sum", 1, timeout=1.0)
        ask.cancel()
        self.failureResultOf(ask)
        self.deliver()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_handler_for_each_kind(self) -> None:
        self.a.answer("sum", lambda name, body: body)
        for kind in ("sum", "", "x" * 65):
            with self.assertRaises(ValueError):
                self.a.answer(kind, lambda name, body: body)


class TellTests(NotesCase):
    def test_it_is_handled_and_not_answered(self) -> None:
        told: list[tuple[str, Any]] = []
        for notes in (self.a, self.b):
            notes.answer("hint", lambda name, body: told.append((name, body)))
        self.assertTrue(self.a.tell("b", "hint", 1))
        self.assertTrue(self.a.tell("b", "unknown", 1))
        self.assertTrue(self.a.tell("a", "hint", 2))
        self.deliver()
        self.assertEqual(told, [("a", 2), ("a", 1)])
        self.linked = False
        self.assertFalse(self.a.tell("b", "hint", 1))


class MalformedTests(NotesCase):
    BAD: tuple[dict[str, Any], ...] = (
        {"type": "note"},
        {"type": "note", "kind": 1, "body": None},
        {"type": "note_ask", "kind": "sum", "body": 1},
        {"type": "note_answer", "id": "x", "body": 1},
        {"type": "note_refusal", "id": 1},
    )

    def test_it_is_logged_once_for_each_connection(self) -> None:
        with capturedLogs() as events:
            for bad in self.BAD:
                self.assertTrue(self.a.received("b", bad))
            self.a.received("c", self.BAD[0])
            self.a.connection_changed("b")
            self.a.received("b", self.BAD[0])
        lines = [eventAsText(event) for event in events]
        self.assertEqual([line.count("invalid note") for line in lines], [1, 1, 1])
        self.assertEqual([line.count("b has sent") for line in lines], [1, 0, 1])

    def test_messages_of_the_engine_are_no_notes(self) -> None:
        for message in ({"type": "pre_vote"}, {}, {"type": ["note"]}, {"type": None}):
            self.assertFalse(self.a.received("b", message))

    def test_an_answer_of_another_member_is_ignored(self) -> None:
        ask = self.a.ask("b", "sum", 1, timeout=1.0)
        self.a.received("c", {"type": "note_answer", "id": 1, "body": 1})
        self.a.received("c", {"type": "note_refusal", "id": 1, "reason": ""})
        self.a.received("b", {"type": "note_answer", "id": 2, "body": 1})
        self.assertNoResult(ask)
        self.a.received("b", {"type": "note_answer", "id": 1, "body": 1})
        self.assertEqual(self.successResultOf(ask), 1)


class SimulatedTests(SynchronousTestCase):
    """
    Replicas over the simulation's transports.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)

    def start(
        self, network: Any, make: Callable[..., Node], names: tuple[str, ...]
    ) -> dict[str, Node]:
        ledger = RaftLedger(self.world)
        network.on_send = ledger.sent
        nodes = {
            name: make(self.world, network, ledger, name, names, ReplicaSettings())
            for name in names
        }
        for node in nodes.values():
            node.start()
        self.world.run(self.world.now + 5.0)
        return nodes

    def check(self, nodes: dict[str, Node]) -> None:
        replicas = {name: node.replica for name, node in nodes.items()}
        asks = []
        for name, replica in replicas.items():
            assert replica is not None
            self.assertEqual(replica.format, NEWEST_FORMAT)
            self.assertEqual(replica.member_names, tuple(nodes))
            self.assertIn(replica.leader_name, nodes)
            replica.notes.answer("who", partial(_who, name))
        for name, replica in replicas.items():
            assert replica is not None
            asks += [
                (name, other, replica.notes.ask(other, "who", Random(1).random(), timeout=1.0))
                for other in nodes
            ]
        self.world.run(self.world.now + 1.0)
        for name, other, ask in asks:
            self.assertEqual(self.successResultOf(ask)[:2], [name, other])

    def test_messages(self) -> None:
        network = Network(self.world)
        network.disorder = 0.5
        nodes = self.start(network, Node, ("n1", "n2", "n3"))
        self.check(nodes)
        first, second = nodes["n1"].replica, nodes["n2"].replica
        assert first is not None
        assert second is not None
        second.notes.answer("never", lambda name, body: Deferred())
        ask = first.notes.ask("n2", "never", None, timeout=60.0)
        nodes["n2"].kill()
        self.world.run(self.world.now + 3.0)
        self.failureResultOf(ask, NoteUnanswered)
        self.failureResultOf(first.notes.ask("n2", "who", None, timeout=60.0), NoteUnanswered)

    def test_sockets(self) -> None:
        nodes = self.start(Sockets(self.world), SocketNode, ("n1", "n2", "n3"))
        self.check(nodes)
        first = nodes["n1"].replica
        assert first is not None
        self.assertEqual(first.members_below(NEWEST_FORMAT), ())
        self.assertEqual(first.members_below(NEWEST_FORMAT + 1), ("n2", "n3"))
        nodes["n2"].kill()
        self.world.run(self.world.now + 3.0)
        self.assertEqual(first.members_below(2), ("n2",))

    def test_one_node_alone(self) -> None:
        self.check(self.start(Network(self.world), Node, ("n1",)))
