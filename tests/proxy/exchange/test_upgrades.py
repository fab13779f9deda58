"""
Tests for upgrades to the protocols that are configured, on a fake network.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.wire import Proxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ALL = ("websocket", "tcp", "SPDY/3.1")


def attach(
    *protocols: str, method: str = "POST", more: str = "", connection: str = "Upgrade"
) -> bytes:
    """
    A request for an upgrade, as Docker's and Kubernetes' clients send it.
    """
    fields = "".join(f"Upgrade: {protocol}\r\n" for protocol in protocols)
    return (
        f"{method} /attach HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n{fields}{more}\r\n"
    ).encode()


def switch(protocol: str, connection: str = "Connection: Upgrade\r\n") -> bytes:
    """
    The response that switches.
    """
    return f"HTTP/1.1 101 UPGRADED\r\n{connection}Upgrade: {protocol}\r\n\r\n".encode()


class ConfiguredUpgradeTests(SynchronousTestCase):
    """
    The protocols that may be switched to, and what else passes of an C{Upgrade}.
    """

    def passed(self, request: bytes, upgrades: tuple[str, ...] = ALL) -> bytes:
        """
        The C{Upgrade} that the server gets; empty: none.
        """
        proxy = Proxy(upgrades=upgrades)
        proxy.client().receive(request)
        sent = proxy.servers[0].take()
        _, found, rest = sent.partition(b"\r\nConnection: Upgrade\r\nUpgrade: ")
        self.assertEqual(sent.count(b"pgrade"), 2 if found else 0)
        return rest.partition(b"\r\n")[0]

    def test_which(self) -> None:
        """
        Those that are configured are passed on, in their spelling and order, and no others.
        """
        for offered, passed in (
            (("tcp",), b"tcp"),
            (("TCP",), b"TCP"),
            (("SPDY/3.1",), b"SPDY/3.1"),
            (("spdy/3.1",), b"spdy/3.1"),
            (("foo, tcp, h2c",), b"tcp"),
            (("SPDY/3.1, tcp",), b"SPDY/3.1, tcp"),
            (("h2c", "tcp"), b"tcp"),
            (("SPDY/3",), b""),
            (("SPDY",), b""),
            (("tcp/1",), b""),
            (("h2c",), b""),
            (("HTTP/2.0",), b""),
            (("TLS/1.0",), b""),
        ):
            with self.subTest(offered):
                self.assertEqual(self.passed(attach(*offered)), passed)
                self.assertEqual(self.passed(attach(*offered, method="GET")), passed)

    def test_not_configured(self) -> None:
        """
        Without them, such a request goes on as an ordinary one; without any, WebSocket too.
        """
        default = ("websocket", "connect-udp", "connect-ip")
        self.assertEqual(self.passed(attach("tcp"), default), b"")
        self.assertEqual(self.passed(attach("websocket, tcp", method="GET"), default), b"websocket")
        self.assertEqual(self.passed(attach("websocket", method="GET"), ()), b"")

    def test_requests(self) -> None:
        """
        GET and POST without a body may ask; the registered protocols begin with a GET alone.
        """
        self.assertEqual(self.passed(attach("tcp", more="Content-Length: 0\r\n")), b"tcp")
        self.assertEqual(self.passed(attach("tcp, websocket")), b"tcp")
        self.assertEqual(self.passed(attach("websocket")), b"")
        for request in (
            attach("tcp", method="PUT"),
            attach("tcp", method="DELETE"),
            attach("tcp", more="Content-Length: 2\r\n") + b"hi",
            attach("tcp", more="Transfer-Encoding: chunked\r\n"),
            attach("tcp", connection="close"),
            attach("tcp").replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            with self.subTest(request):
                self.assertEqual(self.passed(request), b"")

    def test_switch(self) -> None:
        """
        The server chooses one that was passed on. Bytes that came before wait for it.
        """
        proxy = Proxy(upgrades=ALL)
        client = proxy.client()
        client.receive(attach("tcp", more="Content-Length: 0\r\n") + b"early")
        wire = proxy.servers[0]
        self.assertEqual(
            wire.take(),
            b"POST /attach HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: Upgrade\r\n"
            b"Upgrade: tcp\r\nVia: 1.1 alacrity\r\nX-Forwarded-For: 203.0.113.9\r\n"
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n",
        )
        wire.receive(switch("TCP") + b"first")
        self.assertEqual(wire.take(), b"early")
        head, _, rest = client.take().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 UPGRADED\r\n"))
        self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: TCP\r\n", head)
        self.assertEqual(rest, b"first")
        client.receive(b"\x00GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(wire.take(), b"\x00GET / HTTP/1.1\r\n\r\n")

    def test_a_switch_to_another(self) -> None:
        """
        To one that was not passed on, or none, is a 502.
        """
        for response in (
            switch("foo"),
            switch("h2c"),
            switch("SPDY/3"),
            switch("websocket"),
            switch("tcp", connection=""),
            b"HTTP/1.1 101 UPGRADED\r\n\r\n",
        ):
            with self.subTest(response):
                proxy = Proxy(upgrades=ALL)
                client = proxy.client()
                client.receive(attach("tcp, foo, h2c, SPDY/3.1"))
                proxy.servers[0].receive(response)
                self.assertTrue(client.take().startswith(b"HTTP/1.1 502 "))
                self.assertTrue(proxy.servers[0].aborted)

    def test_declined(self) -> None:
        """
        200 is an ordinary response, with which old Docker took over the connection: there is no
        tunnel, and what the client sends next is a request.
        """
        proxy = Proxy(upgrades=ALL)
        client = proxy.client()
        client.receive(attach("tcp"))
        wire = proxy.servers[0]
        wire.take()
        wire.receive(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
        wire.receive(b"output")
        self.assertTrue(client.take().endswith(b"\r\n\r\n6\r\noutput\r\n"))
        client.receive(b"input")
        self.assertEqual(wire.take(), b"")
        wire.end()
        self.assertTrue(client.take().startswith(b"0\r\n\r\n"))
        self.assertEqual(len(proxy.servers), 1)
        proxy = Proxy(upgrades=ALL)
        client = proxy.client()
        client.receive(attach("tcp"))
        proxy.servers[0].receive(OK)
        client.receive(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        # The connection that carried an Upgrade is not used again.
        self.assertTrue(proxy.servers[1].take().startswith(b"GET /next "))
