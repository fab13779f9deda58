"""
Nothing that the data path makes for a request or a connection waits for the collector of
cycles, which stops a node for as long as it takes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.proxy.exchange.test_tunnel import SWITCH, UPGRADE
from tests.support.wire import Proxy, Wire

GET = b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


def answered(proxy: Proxy, client: Wire) -> None:
    client.receive(GET)
    proxy.servers[-1].receive(OK)


def in_pieces(proxy: Proxy, client: Wire) -> None:
    client.receive(POST + b"he")
    client.receive(b"llo")
    for at in range(0, len(OK), 9):
        proxy.servers[-1].receive(OK[at : at + 9])


def read_slowly(proxy: Proxy, client: Wire) -> None:
    client.receive(GET)
    proxy.servers[-1].receive(OK[:-1])
    client.producer.pauseProducing()
    proxy.wait(1)
    client.producer.resumeProducing()
    proxy.servers[-1].receive(OK[-1:])


def sent_again(proxy: Proxy, client: Wire) -> None:
    answered(proxy, client)
    client.receive(GET)
    proxy.servers[-1].lose(ConnectionDone())
    proxy.servers[-1].receive(OK)


def refused_by_the_server(proxy: Proxy, client: Wire) -> None:
    proxy.refusing.add(1)
    client.receive(GET)


def nonsense(proxy: Proxy, client: Wire) -> None:
    client.receive(GET)
    proxy.servers[-1].receive(b"nonsense\r\n\r\n")
    client.receive(b"nonsense\r\n\r\n")


def late(proxy: Proxy, client: Wire) -> None:
    client.receive(GET)
    proxy.wait(61)


def broken_off(proxy: Proxy, client: Wire) -> None:
    client.receive(GET)
    proxy.servers[-1].receive(OK[:-1])
    proxy.servers[-1].lose()


def client_gone(proxy: Proxy, client: Wire) -> None:
    client.receive(GET)
    client.lose()


def tunnel(proxy: Proxy, client: Wire) -> None:
    client.receive(UPGRADE)
    proxy.servers[-1].receive(SWITCH + b"hello")
    client.receive(b"hello")


class CyclesTests(SynchronousTestCase):
    """
    Each kind of request, and then the end of both connections.
    """

    FLOWS: tuple[Callable[[Proxy, Wire], None], ...] = (
        answered,
        in_pieces,
        read_slowly,
        sent_again,
        refused_by_the_server,
        nonsense,
        late,
        broken_off,
        client_gone,
        tunnel,
    )

    def left(self, flow: Callable[[Proxy, Wire], None]) -> list[object]:
        """
        The objects of ours that only the collector frees.
        """
        gc.collect()
        proxy = Proxy()
        client = proxy.client()
        flow(proxy, client)
        for wire in [client, *proxy.servers]:
            wire.lose(ConnectionDone())
            # The test's own references.
            wire.protocol = wire.producer = None
        proxy.recorded.clear()
        proxy.servers.clear()
        del client, wire
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return [each for each in gc.garbage if type(each).__module__.startswith("alacrity.proxy")]

    def test_no_cycles(self) -> None:
        """
        Nothing is left.
        """
        gc.disable()
        self.addCleanup(gc.enable)
        self.addCleanup(gc.set_debug, gc.get_debug())
        self.addCleanup(gc.garbage.clear)
        for flow in self.FLOWS:
            gc.set_debug(0)
            gc.garbage.clear()
            self.assertEqual(self.left(flow), [], flow)
