"""
Tests for L{alacrity.proxy.upstream.balancer}.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import BalanceSettings
from alacrity.pool import (
    Administration,
    AdminState,
    Change,
    Condition,
    Server,
    ServerOptions,
    State,
)
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.policies.round_robin import STALE_ENTRIES
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing
from tests.support.wire import server


class RotationTests(SynchronousTestCase):
    """
    The rotation follows the pool.
    """

    def test_any_changes(self) -> None:
        """
        Whoever comes, goes and changes its weight: those that are up, and they alone,
        get their shares.
        """
        rng = Random(0)
        balancer = Balancer()
        pool: dict[int, Server] = {}
        for _ in range(2000):
            port = rng.randrange(8)
            before = pool.pop(port, None)
            after = None
            if before is None or rng.random() < 0.7:
                state = rng.choice([State.UP, State.UP, State.DOWN])
                after = pool[port] = server(port, state=state, weight=rng.choice([1, 1, 1, 1, 2]))
            balancer.changed(Change(before, after))
            up = {each.port: each.weight for each in pool.values() if each.state is State.UP}
            if rng.random() < 0.5:
                balancer.choose()
            if rng.random() < 0.2:
                rounds = [balancer.choose() for _ in range(2 * sum(up.values()))]
                counts = Counter(each.port for each in rounds if each is not None)
                for port, weight in up.items():
                    self.assertLessEqual(abs(counts[port] - 2 * weight), 1, (up, counts))
                self.assertLessEqual(set(counts), set(up))

    def test_many_go_and_come_at_once(self) -> None:
        """
        Between two requests, as when a rack fails: those that are left get their shares, and
        then all do.
        """
        for going in (
            STALE_ENTRIES - 1,
            STALE_ENTRIES,
            STALE_ENTRIES + 1,
            3 * STALE_ENTRIES,
        ):
            balancer = Balancer()
            ports = range(1, 5 * STALE_ENTRIES)
            for port in ports:
                balancer.changed(Change(None, server(port)))
            for _ in range(7):
                balancer.choose()
            for port in ports[:going]:
                balancer.changed(Change(server(port), server(port, state=State.DOWN)))
            left = ports[going:]
            chosen = [balancer.choose() for _ in left]
            self.assertEqual(sorted(each.port for each in chosen if each), list(left))
            for port in ports[:going]:
                balancer.changed(Change(server(port, state=State.DOWN), server(port)))
            chosen = [balancer.choose() for _ in ports]
            self.assertEqual(sorted(each.port for each in chosen if each), list(ports))


def with_options(each: Server, **options: Any) -> Server:
    """
    A server that was registered with some options.
    """
    return msgspec.structs.replace(each, options=ServerOptions(**options))


def administered(each: Server, **decisions: Any) -> Server:
    """
    A server about which operators have decided.
    """
    return msgspec.structs.replace(each, administration=Administration(**decisions))


def broken(port: int, **options: Any) -> Server:
    """
    A server that is down by a check that got an HTTP answer.
    """
    return msgspec.structs.replace(
        server(port, state=State.DOWN),
        condition=Condition(was_up=True, answered=True),
        options=ServerOptions(**options),
    )


class Kept:
    """
    A connection that waits for a request.
    """

    login = False
    waits = True

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        """Be closed."""
        self.closed = True

    def retire(self) -> None:
        """The server has left the pool."""


class BalancerCase(SynchronousTestCase):
    """
    A balancer with servers.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool: dict[str, Server] = {}
        self.rooms = 0
        self.make()

    def make(self, settings: BalanceSettings | None = None, **arguments: Any) -> None:
        """
        Begin with another balancer.
        """
        self.pool.clear()
        self.balancer = Balancer(
            settings, clock=self.clock, wall=lambda: 1000.0 + self.clock.seconds(), **arguments
        )
        self.balancer.on_room(self.found_room)
        self.rooms = 0

    def found_room(self) -> None:
        """A server may take requests."""
        self.rooms += 1

    def put(self, *servers: Server) -> None:
        """
        Add servers, or change them.
        """
        for after in servers:
            before = self.pool.get(after.id)
            self.pool[after.id] = after
            self.balancer.changed(Change(before, after))

    def remove(self, port: int) -> None:
        """
        Remove a server.
        """
        self.balancer.changed(Change(self.pool.pop(server(port).id), None))

    def at(self, port: int) -> UpstreamServer:
        """
        A server.
        """
        upstream = self.balancer.upstream(server(port).id)
        assert upstream is not None
        return upstream

    def ports(self, times: int) -> list[int]:
        """
        The ports of the servers that are chosen next.
        """
        found = [self.balancer.choose() for _ in range(times)]
        return [each.port for each in found if each is not None]

    def in_order(self) -> list[int]:
        """
        The ports of the servers that one request is sent to, if all fail it.
        """
        tried: set[UpstreamServer] = set()
        while (chosen := self.balancer.choose(tried)) is not None:
            tried.add(chosen)
        ports = []
        tried = set()
        while (chosen := self.balancer.choose(tried)) is not None:
            ports.append(chosen.port)
            tried.add(chosen)
        return ports


class EligibilityTests(BalancerCase):
    """
    The servers that get requests.
    """

    def test_states(self) -> None:
        """
        Only those that are up, ready, and of some weight.
        """
        self.put(
            server(1),
            server(2, state=State.PENDING),
            server(3, state=State.DOWN),
            server(4, state=State.STOPPING),
            administered(server(5), state=AdminState.DRAIN),
            administered(server(6), state=AdminState.MAINTENANCE),
            administered(server(7), weight=0),
            administered(server(8, weight=0), weight=2),
        )
        self.assertEqual(Counter(self.ports(9)), {1: 3, 8: 6})
        self.assertEqual(len(self.balancer.upstreams()), 8)

    def test_drain(self) -> None:
        """
        A server that is drained gets no new requests; those in flight go on; connections that
        wait are closed, unless sessions may need them.
        """
        for decisions in (
            {"state": AdminState.DRAIN},
            {"state": AdminState.MAINTENANCE},
            {"weight": 0},
        ):
            for sessions in (False, True):
                self.make(sessions=sessions)
                self.put(server(1))
                connection: Any = Kept()
                one = self.at(1)
                one.add(connection)
                one.begin("attempt")
                self.put(administered(server(1), **decisions))
                self.assertIsNone(self.balancer.choose())
                keeps = sessions and decisions.get("state") is AdminState.DRAIN
                self.assertEqual((one.may_serve, connection.closed), (keeps, not keeps))
                self.assertEqual(one.active, 1)
                self.assertFalse(one.retired)
                self.put(server(1))
                self.assertTrue(one.may_serve)
                self.assertIs(self.balancer.choose(), one)

    def test_serve(self) -> None:
        """
        A node that does not serve chooses nobody.
        """
        self.put(server(1))
        self.balancer.choose()
        self.balancer.serve(False)
        self.assertIsNone(self.balancer.choose())
        self.assertFalse(self.balancer.all_full())
        self.rooms = 0
        self.balancer.serve(True)
        self.assertEqual((self.ports(1), self.rooms), ([1], 1))

    def test_removed(self) -> None:
        """
        A server that leaves the pool is forgotten, once its requests have ended.
        """
        self.put(server(1), server(2))
        one = self.at(1)
        one.begin("attempt")
        self.remove(1)
        self.balancer.set_standing(one, Standing.ASIDE)
        self.balancer.room_changed(one)
        self.assertEqual(self.ports(3), [2, 2, 2])
        self.assertEqual(list(self.balancer.draining()), [one])
        one.end("attempt", True)
        self.assertEqual(list(self.balancer.draining()), [])

    def test_requests_of_removed_servers(self) -> None:
        """
        They are counted by id, also once the server is registered anew, and removed again.
        """
        self.put(server(1))
        first, id = self.at(1), server(1).id
        first.begin("a")
        first.begin("b")
        self.assertEqual(self.balancer.removed_in_flight(id), 0)
        self.remove(1)
        self.put(server(1))
        second = self.at(1)
        second.begin("c")
        self.assertEqual(self.balancer.removed_in_flight(id), 2)
        self.remove(1)
        self.assertEqual(self.balancer.removed_in_flight(id), 3)
        for upstream, attempt in ((first, "a"), (first, "b"), (second, "c")):
            upstream.end(attempt, True)
        self.assertEqual(self.balancer.removed_in_flight(id), 0)


class TierTests(BalancerCase):
    """
    The order in which servers are chosen from.
    """

    def test_order(self) -> None:
        """
        By priority; then those aside, the ejected, and the suspect.
        """
        suspect = msgspec.structs.replace(server(6), condition=Condition(suspect=True))
        self.put(
            suspect,
            server(5),
            server(4),
            with_options(server(3), priority=7),
            with_options(server(2), priority=1),
            server(1),
        )
        self.balancer.set_standing(self.at(5), Standing.EJECTED)
        self.balancer.set_standing(self.at(4), Standing.ASIDE)
        self.balancer.set_standing(self.at(6), Standing.ASIDE)
        self.assertEqual(self.in_order(), [1, 2, 3, 4, 5, 6])
        self.assertEqual(self.ports(3), [1, 1, 1])
        for port in (1, 2, 3, 4):
            self.put(administered(self.pool[server(port).id], state=AdminState.DRAIN))
        self.assertEqual(self.in_order(), [5, 6])

    def test_backups(self) -> None:
        """
        A backup gets requests while no server before it can, and then no more.
        """
        self.put(server(1), with_options(server(2), priority=1))
        self.assertEqual(self.ports(2), [1, 1])
        self.put(server(1, state=State.DOWN))
        self.assertEqual(self.ports(2), [2, 2])
        self.put(server(1))
        self.assertEqual(self.ports(2), [1, 1])

    def test_aside_and_back(self) -> None:
        """
        One that goes aside and returns has its turn where it had it.
        """
        self.put(*map(server, range(1, 5)))
        self.assertEqual(self.ports(1), [1])
        self.balancer.set_standing(self.at(1), Standing.ASIDE)
        self.assertEqual(self.ports(3), [2, 3, 4])
        self.assertIs(self.at(1).standing, Standing.ASIDE)
        self.balancer.set_standing(self.at(1), Standing.GOOD)
        self.assertEqual(self.ports(8), [1, 2, 3, 4] * 2)

    def test_any_method(self) -> None:
        """
        The order holds for each method.
        """
        for method in ("round_robin", "least_requests", "hash"):
            self.make(BalanceSettings(method=method))
            self.put(server(1), server(2), with_options(server(3), priority=1))
            self.balancer.set_standing(self.at(2), Standing.ASIDE)
            tried: set[UpstreamServer] = set()
            for port in (1, 3, 2):
                chosen = self.balancer.choose(tried, b"a")
                assert chosen is not None
                self.assertEqual(chosen.port, port)
                tried.add(chosen)
            self.assertIsNone(self.balancer.choose(tried, b"a"))


class CapTests(BalancerCase):
    """
    Servers that have as many requests as they may have.
    """

    def test_full(self) -> None:
        """
        One that is full is passed over, until a request ends.
        """
        self.make(cap_of=lambda each: each.options.max_requests or 0)
        self.put(with_options(server(1), max_requests=2), server(2))
        one = self.at(1)
        self.assertEqual((one.cap, self.at(2).cap), (2, 0))
        one.begin(1)
        self.assertFalse(one.full)
        self.assertEqual(self.ports(2), [1, 2])
        one.begin(2)
        self.assertTrue(one.full)
        self.assertEqual(self.ports(3), [2, 2, 2])
        self.rooms = 0
        one.end(1, True)
        self.assertEqual((one.full, self.rooms), (False, 1))
        self.assertEqual(Counter(self.ports(4)), {1: 2, 2: 2})

    def test_all_full(self) -> None:
        """
        Whether all are full is another question than whether there are any.
        """
        self.make(cap_of=lambda _: 1)
        self.assertFalse(self.balancer.all_full())
        self.put(server(1), with_options(server(2), priority=1), server(3, state=State.DOWN))
        one, two = self.at(1), self.at(2)
        one.begin("a")
        self.assertFalse(self.balancer.all_full())
        self.assertEqual(self.ports(1), [2])
        self.assertTrue(self.balancer.all_full({two}))
        self.assertFalse(self.balancer.all_full({one}))
        two.begin("b")
        self.assertTrue(self.balancer.all_full())
        self.assertIsNone(self.balancer.choose())
        self.assertFalse(self.balancer.all_full({one, two}))
        self.put(administered(server(1), state=AdminState.DRAIN))
        self.remove(2)
        self.assertFalse(self.balancer.all_full())

    def test_changed_cap(self) -> None:
        """
        A cap that changes takes effect at once; one below 0 lets no request through.
        """
        caps = {"all": 1}
        self.make(cap_of=lambda _: caps["all"])
        self.put(server(1))
        one = self.at(1)
        one.begin("a")
        for cap, full in ((1, True), (2, False), (-1, True), (0, False)):
            caps["all"] = cap
            self.rooms = 0
            self.balancer.room_changed(one)
            self.assertEqual((one.full, self.balancer.all_full()), (full, full))
            self.assertEqual(self.rooms, int(not full))
            self.assertEqual(len(self.ports(1)), int(not full))

    def test_room(self) -> None:
        """
        Whoever waits for room is told of servers that come up, become ready, or get a weight,
        and not of others.
        """
        for before, after, told in (
            (server(1, state=State.PENDING), server(1), 1),
            (administered(server(1), state=AdminState.DRAIN), server(1), 1),
            (administered(server(1), weight=0), server(1), 1),
            (server(1), server(1, weight=2), 0),
            (server(1), server(1, state=State.DOWN), 0),
        ):
            self.make()
            self.put(server(2), before)
            self.rooms = 0
            self.put(after)
            self.assertEqual(self.rooms, told, (before, after))

    def test_any_changes(self) -> None:
        """
        Whatever happens, one is chosen if and only if it may get requests and has room.
        """
        rng = Random(2)
        self.make(cap_of=lambda each: each.options.max_requests or 0)
        flying: list[tuple[UpstreamServer, int]] = []
        for step in range(3000):
            port = rng.randrange(1, 7)
            change = rng.random()
            if change < 0.2:
                state = rng.choice([State.UP, State.UP, State.DOWN])
                self.put(
                    with_options(
                        server(port, state=state, weight=rng.choice([1, 1, 3])),
                        max_requests=rng.choice([0, 1, 2]),
                        priority=rng.choice([0, 0, 1]),
                    )
                )
            elif change < 0.25 and server(port).id in self.pool:
                self.remove(port)
            elif change < 0.3 and server(port).id in self.pool:
                self.balancer.set_standing(self.at(port), rng.choice(list(Standing)))
            elif change < 0.6 and flying:
                upstream, attempt = flying.pop(rng.randrange(len(flying)))
                upstream.end(attempt, True)
            able = {
                each.id
                for each in self.balancer.upstreams()
                if each.pooled.eligible and not (each.cap and each.active >= each.cap)
            }
            chosen = self.balancer.choose()
            self.assertEqual(chosen is not None, bool(able))
            self.assertEqual(
                set(self.in_order()), {self.at(int(id.split(":")[1])).port for id in able}
            )
            eligible = any(each.pooled.eligible for each in self.balancer.upstreams())
            self.assertEqual(self.balancer.all_full(), eligible and not able)
            if chosen is not None:
                self.assertIn(chosen.id, able)
                chosen.begin(step)
                flying.append((chosen, step))


class GroupTests(BalancerCase):
    """
    The weights of groups.
    """

    def test_shares(self) -> None:
        """
        A group has its share, however many servers it has.
        """
        self.make(BalanceSettings(groups={"canary": 1, "stable": 9, "off": 0}))
        self.put(with_options(server(1), group="stable"))
        self.assertEqual(self.ports(3), [1, 1, 1])
        self.put(
            with_options(server(2), group="stable"),
            with_options(server(3), group="canary"),
            with_options(server(4), group="off"),
        )
        counts = Counter(self.ports(1000))
        self.assertApproximates(counts[3], 100, 2)
        self.assertApproximates(counts[1], 450, 2)
        self.assertEqual(counts[4], 0)
        self.put(with_options(server(2, state=State.DOWN), group="stable"))
        self.assertApproximates(Counter(self.ports(1000))[3], 100, 2)
        self.put(with_options(server(1, state=State.DOWN), group="stable"))
        self.assertEqual(self.ports(3), [3, 3, 3])


class SlowStartTests(BalancerCase):
    """
    The weights of servers that have just come up.
    """

    def setUp(self) -> None:
        super().setUp()
        self.make(BalanceSettings(slow_start=10.0))

    def share(self) -> float:
        """
        The share of server 2, relative to that of server 1.
        """
        counts = Counter(self.ports(2000))
        return counts[2] / counts[1]

    def up(self, port: int = 2) -> Server:
        """
        A server that is up from now on.
        """
        return msgspec.structs.replace(server(port), since=1000.0 + self.clock.seconds())

    def test_rises(self) -> None:
        """
        From a tenth to the whole, after it was pending, or down.
        """
        for state in (State.PENDING, State.DOWN):
            self.make(BalanceSettings(slow_start=10.0))
            self.put(server(1), server(2, state=state))
            self.put(self.up())
            for second in range(10):
                self.assertApproximates(self.share(), 0.1 + 0.09 * second, 0.01)
                self.clock.advance(1)
            self.assertApproximates(self.share(), 1.0, 0.01)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_ejection(self) -> None:
        """
        One that was ejected starts slowly, one that was aside does not.
        """
        self.put(server(1), server(2))
        self.balancer.set_standing(self.at(2), Standing.ASIDE)
        self.balancer.set_standing(self.at(2), Standing.GOOD)
        self.assertApproximates(self.share(), 1.0, 0.01)
        self.balancer.set_standing(self.at(2), Standing.EJECTED)
        self.balancer.set_standing(self.at(2), Standing.GOOD)
        self.assertApproximates(self.share(), 0.1, 0.01)
        self.balancer.stop()

    def test_not(self) -> None:
        """
        Not if it was up before, as far as this node knows; not when it came up long ago; not on
        another registration; not after a drain.
        """
        self.put(server(1), server(2))
        self.put(msgspec.structs.replace(self.up(), revision=9))
        self.put(administered(self.up(), state=AdminState.DRAIN))
        self.put(self.up())
        self.put(server(2, state=State.PENDING))
        self.put(msgspec.structs.replace(server(2), since=980.0))
        self.assertApproximates(self.share(), 1.0, 0.01)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_all(self) -> None:
        """
        Not while all servers do; the rest of it counts once one does not.
        """
        self.put(server(1, state=State.PENDING), server(2, state=State.PENDING))
        self.put(self.up(1))
        self.clock.advance(4)
        self.put(self.up(2))
        self.assertApproximates(self.share(), 1.0, 0.01)
        self.clock.advance(3)
        self.assertApproximates(self.share(), 1.0, 0.01)
        self.clock.advance(3)
        self.assertApproximates(self.share(), 0.64, 0.01)
        self.balancer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_down_meanwhile(self) -> None:
        """
        One that goes down begins anew when it comes up again.
        """
        self.put(server(1), server(2, state=State.PENDING))
        self.put(self.up())
        self.clock.advance(5)
        self.put(server(2, state=State.DOWN))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1)
        self.put(self.up())
        self.assertApproximates(self.share(), 0.1, 0.01)
        self.remove(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FailOpenTests(BalancerCase):
    """
    Servers whose checks do not show that they are dead.
    """

    def test_begins_and_ends(self) -> None:
        """
        They get requests while no server is eligible. One line says that this begins, and one
        that it has ended.
        """
        with capturedLogs() as logs:
            self.put(broken(1), broken(2), server(3, state=State.DOWN), server(4))
            self.clock.advance(0)
            self.assertFalse(self.balancer.failing_open)
            self.assertEqual(self.ports(2), [4, 4])
            self.assertEqual(logs, [])
            connection: Any = Kept()
            self.at(1).add(connection)
            self.rooms = 0
            self.put(server(4, state=State.DOWN))
            self.assertTrue(self.balancer.failing_open)
            self.assertEqual(self.rooms, 1)
            self.assertTrue(self.at(1).may_serve)
            self.assertEqual(Counter(self.ports(4)), {1: 2, 2: 2})
            self.clock.advance(0)
            self.put(broken(5))
            self.assertEqual(Counter(self.ports(6)), {1: 2, 2: 2, 5: 2})
            self.assertEqual(len(logs), 1)
            self.put(server(4))
            self.clock.advance(0)
        self.assertEqual(self.ports(2), [4, 4])
        self.assertTrue(connection.closed)
        self.assertFalse(self.at(1).may_serve)
        begun, ended = logs
        self.assertEqual((begun["log_level"], ended["log_level"]), (LogLevel.warn, LogLevel.info))
        self.assertEqual(begun["servers"], "10.0.0.7:1, 10.0.0.7:2")
        self.assertEqual(ended["servers"], begun["servers"])

    def test_order(self) -> None:
        """
        Those that fail are chosen last among them, too.
        """
        self.put(broken(3, priority=1), broken(2), broken(1))
        self.balancer.set_standing(self.at(2), Standing.ASIDE)
        self.assertEqual(self.in_order(), [1, 3, 2])

    def test_not(self) -> None:
        """
        Not if it is switched off, if the node does not serve, or if there is nobody to fail
        open with.
        """
        self.make(fail_open=False)
        self.put(broken(1))
        self.assertIsNone(self.balancer.choose())
        self.make()
        self.put(server(1, state=State.DOWN), administered(broken(2), state=AdminState.DRAIN))
        self.assertFalse(self.balancer.failing_open)
        self.assertIsNone(self.balancer.choose())
        self.put(broken(3))
        self.assertTrue(self.balancer.failing_open)
        self.balancer.serve(False)
        self.assertFalse(self.balancer.failing_open)
        self.balancer.serve(True)
        self.assertTrue(self.balancer.failing_open)
        self.remove(3)
        self.assertFalse(self.balancer.failing_open)
        self.balancer.stop()

    def test_a_pool_that_is_loaded(self) -> None:
        """
        No line is written of what is over before the next turn of the loop; a line names ten
        servers at most.
        """
        with capturedLogs() as logs:
            self.put(broken(1), server(2))
            self.clock.advance(0)
            self.assertEqual(logs, [])
            self.put(*map(broken, range(2, 16)))
            self.clock.advance(0)
        (begun,) = logs
        self.assertTrue(begun["servers"].endswith("10.0.0.7:10 and 5 more"), begun["servers"])


class _CountedGroups(dict[str, int]):
    """
    Weights of groups, and how often they were looked at.
    """

    looks = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)


class StormTests(BalancerCase):
    """
    Many changes at once.
    """

    def test_groups_at_once(self) -> None:
        """
        Weights of groups are reckoned once, however many servers change between two choices.
        """
        groups = _CountedGroups({"a": 1, "b": 2})
        self.make(BalanceSettings(groups=groups))
        self.put(*(with_options(server(n), group="ab"[n % 2]) for n in range(1, 401)))
        self.ports(3)
        groups.looks = 0
        for n in range(1, 300):
            self.put(with_options(server(n, state=State.DOWN), group="ab"[n % 2]))
        self.ports(3)
        # A few for each change, and one for each server that is left.
        self.assertGreater(groups.looks, 100)
        self.assertLess(groups.looks, 2000)
