"""
Tests for row WK1 of the table of bad input (L{tests.support.bad_inputs}): the work for one peer
in one turn of the loop is bounded, whatever it sends; on a fake network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.attacks import CLIENTS, SERVERS, Attack
from alacrity.config.balance import StickySettings
from alacrity.http1.chunks import PIECES
from alacrity.pool import State
from alacrity.proxy.front.reading import BYTES_PER_TURN, REQUESTS_PER_TURN
from tests.proxy.exchange.test_tunnel import SWITCH
from tests.support.wire import Proxy, server

READ: Final = 262144
"""Bytes of the largest read, as uvloop's."""

PIECES_FED: Final = 4096
"""Writes of one byte that are fed."""

TURNS: Final = 500
"""Turns after which no more are looked at: a read may have ten thousand requests."""

LONGEST_TURN: Final = 0.05
"""
Seconds of processor time that a turn may take here: many times what it takes, so that a slow
machine passes, and a fraction of what reading a line again and again takes.
"""

GET: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Attacked:
    """
    A proxy under attack by one peer.

    @ivar wire: the connection of the peer.
    """

    def __init__(self, attack: Attack, *servers: State) -> None:
        """
        @param servers: the states of the servers.
        """
        states = servers or (State.UP,)
        self.proxy = Proxy(
            *(server(port, state=state) for port, state in enumerate(states, 1)),
            sticky=StickySettings(cookie="alacrity"),
            trusted=("203.0.113.0/24",),
        )
        self._attack = attack
        self.client = self.proxy.client()
        self.wire = self.client
        if attack.from_server:
            self.client.receive(GET)
            self.wire = self.proxy.servers[0]
            self.wire.take()

    def steps(self) -> Iterator[Callable[[], None]]:
        """
        All that happens, each in a turn of its own: reads as large as can be, turns that were
        waited for, and answers of servers to requests.
        """
        attack = self._attack
        data = attack.head + attack.unit
        if attack.piece == 1:
            data = attack.head + attack.unit * (PIECES_FED // len(attack.unit))
        step = 1 if attack.piece == 1 else READ
        data = data[:READ]
        for begin in range(0, len(data), step):
            part = data[begin : begin + step]
            for _ in range(TURNS):
                if self._over or self.wire.reading:
                    break
                yield self._go_on
            if self._over:
                return
            yield lambda part=part: self.wire.receive(part)  # type: ignore[misc]
            yield self._go_on
        for _ in range(TURNS):
            if self._over or self.wire.reading:
                return
            yield self._go_on

    @property
    def _over(self) -> bool:
        return self.wire.lost or self.wire.closing

    def _go_on(self) -> None:
        if self.proxy.turns:
            self.proxy.turn_once()
            return
        if not self._attack.from_server:
            for each in self.proxy.servers:
                sent = each.take()
                if sent.startswith(b"GET ") and not each.lost:
                    each.receive(SWITCH if b"Upgrade: " in sent else OK)
                    return


class BoundedWorkTests(SynchronousTestCase):
    """
    Row WK1: the inputs that cost most.
    """

    def attacks(self) -> Iterator[tuple[str, Attack]]:
        """
        All inputs, with names for messages.
        """
        for kind, attacks in (("client", CLIENTS), ("server", SERVERS)):
            for name, attack in attacks.items():
                yield f"{kind}: {name}", attack

    def test_time(self) -> None:
        """
        No turn takes long.
        """
        for name, attack in self.attacks():
            longest = []
            for _ in range(3):
                took = [0.0]
                for step in Attacked(attack).steps():
                    began = time.process_time()
                    step()
                    took.append(time.process_time() - began)
                longest.append(max(took))
                if longest[-1] < LONGEST_TURN:
                    break
            self.assertLess(min(longest), LONGEST_TURN, name)

    def test_output(self) -> None:
        """
        No turn has more chunks, requests or responses pass than is allowed, and not more bytes
        than were read.
        """
        for name, attack in self.attacks():
            attacked = Attacked(attack)
            proxy, client = attacked.proxy, attacked.client
            for step in attacked.steps():
                before = sum(len(each.sent) for each in proxy.servers), len(client.sent)
                begun = len(proxy.recorded)
                step()
                to_servers = sum(len(each.sent) for each in proxy.servers) - before[0]
                to_client = len(client.sent) - before[1]
                self.assertLess(len(proxy.recorded) - begun, REQUESTS_PER_TURN + 1, name)
                bound = READ + 65536
                if name.endswith("one-byte chunks"):
                    # What came in one-byte chunks is passed on as one.
                    bound = PIECES + 1000
                self.assertLess(to_servers, bound, name)
                self.assertLess(to_client, bound, name)

    def test_others_go_first(self) -> None:
        """
        While a peer's bytes wait for a turn, the request of another client goes to a server
        at once.
        """
        waited = 0
        for name, attack in self.attacks():
            attacked = Attacked(attack)
            for step in attacked.steps():
                step()
                if attacked.proxy.turns:
                    waited += 1
                    other = attacked.proxy.client("198.51.100.1")
                    other.receive(GET)
                    wire = attacked.proxy.servers[-1]
                    self.assertTrue(wire.take().startswith(b"GET / "), name)
                    wire.receive(OK)
                    self.assertTrue(other.take().endswith(b"ok"), name)
                    break
        self.assertGreater(waited, 5)

    def test_large_requests_without_a_server(self) -> None:
        """
        Requests that the proxy answers itself count by their bytes, too.
        """
        for name, most in (
            ("Connection of empty members", 1),
            ("Cookie of thousands of pairs", 1),
            ("field lines that are all new", BYTES_PER_TURN // 500),
            ("pipelined 26-byte requests", REQUESTS_PER_TURN),
        ):
            attacked = Attacked(CLIENTS[name], State.DOWN)
            answered = 0
            for step in attacked.steps():
                step()
                count = attacked.client.take().count(b"HTTP/1.1 503 ")
                self.assertLessEqual(count, most, name)
                answered += count
            self.assertGreater(answered, 5, name)

    def test_large_interim_responses(self) -> None:
        """
        Interim responses come one in a turn where they are large, and all at once where they
        are small.
        """
        for name, most in (("interim responses", 16), ("large interim responses", 1)):
            attacked = Attacked(SERVERS[name])
            counts = []
            for step in attacked.steps():
                step()
                counts.append(attacked.client.take().count(b"HTTP/1.1 103 "))
            self.assertEqual(max(counts), most, name)
            self.assertGreater(sum(counts), 5, name)

    def test_end_after_interim_responses(self) -> None:
        """
        The final response after large interim ones comes, also where the server closes the
        connection meanwhile.
        """
        data = SERVERS["large interim responses"].unit
        few = data[: data.index(b"HTTP/1.1", 1)] * 3 + OK
        for closes in (False, True):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            wire = proxy.servers[0]
            wire.receive(few)
            if closes:
                wire.lose()
            proxy.turn()
            sent = client.take()
            self.assertEqual(sent.count(b"HTTP/1.1 103 "), 3)
            self.assertTrue(sent.endswith(b"\r\n\r\nok"))
            self.assertEqual(proxy.counted(), (1, 0, 1, 0))
