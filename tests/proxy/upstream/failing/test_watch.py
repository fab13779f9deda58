"""
Tests for L{alacrity.proxy.upstream.failing.watch}: servers that fail, and requests that try
them, between clients and servers that the tests play.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from alacrity.config import EjectionSettings, RetrySettings
from alacrity.pool import State
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing
from tests.support.wire import Proxy, Wire, server

GET: Final = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST: Final = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
BAD: Final = OK.replace(b"200 OK", b"503 Busy")
EARLY: Final = b"HTTP/1.1 103 Early Hints\r\n\r\n"


def status(client: Wire) -> int:
    """
    The status of the one response that a client got; 0: none.
    """
    sent = client.take()
    return int(sent.split(b" ")[1]) if sent else 0


def collect(case: SynchronousTestCase) -> list[str]:
    """
    The lines that are logged while a test runs.
    """
    lines: list[str] = []

    @implementer(ILogObserver)
    class Observer:
        def __call__(self, event: LogEvent) -> None:
            lines.append(formatEvent(event))

    observer = Observer()
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return lines


class FailingTests(SynchronousTestCase):
    """
    A proxy with some servers.
    """

    def begin(self, number: int, **arguments: Any) -> None:
        """
        Begin with servers, that have the ports 1 and so on.
        """
        self.proxy = Proxy(*(server(port) for port in range(1, number + 1)), **arguments)

    def upstream(self, port: int = 1) -> UpstreamServer:
        """
        A server.
        """
        upstream = self.proxy.balancer.upstream(f"10.0.0.7:{port}")
        assert upstream is not None
        return upstream

    def standing(self, port: int = 1) -> Standing:
        """
        A server's standing.
        """
        return self.upstream(port).standing

    def ask(self, request: bytes = GET) -> tuple[Wire, Wire]:
        """
        A client asks.

        @return: its connection, and the one to the server that has the request.
        """
        client = self.proxy.client()
        client.receive(request)
        return client, self.waiting()[-1]

    def waiting(self) -> list[Wire]:
        """
        The connections to servers that have an unanswered request.
        """
        return [each for each in self.proxy.servers if each.sent and not each.lost]

    def answer(self, wire: Wire, response: bytes = OK) -> None:
        """
        A server answers.
        """
        wire.take()
        wire.receive(response)

    def asked(self, response: bytes = OK, request: bytes = GET) -> int:
        """
        A client asks and is answered.

        @return: the port of the server.
        """
        _, wire = self.ask(request)
        self.answer(wire, response)
        return int(wire.getPeer().port)

    def ports(self, number: int) -> list[int]:
        """
        The servers of some requests.
        """
        return [self.asked() for _ in range(number)]


class AsideTests(FailingTests):
    """
    Servers that cannot be connected to.
    """

    def setUp(self) -> None:
        self.begin(2)
        self.proxy.refusing.add(1)

    def test_one_failure(self) -> None:
        """
        One is enough: from then on, the other server has all requests.
        """
        self.ports(2)
        self.assertEqual(self.standing(), Standing.ASIDE)
        self.proxy.attempts.clear()
        self.assertEqual(self.ports(4), [2, 2, 2, 2])
        self.assertEqual(len(self.proxy.attempts), 4)

    def test_period(self) -> None:
        """
        At the end of each time one request tries it, and each is twice as long.
        """
        self.ports(2)
        self.proxy.attempts.clear()
        tries = []
        for quarter in range(4 * 70):
            self.proxy.clock.advance(0.25)
            self.ports(3)
            tries += [quarter / 4 for each in self.proxy.attempts if each.server == "10.0.0.7:1"]
            self.proxy.attempts.clear()
        gaps = [round(after - before) for before, after in pairwise(tries)]
        self.assertEqual(gaps, [2, 4, 8, 16, 30])
        self.assertEqual(self.proxy.stats.client.failed, 0)

    def test_one_probe(self) -> None:
        """
        While one request tries it, no other does.
        """
        self.ports(2)
        self.proxy.automatic = False
        self.proxy.refusing.clear()
        self.proxy.wait(1.0)
        clients = [self.proxy.client() for _ in range(3)]
        for each in clients:
            each.receive(GET)
        connecting = [upstream.port for upstream, _ in self.proxy.connecting]
        self.assertEqual(connecting.count(1), 1)

    def test_many_at_once(self) -> None:
        """
        The times of many servers end together: a request tries one of them, and then goes to one
        that is good.
        """
        self.begin(16)
        self.proxy.refusing |= set(range(1, 16))
        while not all(self.standing(port) is Standing.ASIDE for port in range(1, 16)):
            self.proxy.client().receive(GET)
        for each in self.waiting():
            self.answer(each)
        self.proxy.clock.advance(60.0)
        for _ in range(15):
            self.proxy.attempts.clear()
            self.assertEqual(self.ports(1), [16])
            self.assertEqual(len(self.proxy.attempts), 2)

    def test_answers(self) -> None:
        """
        It is back with the head of its first response, a POST's too, and starts anew.
        """
        self.ports(2)
        self.proxy.refusing.clear()
        self.proxy.wait(1.0)
        client, wire = self.ask(POST)
        self.assertEqual(wire.getPeer().port, 1)
        wire.take()
        wire.receive(BAD[:-2])
        self.assertEqual(self.standing(), Standing.GOOD)
        self.assertEqual(status(client), 503)

    def test_no_other(self) -> None:
        """
        It is asked when no other can take the request.
        """
        self.ports(2)
        self.proxy.refusing = {2}
        self.upstream(2).close_idle()
        self.assertEqual(self.asked(), 1)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_unusable(self) -> None:
        """
        A server that ends connections as it accepts them is aside, too.
        """
        self.begin(2)
        self.proxy.automatic = False
        client = self.proxy.client()
        client.receive(GET)
        upstream, connected = self.proxy.connecting.pop()
        wire = self.proxy.made(upstream)
        wire.end()
        connected.callback(wire.protocol)
        self.assertEqual(upstream.standing, Standing.ASIDE)

    def test_pool(self) -> None:
        """
        A failing check, a removal and a registration clear it; a passing check does not.
        """
        up = server(1)
        for after, cleared in (
            (msgspec.structs.replace(up, state=State.DOWN), True),
            (msgspec.structs.replace(up, revision=2), True),
            (msgspec.structs.replace(up, reason="passed again"), False),
        ):
            self.setUp()
            self.ports(2)
            self.proxy.change(up, after)
            self.assertEqual(self.standing() is Standing.GOOD, cleared)
            self.assertEqual(self.upstream().trouble is None, cleared)
        self.setUp()
        self.ports(2)
        self.proxy.change(up, None)
        self.assertEqual(repr(self.proxy.failing), "<FailureWatch []>")
        self.proxy.change(None, up)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_logged(self) -> None:
        """
        One line when it goes aside, and one when it is back; a hint to the leader.
        """
        logged = collect(self)
        self.ports(2)
        for _ in range(8):
            self.proxy.wait(1.0)
            self.ports(1)
        self.assertEqual(sum("is aside" in each for each in logged), 1)
        self.proxy.refusing.clear()
        self.proxy.wait(30.0)
        self.ports(2)
        self.assertIn("server 10.0.0.7:1 answers again", logged)
        self.assertEqual({id for id, _ in self.proxy.hints}, {"10.0.0.7:1"})


class SilenceTests(FailingTests):
    """
    Servers that accept requests, and answer nobody.
    """

    def setUp(self) -> None:
        self.begin(2)

    def silence(self, request: bytes = GET) -> tuple[Wire, Wire]:
        """
        The first server falls silent.

        @return: a client that waits for it, and the connection that its request went by.
        """
        client, wire = self.ask(request)
        if wire.getPeer().port != 1:
            self.answer(wire)
            client, wire = self.ask(request)
        return client, wire

    def test_silent(self) -> None:
        """
        After two seconds it is aside; what it has in hand waits on.
        """
        client, _ = self.silence()
        self.proxy.clock.pump([0.25] * 8)
        self.assertEqual(self.standing(), Standing.GOOD)
        self.proxy.clock.pump([0.25] * 2)
        self.assertEqual(self.standing(), Standing.ASIDE)
        self.assertEqual(self.ports(3), [2, 2, 2])
        self.proxy.wait(20.0)
        self.assertEqual(status(client), 0)
        self.proxy.wait(40.0)
        self.assertEqual(status(client), 504)

    def test_answers_others(self) -> None:
        """
        A server that answers others is not silent, however long one of them waits; nor is one
        that has sent an interim response.
        """
        self.begin(1)
        self.proxy.change(None, server(2, weight=1))
        _, slow = self.silence()
        slow.take()
        for _ in range(40):
            self.proxy.clock.advance(0.25)
            self.ports(2)
        self.proxy.wait(10)
        self.assertEqual(self.standing(), Standing.GOOD)
        self.setUp()
        _, wire = self.silence()
        wire.receive(EARLY)
        self.proxy.wait(10)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_incomplete(self) -> None:
        """
        A server that waits for more of a request is not silent.
        """
        self.silence(POST[:-1])
        self.proxy.wait(10)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_alone(self) -> None:
        """
        Alone in its pool, it goes on as before.
        """
        self.begin(1)
        self.silence()
        self.proxy.wait(10)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_off(self) -> None:
        """
        It may be left alone.
        """
        self.begin(2, ejection=EjectionSettings(silence=0.0))
        self.silence()
        self.proxy.wait(10)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_probes(self) -> None:
        """
        It is tried by one request at a time that may be sent again, and that is, after two
        seconds; then twice as long by none.
        """
        _, wire = self.silence()
        wire.take()
        self.proxy.wait(3.5)
        self.assertEqual(self.asked(request=POST), 2)
        client, probe = self.ask()
        self.assertEqual(probe.getPeer().port, 1)
        probe.take()
        self.assertEqual(self.asked(), 2)
        self.proxy.wait(2.0)
        self.assertTrue(probe.aborted)
        (again,) = self.waiting()
        self.assertEqual(again.getPeer().port, 2)
        self.answer(again)
        self.assertEqual(status(client), 200)
        self.proxy.wait(1.0)
        self.assertEqual(self.ports(3), [2, 2, 2])
        self.proxy.wait(1.0)
        self.assertIn(1, self.ports(3))
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_wakes(self) -> None:
        """
        A response to a request that it had in hand brings it back.
        """
        client, wire = self.silence()
        self.proxy.wait(4.0)
        self.answer(wire)
        self.assertEqual((status(client), self.standing()), (200, Standing.GOOD))
        self.assertIsNone(self.upstream().trouble)

    def test_hosts_gone(self) -> None:
        """
        A request that may not be sent again waits on, where it connected, and another tries.
        """
        self.proxy.refusing.add(1)
        self.ports(2)
        self.proxy.refusing.clear()
        self.proxy.wait(1.0)
        _, probe = self.ask(POST)
        self.assertEqual(probe.getPeer().port, 1)
        self.proxy.wait(3.0)
        self.assertFalse(probe.aborted)
        probe.take()
        self.assertEqual(self.standing(), Standing.ASIDE)
        self.proxy.wait(4.0)
        self.assertEqual(self.ask()[1].getPeer().port, 1)


class EjectionTests(FailingTests):
    """
    Servers that fail their requests.
    """

    def failing(self, port: int, times: int, response: bytes = BAD) -> None:
        """
        Have a server fail some requests, and the others answer.
        """
        failed = 0
        for _ in range(100):
            _, wire = self.ask(POST)
            is_it = wire.getPeer().port == port
            self.answer(wire, response if is_it else OK)
            failed += is_it
            if failed == times:
                return
        raise AssertionError("it gets no requests")

    def test_in_a_row(self) -> None:
        """
        Five failures in a row, with no success between.
        """
        self.begin(2)
        self.failing(1, 4)
        self.failing(1, 1, OK)
        self.failing(1, 4)
        self.assertEqual(self.standing(), Standing.GOOD)
        self.failing(1, 1)
        self.assertEqual(self.standing(), Standing.EJECTED)
        self.assertEqual(self.ports(4), [2, 2, 2, 2])

    def test_failures(self) -> None:
        """
        Resets, what is not HTTP, and no response in time count; other statuses do not.
        """
        for happens in (
            lambda wire: wire.lose(),
            lambda wire: wire.receive(b"nonsense\r\n\r\n"),
            lambda wire: wire.receive(OK[:-1]) or wire.lose(),
        ):
            self.begin(2, retries=RetrySettings(on=()))
            while self.standing() is Standing.GOOD:
                _, wire = self.ask(POST)
                wire.take()
                if wire.getPeer().port == 1:
                    happens(wire)
                else:
                    wire.receive(OK)
            self.assertEqual(self.standing(), Standing.EJECTED)
        self.begin(2)
        self.failing(1, 20, OK.replace(b"200", b"500"))
        self.assertEqual(self.standing(), Standing.GOOD)
        self.begin(2, ejection=EjectionSettings(failures=0))
        self.failing(1, 20)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_duration(self) -> None:
        """
        After ten seconds one request tries it; if that fails, it is out for twice as long, and
        if it succeeds, it is in again.
        """
        self.begin(2)
        self.failing(1, 5)
        for seconds in (10, 20, 40):
            self.proxy.wait(seconds - 1.5)
            self.assertNotIn(1, self.ports(3))
            self.proxy.wait(1.5)
            self.assertEqual(self.asked(BAD, POST), 1)
            self.assertNotIn(1, self.ports(3))
            self.assertEqual(self.standing(), Standing.EJECTED)
        self.proxy.wait(80)
        self.assertEqual(self.asked(), 1)
        self.assertEqual(self.standing(), Standing.GOOD)

    def test_share(self) -> None:
        """
        Of one server none is ejected, of two or three one.
        """
        for number, most in ((1, 0), (2, 1), (3, 1), (4, 2)):
            self.begin(number)
            for _ in range(60):
                self.asked(BAD, POST)
            out = [port for port in range(1, number + 1) if self.standing(port) > 0]
            self.assertEqual(len(out), most)

    def test_no_other(self) -> None:
        """
        An ejected server is used when no other can be, and that alone does not bring it in.
        """
        self.begin(2)
        self.failing(1, 5)
        up = server(2)
        self.proxy.change(up, msgspec.structs.replace(up, state=State.DOWN))
        self.assertEqual(self.ports(2), [1, 1])
        self.assertEqual(self.standing(), Standing.EJECTED)

    def test_logged(self) -> None:
        """
        One line with the reason and the time, one when it is in again, and a hint.
        """
        logged = collect(self)
        self.begin(2)
        self.failing(1, 5)
        self.proxy.wait(10)
        self.ports(1)
        self.assertEqual(
            [each for each in logged if "10.0.0.7:1" in each],
            [
                "server 10.0.0.7:1 is ejected for 10.0 s: status 503 (5 failures in a row)",
                "server 10.0.0.7:1 is in again: it answers well",
            ],
        )
        self.assertEqual(self.proxy.hints, [("10.0.0.7:1", "status 503")])

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(1, 6),
        st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=120),
    )
    def test_never_too_many(self, number: int, steps: list[tuple[int, bool]]) -> None:
        """
        Whatever fails, never more than the share is ejected, and every request gets an answer.
        """
        self.begin(number)
        for quarters, succeeds in steps:
            self.proxy.clock.pump([0.25] * quarters)
            self.asked(OK if succeeds else BAD, POST)
            out = sum(self.standing(port) is Standing.EJECTED for port in range(1, number + 1))
            self.assertLessEqual(out, number // 2)


class RetryTests(FailingTests):
    """
    Requests that are sent again.
    """

    def test_reset(self) -> None:
        """
        A reset before the response leads to another server, and counts once for the client.
        """
        self.begin(2)
        client, wire = self.ask()
        wire.lose()
        (again,) = self.waiting()
        self.assertNotEqual(again.getPeer().port, wire.getPeer().port)
        self.answer(again)
        self.assertEqual(status(client), 200)
        self.assertEqual(self.proxy.counted(), (1, 0, 1, 1))

    def test_not_again(self) -> None:
        """
        Not a POST, nor after an interim response or a byte of another.
        """
        for request, said in ((POST, b""), (GET, EARLY), (GET, OK[:9])):
            self.begin(2)
            client, wire = self.ask(request)
            if said:
                wire.receive(said)
            client.take()
            wire.lose()
            self.assertEqual((status(client), len(self.proxy.servers)), (502, 1))

    def test_alone(self) -> None:
        """
        Alone, the same server gets it again, and three times at most.
        """
        self.begin(1)
        client, wire = self.ask()
        for _ in range(3):
            (wire,) = self.waiting()
            wire.lose()
        self.assertEqual((status(client), len(self.proxy.servers)), (502, 3))
        self.assertEqual(self.proxy.counted(), (0, 1, 0, 3))

    def test_status(self) -> None:
        """
        With a status configured, nothing of that response reaches the client, and its
        connection is dropped.
        """
        self.begin(2, retries=RetrySettings(on=("503",)))
        client, wire = self.ask()
        self.answer(wire, BAD)
        self.assertEqual(client.take(), b"")
        self.assertTrue(wire.aborted)
        (again,) = self.waiting()
        self.answer(again)
        self.assertEqual(status(client), 200)
        self.assertEqual(self.proxy.counted(), (1, 0, 1, 1))
        self.assertEqual(self.upstream(1).counter.document(), {"success": 0, "failed": 1})

    def test_status_stays(self) -> None:
        """
        The original response goes to the client where there is no other server, no budget, no
        attempt left, or the request may not be sent twice.
        """
        for number, request, arguments in (
            (1, GET, {}),
            (2, POST, {}),
            (2, GET, {"budget_minimum": 0}),
            (2, GET, {"attempts": 1}),
        ):
            self.begin(number, retries=RetrySettings(on=("503",), **arguments))
            client, wire = self.ask(request)
            self.answer(wire, BAD)
            self.assertIn(b"Busy", client.sent)
            self.assertEqual((status(client), self.proxy.counted()), (503, (0, 1, 0, 1)))

    def test_status_of_all(self) -> None:
        """
        If the others answer the same, the client gets the last response, and each server is
        asked once.
        """
        self.begin(2, retries=RetrySettings(on=("503",)))
        client, wire = self.ask()
        self.answer(wire, BAD)
        (again,) = self.waiting()
        self.answer(again, BAD)
        self.assertEqual((status(client), len(self.proxy.servers)), (503, 2))

    def test_ejected_by_status(self) -> None:
        """
        Responses that were not passed on count against their server.
        """
        self.begin(2, retries=RetrySettings(on=("503",)))
        for _ in range(40):
            client = self.proxy.client()
            client.receive(GET)
            while (wire := self.waiting()[-1]).getPeer().port == 1:
                self.answer(wire, BAD)
            self.answer(wire)
            self.assertEqual(status(client), 200)
        self.assertEqual(self.standing(), Standing.EJECTED)
        self.assertEqual(self.proxy.stats.server.failed, 5)

    def test_timeout(self) -> None:
        """
        With C{timeout} configured, another server is asked after C{server_response}.
        """
        self.begin(2, retries=RetrySettings(on=("timeout",)), server_response=5.0)
        client, wire = self.ask()
        self.proxy.wait(5.0)
        self.assertTrue(wire.aborted)
        (again,) = self.waiting()
        self.answer(again)
        self.assertEqual((status(client), self.proxy.counted()), (200, (1, 0, 1, 1)))

    def test_reused(self) -> None:
        """
        A kept connection that is closed is no failure of its server's.
        """
        self.begin(2)
        for _ in range(12):
            port = self.asked()
            _, wire = self.ask()
            self.assertEqual(wire.getPeer().port, 3 - port)
            wire.lose(ConnectionDone())
            self.answer(self.waiting()[-1])
        self.assertEqual([self.standing(port) for port in (1, 2)], [Standing.GOOD] * 2)

    def test_nearly_all_refuse(self) -> None:
        """
        Ten servers are tried without a connection, and then no more.
        """
        self.begin(12)
        self.proxy.refusing |= set(range(1, 13))
        client = self.proxy.client()
        client.receive(GET)
        self.assertEqual((status(client), self.proxy.counted()), (502, (0, 1, 0, 10)))
