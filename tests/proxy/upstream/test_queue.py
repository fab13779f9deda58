"""
The queue of requests that wait while all servers are full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream.queue import LOOKS_PER_TURN, Place, WaitingQueue


class Request:
    """
    A request that waits, for any server or for some.

    @ivar ended: how it has ended.
    """

    place: Place | None = None

    def __init__(self, house: House, allowed: frozenset[int] | None = None) -> None:
        self.house = house
        self.allowed = allowed
        self.choosy = allowed is not None
        self.on: int | None = None
        self.ended = ""

    def servers(self) -> list[int]:
        allowed = self.house.caps if self.allowed is None else self.allowed & set(self.house.caps)
        return sorted(allowed)

    def begin(self) -> bool:
        for each in self.servers():
            if self.house.has_room(each):
                self.on = each
                self.house.began.append(self)
                return True
        return False

    def may_wait(self) -> bool:
        return bool(self.servers())

    def unserved(self) -> None:
        self.ended = "unserved"

    def crashed(self, failure: Failure) -> None:
        self.ended = "crashed"


class House:
    """
    Servers with caps, and a queue in front of them.
    """

    def __init__(self, size: int = 1000) -> None:
        self.clock = Clock()
        self.caps: dict[int, int] = {}
        self.began: list[Request] = []
        self.calls: list[Callable[[], None]] = []
        self.queue = WaitingQueue(
            size=size, timeout=5.0, soon=self.calls.append, monotonic=self.clock.seconds
        )

    def active(self, server: int) -> int:
        return sum(each.on == server for each in self.began)

    def has_room(self, server: int) -> bool:
        return self.active(server) < self.caps[server]

    def ask(self, allowed: frozenset[int] | None = None) -> Request:
        """A request comes."""
        request = Request(self, allowed)
        if self.queue.length or not request.begin():
            if not request.may_wait():
                request.ended = "unserved"
            else:
                request.place = self.queue.join(request)
                if request.place is None:
                    request.ended = "full"
        return request

    def end(self, request: Request) -> None:
        """A request ends."""
        self.began.remove(request)
        request.ended = "done"
        self.queue.wake()

    def turns(self) -> int:
        turns = 0
        while self.calls:
            turns += 1
            calls, self.calls[:] = self.calls.copy(), []
            for each in calls:
                each()
        return turns


class QueueTests(SynchronousTestCase):
    """
    Single moments.
    """

    def test_first_come(self) -> None:
        """
        Those that wait begin in their order, as many as there is room for.
        """
        house = House()
        house.caps = {1: 2}
        first, second = house.ask(), house.ask()
        waiting = [house.ask() for _ in range(4)]
        self.assertEqual(house.queue.length, 4)
        house.end(first)
        house.end(second)
        house.turns()
        self.assertEqual([each.on for each in waiting], [1, 1, None, None])
        self.assertEqual(house.queue.length, 2)

    def test_newcomer_waits(self) -> None:
        """
        Where some wait, whoever comes now comes after them, even if a server has room already.
        """
        house = House()
        house.caps = {1: 1}
        first, waiting = house.ask(), house.ask()
        house.end(first)
        late = house.ask()
        house.turns()
        self.assertEqual((waiting.on, late.on), (1, None))

    def test_full(self) -> None:
        """
        No more may wait than the size says; with a size of 0, none.
        """
        house = House(size=1)
        house.caps = {1: 1}
        house.ask()
        self.assertEqual([house.ask().ended, house.ask().ended], ["", "full"])
        empty = House(size=0)
        empty.caps = {1: 1}
        empty.ask()
        self.assertEqual(empty.ask().ended, "full")

    def test_leaves(self) -> None:
        """
        One that leaves frees its place at once, and does not begin. To leave twice is no harm.
        """
        house = House(size=2)
        house.caps = {1: 1}
        first, gone, next_one = house.ask(), house.ask(), house.ask()
        assert gone.place is not None
        house.clock.advance(1.5)
        self.assertEqual(gone.place.waited, 1.5)
        gone.place.leave()
        gone.place.leave()
        self.assertEqual(house.queue.length, 1)
        house.end(first)
        house.turns()
        self.assertEqual((gone.on, next_one.on), (None, 1))

    def test_last_server_gone(self) -> None:
        """
        If no server is left that could take them, all that wait are told, however many.
        """
        house = House()
        house.caps = {1: 1}
        house.ask()
        waiting = [house.ask() for _ in range(100)]
        house.turns()
        house.caps = {}
        house.queue.wake()
        self.assertGreaterEqual(house.turns(), 100 // LOOKS_PER_TURN)
        self.assertEqual({each.ended for each in waiting}, {"unserved"})
        self.assertEqual(house.queue.length, 0)

    def test_bounded_turns(self) -> None:
        """
        A new server with much room takes all that wait, a bounded number in each turn.
        """
        house = House()
        house.caps = {1: 1}
        house.ask()
        waiting = [house.ask() for _ in range(100)]
        house.turns()
        house.caps[2] = 500
        house.queue.wake()
        house.calls.pop()()
        self.assertEqual(house.active(2), LOOKS_PER_TURN)
        house.turns()
        self.assertEqual([each.on for each in waiting], [2] * 100)

    def test_choosy_do_not_block(self) -> None:
        """
        One that waits for a certain server holds nobody up, and is not held up.
        """
        house = House()
        house.caps = {1: 1, 2: 1}
        house.ask(frozenset({1}))
        plain = house.ask()
        choosy = house.ask(frozenset({1}))
        other = house.ask()
        house.end(plain)
        house.turns()
        self.assertEqual((choosy.on, other.on), (None, 2))
        later = house.ask()
        pinned = house.ask(frozenset({3, 1}))
        house.caps[3] = 1
        house.caps[2] = 1
        house.queue.wake()
        house.turns()
        self.assertEqual((later.on, pinned.on), (3, None))

    def test_fault(self) -> None:
        """
        An exception of one that begins is its own: it leaves, and the next ones begin.
        """
        house = House()
        house.caps = {1: 1}
        first, broken, sound = house.ask(), house.ask(), house.ask()

        def fail() -> Any:
            raise ValueError("a fault")

        broken.begin = fail  # type: ignore[method-assign]
        house.end(first)
        house.turns()
        self.assertEqual((broken.ended, sound.on), ("crashed", 1))


class QueueMachine(RuleBasedStateMachine):
    """
    Any servers, caps and requests: first come, first served; never above a cap that was not
    lowered; nobody waits beside a server with room; nobody is forgotten.
    """

    @initialize(size=st.integers(0, 40))
    def begin(self, size: int) -> None:
        self.house = House(size)
        self.house.caps = {1: 1}
        self.asked: list[Request] = []

    @rule(
        number=st.integers(1, 40), allowed=st.none() | st.frozensets(st.integers(1, 4), min_size=1)
    )
    def ask(self, number: int, allowed: frozenset[int] | None) -> None:
        self.asked += [self.house.ask(allowed) for _ in range(number)]

    @precondition(lambda self: self.house.began)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.house.end(data.draw(st.sampled_from(self.house.began)))

    @precondition(lambda self: self.house.queue.length)
    @rule(data=st.data())
    def client_goes(self, data: st.DataObject) -> None:
        waiting = [each for each in self.asked if each.on is None and not each.ended]
        gone = data.draw(st.sampled_from(waiting))
        assert gone.place is not None
        gone.place.leave()
        gone.ended = "gone"

    @rule(server=st.integers(1, 4), cap=st.integers(0, 40))
    def change(self, server: int, cap: int) -> None:
        before = self.house.active(server)
        self.house.caps[server] = max(cap, before)
        self.house.queue.wake()

    @rule(server=st.integers(1, 4))
    def remove(self, server: int) -> None:
        self.house.caps.pop(server, None)
        for each in [each for each in self.house.began if each.on == server]:
            self.house.began.remove(each)
            each.ended = "done"
        self.house.queue.wake()

    @rule()
    def turns(self) -> None:
        self.house.turns()
        for each in self.asked:
            if each.on is None and not each.ended:
                assert each.servers(), "it waits, and no server could take it"
                assert not any(map(self.house.has_room, each.servers())), "it waits beside room"

    @rule()
    def one_turn(self) -> None:
        if self.house.calls:
            self.house.calls.pop(0)()

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "house"):
            return
        house = self.house
        waiting = [each for each in self.asked if each.on is None and not each.ended]
        assert house.queue.length == len(waiting) <= max(house.queue.size, 0)
        for id, cap in house.caps.items():
            assert house.active(id) <= cap
        begun = [index for index, each in enumerate(self.asked) if each.on is not None]
        plain = [each for each in self.asked if not each.choosy and each.ended in {"", "done"}]
        # None that any server may take has been overtaken by another such.
        started = [each.on is not None for each in plain]
        assert started == sorted(started, reverse=True) or not begun


QueueProperties = QueueMachine.TestCase
