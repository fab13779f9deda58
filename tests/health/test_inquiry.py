"""
L{alacrity.health.inquiry}: questions to other members.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.inquiry import ANSWERS, MOMENT, MOST_ASKED, Answer, Inquiry
from alacrity.health.opinions import Opinion
from alacrity.health.watch import Watch
from alacrity.pool import Server, State, TcpCheck
from tests.health.bench import EPOCH, Health


class FakeWitnesses:
    """
    Other members that answer when the test says so.

    @ivar asked: the asks, with the ids of the servers.
    @ivar sees: by member, the servers that it reaches; L{None}: all. Those that are not in it
        answer nothing until L{answer}.
    """

    def __init__(self, *names: str) -> None:
        self.others: Sequence[str] = names
        self.settled_for = 1e9
        self.asked: list[tuple[str, list[str], float]] = []
        self.open: list[tuple[str, list[str], Deferred[dict[str, bool]]]] = []
        self.dead: set[str] = set()
        self.handed_over: list[str] = []

    def ask(
        self, name: str, servers: Sequence[Server], timeout: float
    ) -> Deferred[dict[str, bool]]:
        ids = [each.id for each in servers]
        self.asked.append((name, ids, timeout))
        if name in self.dead:
            return fail(RuntimeError("there is no connection"))
        answer: Deferred[dict[str, bool]] = Deferred()
        self.open.append((name, ids, answer))
        return answer

    def hand_over(self, name: str) -> None:
        self.handed_over.append(name)
        self.settled_for = 0.0

    def answer(self, **reached: bool | set[str]) -> None:
        """
        Answer all that is asked.

        @param reached: by name, whether it reaches all, or which.
        """
        taken, self.open = self.open, []
        for name, ids, answer in taken:
            sees = reached[name]
            answer.callback({id: sees if isinstance(sees, bool) else id in sees for id in ids})


def watch(port: int = 1, timeout: float | None = None) -> Watch:
    """
    A server that is up, and watched.
    """
    check = TcpCheck(timeout=timeout)
    up = Server("10.0.0.7", port, check, 1, State.UP, "before", EPOCH, EPOCH, port)
    return Watch(up, Health(), 0.0)


class InquiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def begin(self, *names: str, asks_all: bool = False) -> None:
        self.witnesses = FakeWitnesses(*names)
        self.inquiry = Inquiry(self.witnesses, self.clock, Random(1), asks_all=asks_all)

    def ask(self, *watches: Watch) -> list[Deferred[Answer | None]]:
        answers = [self.inquiry.ask(each) for each in watches]
        self.clock.advance(0)
        return answers

    def opinion(self, answer: Deferred[Answer | None]) -> Opinion:
        found = self.successResultOf(answer)
        assert found is not None
        return found.opinion

    def asked(self) -> list[str]:
        return [name for name, _, _ in self.witnesses.asked]

    def test_one_of_three_is_asked(self) -> None:
        self.begin("b", "c")
        (answer,) = self.ask(watch())
        ((_, ids, timeout),) = self.witnesses.asked
        self.assertEqual((ids, timeout), (["10.0.0.7:1"], 2.0))
        self.witnesses.answer(b=False, c=False)
        self.assertIs(self.opinion(answer), Opinion.DOWN)
        self.assertEqual(len(self.witnesses.asked), 1)

    def test_two_of_five(self) -> None:
        self.begin("b", "c", "d", "e")
        (answer,) = self.ask(watch())
        self.assertEqual(len(set(self.asked())), 2)
        self.witnesses.answer(b=False, c=False, d=False, e=False)
        self.assertIs(self.opinion(answer), Opinion.DOWN)

    def test_who_reaches_it_is_told(self) -> None:
        self.begin("b", "c", asks_all=True)
        (answer,) = self.ask(watch())
        self.witnesses.answer(b=True, c=True)
        self.assertEqual(
            self.successResultOf(answer), Answer(Opinion.REACHED_BY_MAJORITY, ("b", "c"))
        )

    def test_another_is_asked_for_one_that_does_not_answer(self) -> None:
        for dead in "bc":
            self.begin("b", "c")
            self.witnesses.dead = {dead}
            (answer,) = self.ask(watch())
            self.witnesses.answer(b=True, c=True)
            self.assertIs(self.opinion(answer), Opinion.REACHED)

    def test_none_answers(self) -> None:
        self.begin("b", "c")
        self.witnesses.dead = {"b", "c"}
        (answer,) = self.ask(watch())
        self.assertIs(self.opinion(answer), Opinion.DOWN_ALONE)
        self.assertEqual(set(self.asked()), {"b", "c"})

    def test_one_that_does_not_know_the_server(self) -> None:
        self.begin("b", "c")
        (answer,) = self.ask(watch())
        ((_, _, open),) = self.witnesses.open
        self.witnesses.open.clear()
        open.callback({})
        self.assertEqual(len(self.witnesses.open), 1)
        self.witnesses.answer(b=True, c=True)
        self.assertIs(self.opinion(answer), Opinion.REACHED)

    def test_who_contradicted_is_asked_first(self) -> None:
        self.begin("b", "c", "d", "e", "f", "g")
        asked = watch()
        self.ask(asked)
        while "g" not in [name for name, _, _ in self.witnesses.open]:
            self.witnesses.answer(**dict.fromkeys("bcdefg", False))
            self.ask(asked)
        self.witnesses.answer(**{**dict.fromkeys("bcdef", False), "g": True})
        for _ in range(10):
            self.ask(asked)
            self.assertIn("g", [name for name, _, _ in self.witnesses.open])
            self.witnesses.answer(**{**dict.fromkeys("bcdef", False), "g": True})

    def test_those_of_one_turn_are_asked_about_together(self) -> None:
        self.begin("b", "c")
        answers = self.ask(*map(watch, range(1, 11)))
        self.assertEqual(len(self.witnesses.asked), 1)
        odd = {f"10.0.0.7:{port}" for port in range(1, 11, 2)}
        self.witnesses.answer(b=odd, c=odd)
        self.assertEqual(
            [self.opinion(each) for each in answers], [Opinion.REACHED, Opinion.DOWN] * 5
        )

    def test_those_of_another_time_limit_are_asked_about_apart(self) -> None:
        self.begin("b")
        self.ask(watch(1), watch(2, 0.5), watch(3))
        self.clock.advance(0)
        self.assertEqual(
            [(len(ids), timeout) for _, ids, timeout in self.witnesses.asked], [(2, 2.0), (1, 0.5)]
        )

    def test_one_does_not_wait_for_the_round_before(self) -> None:
        self.begin("b")
        (first,) = self.ask(watch(1))
        (second,) = self.ask(watch(2))
        self.assertEqual(len(self.witnesses.asked), 2)
        self.witnesses.answer(b=False)
        self.assertEqual({self.opinion(first), self.opinion(second)}, {Opinion.DOWN})

    def test_of_many_some_are_asked_about_and_the_others_follow(self) -> None:
        for reaches, opinion in ((False, Opinion.DOWN), (True, Opinion.REACHED)):
            self.begin("b", "c")
            answers = self.ask(*map(watch, range(1, 1001)))
            ((_, ids, _),) = self.witnesses.asked
            self.assertEqual(len(set(ids)), MOST_ASKED)
            self.witnesses.answer(b=reaches, c=reaches)
            # While they are told, requests are not kept waiting.
            self.assertEqual(sum(each.called for each in answers), ANSWERS)
            self.clock.pump([MOMENT] * 100)
            self.assertEqual({self.opinion(each) for each in answers}, {opinion})
            self.assertEqual(len(self.witnesses.asked), 1)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_of_many_none_follows_where_members_are_not_of_one_opinion(self) -> None:
        self.begin("b", "c")
        watches = [watch(port) for port in range(1, 201)]
        reached = {f"10.0.0.7:{port}" for port in range(1, 101)}
        answers = self.ask(*watches)
        while self.witnesses.open:
            self.witnesses.answer(b=reached, c=reached)
            self.clock.pump([MOMENT] * 20)
        for each, answer in zip(watches, answers, strict=True):
            expected = Opinion.REACHED if each.server.id in reached else Opinion.DOWN
            self.assertIs(self.opinion(answer), expected)

    def test_no_more_rounds_than_allowed(self) -> None:
        self.begin("b")
        answers = [self.ask(watch(port))[0] for port in range(1, 11)]
        self.assertEqual(len(self.witnesses.open), 4)
        self.witnesses.answer(b=False)
        self.clock.advance(0)
        # All that waited are in one.
        self.assertEqual([len(ids) for _, ids, _ in self.witnesses.open], [6])
        self.witnesses.answer(b=False)
        self.assertEqual({self.opinion(each) for each in answers}, {Opinion.DOWN})

    def test_one_that_is_gone_before_it_is_asked_about(self) -> None:
        self.begin("b")
        gone = watch(1)
        answer = self.inquiry.ask(gone)
        gone.end()
        self.clock.advance(0)
        self.assertIsNone(self.successResultOf(answer))
        self.assertEqual(self.witnesses.asked, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
