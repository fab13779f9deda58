"""
Random events on a few connections at once: each pause of reading has a reason that holds, and
nothing is left in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.gate import ENDED, HELD, SLOW, TURN
from alacrity.proxy.front.connection import ClientConnection
from alacrity.proxy.upstream.connection import ServerConnection
from tests.proxy.exchange.test_tunnel import SWITCH, UPGRADE
from tests.support.wire import Proxy, Wire, server

REQUESTS = (
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90000,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    UPGRADE,
)

RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"nonsense\r\n\r\n",
    SWITCH,
)


class Play:
    """
    A proxy, its clients and its servers, to which random events happen.
    """

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.proxy = Proxy(*(server(port) for port in range(1, random.randint(2, 4))))
        self.proxy.automatic = random.random() < 0.6
        self.clients: list[Wire] = []
        self.coming: dict[Wire, list[bytes]] = {}
        self.ended: set[Wire] = set()

    def pieces(self, data: bytes) -> list[bytes]:
        cut = self.random.choice((len(data), 30, 5000, self.random.randint(1, len(data))))
        return [data[at : at + cut] for at in range(0, len(data), cut)]

    def wire(self) -> Wire:
        """A connection, made first if there is none."""
        if not self.clients or (len(self.clients) < 3 and self.random.random() < 0.1):
            client = self.proxy.client()
            self.clients.append(client)
            requests = b"".join(self.random.choices(REQUESTS, k=self.random.randint(1, 5)))
            self.coming[client] = self.pieces(requests)
        return self.random.choice(self.clients + self.proxy.servers)

    def listens(self, wire: Wire) -> bool:
        return wire.reading and not wire.lost and wire not in self.ended

    def receive(self) -> None:
        wire = self.wire()
        if not self.listens(wire):
            return
        if wire in self.proxy.servers and not self.coming.get(wire) and wire.take():
            self.coming[wire] = self.pieces(self.random.choice(RESPONSES))
        if self.coming.get(wire):
            wire.receive(self.coming[wire].pop(0))

    def fill(self) -> None:
        wire = self.wire()
        wire.fills = wire.producer is not None

    def drain(self) -> None:
        wire = self.wire()
        if wire.producer is not None and wire.protocol.full and not wire.lost:
            wire.producer.resumeProducing()

    def end(self) -> None:
        wire = self.wire()
        if self.listens(wire):
            self.ended.add(wire)
            wire.end()

    def lose(self) -> None:
        self.wire().lose(self.random.choice((ConnectionDone(), ConnectionLost())))

    def connect(self) -> None:
        self.forget_cancelled()
        if self.proxy.connecting:
            if self.random.random() < 0.7:
                self.proxy.accept()
            else:
                self.proxy.connecting.pop(0)[1].errback(Failure(ConnectionRefusedError()))

    def forget_cancelled(self) -> None:
        self.proxy.connecting = [each for each in self.proxy.connecting if not each[1].called]

    def turn(self) -> None:
        self.proxy.turn()

    def wait_for_turns(self) -> None:
        """Somebody else waits for a turn."""
        self.proxy.turns.add(lambda: None)

    EVENTS: tuple[tuple[int, Callable[[Play], None]], ...] = (
        (60, receive),
        (8, fill),
        (10, drain),
        (3, end),
        (3, lose),
        (6, connect),
        (5, turn),
        (5, wait_for_turns),
    )

    def step(self) -> None:
        ((_, event),) = self.random.choices(self.EVENTS, [each[0] for each in self.EVENTS])
        event(self)

    def finish(self) -> None:
        """All connections are lost."""
        for wire in self.clients + self.proxy.servers:
            wire.lose()
        self.forget_cancelled()
        for _, connected in self.proxy.connecting:
            connected.errback(Failure(ConnectionRefusedError()))
        self.proxy.turn()


class PausesTests(SynchronousTestCase):
    """
    Reasons not to read, after each event.
    """

    def look_at_client(self, client: ClientConnection) -> None:
        """
        Compare what a client's gate is closed for with what there is.
        """
        reasons, held = client._gate.reasons, client._reader.held
        exchange, tunnel = client.exchange, client._tunnel
        if tunnel is not None:
            slow = tunnel._other.full  # type: ignore[attr-defined]
        else:
            attempt = None if exchange is None else exchange._attempt
            slow = attempt is not None and (
                exchange.paused  # type: ignore[union-attr]
                if attempt.connection is None
                else attempt.connection.full
            )
        self.assertEqual(bool(reasons & SLOW), slow, client)
        self.assertEqual(bool(reasons & HELD), held != b"", client)
        if held and not reasons & (SLOW | TURN):
            self.assertTrue(client.full if exchange is None else exchange.complete, client)

    def look_at_server(self, connection: ServerConnection) -> None:
        """
        Likewise, for a connection to a server.
        """
        reasons = connection._gate.reasons
        client = None
        if connection._tunnel is not None:
            client = connection._tunnel._other  # type: ignore[attr-defined]
        elif connection.attempt is not None:
            client = connection.attempt.exchange._downstream  # type: ignore[attr-defined]
        self.assertEqual(bool(reasons & SLOW), client is not None and client.full, connection)
        if reasons & HELD:
            self.assertTrue(connection._reader.held, connection)
            self.assertTrue(reasons & (SLOW | TURN), connection)

    def test_pauses(self) -> None:
        """
        A connection is paused for as long as its other side takes no more, bytes wait, or
        its turn of the loop is to come; and no longer.
        """
        for seed in range(400):
            play = Play(seed)
            for _ in range(60):
                play.step()
                for wire in play.clients + play.proxy.servers:
                    if wire.lost or wire.closing or wire.protocol._gate.reasons & ENDED:
                        continue
                    self.assertEqual(wire.reading, not wire.protocol._gate.reasons, seed)
                    if wire in play.clients:
                        self.look_at_client(wire.protocol)
                    else:
                        self.look_at_server(wire.protocol)
            play.finish()
            self.assertEqual(play.proxy.slots.taken, 0)
            self.assertEqual(play.proxy.stats.tunnels, 0)
            for port in (1, 2, 3):
                upstream = play.proxy.balancer.upstream(f"10.0.0.7:{port}")
                self.assertEqual(0 if upstream is None else upstream.active, 0)
