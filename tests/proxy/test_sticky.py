"""
Sticky sessions, through the whole data path.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import QueueSettings, StickySettings
from alacrity.pool import Administration, AdminState, Server, ServerOptions, State
from alacrity.proxy.upstream.standing import Standing
from alacrity.proxy.upstream.sticky import cookie_value
from tests.support.wire import Proxy, Wire, server

STICKY = StickySettings(cookie="route")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ID = {port: f"10.0.0.7:{port}" for port in range(1, 5)}
VALUE = {port: cookie_value(b"key", id) for port, id in ID.items()}
DRAINED = Administration(state=AdminState.DRAIN)
IN_MAINTENANCE = Administration(state=AdminState.MAINTENANCE)


class Conversation:
    """
    A client, and what the servers got of it.
    """

    def __init__(self, proxy: Proxy, peer: str = "203.0.113.9") -> None:
        self.proxy = proxy
        self.client = proxy.client(peer)
        self.server = Wire("", 0)

    def ask(self, *fields: bytes, answer: bytes = OK) -> tuple[int, bytes, bytes]:
        """
        A request with its answer.

        @return: the server's port, the request as it got it, and the response.
        """
        for each in self.proxy.servers:
            each.take()
        lines = [b"GET /a HTTP/1.1", b"Host: a", *fields]
        self.client.receive(b"".join(each + b"\r\n" for each in [*lines, b""]))
        self.server = next(each for each in self.proxy.servers if each.sent)
        request = self.server.take()
        self.server.receive(answer)
        return self.server.getPeer().port, request, self.client.take()


def set_value(response: bytes) -> bytes | None:
    """
    The value of the cookie that a response sets.
    """
    found = re.search(rb"\r\nSet-Cookie: route=([0-9a-f]{32});", response)
    return found and found[1]


class StickyTests(SynchronousTestCase):
    """
    Two servers.
    """

    def proxy(self, *servers: Server, sticky: StickySettings = STICKY, **rest: object) -> Proxy:
        return Proxy(*(servers or (server(1), server(2))), sticky=sticky, **rest)  # type: ignore[arg-type]

    def test_set_once(self) -> None:
        """
        The first response sets the cookie, and is for no shared cache; with the cookie, all
        requests go to that server, which does not see it, and nothing is set.
        """
        proxy = self.proxy()
        talk = Conversation(proxy)
        port, _, response = talk.ask()
        self.assertEqual(set_value(response), VALUE[port])
        self.assertIn(b"; Path=/; HttpOnly; SameSite=Lax\r\n", response)
        self.assertIn(b"\r\nCache-Control: private\r\n", response)
        cookie = b"Cookie: a=1; route=%b; b=2" % VALUE[port]
        for _ in range(4):
            again, request, response = talk.ask(cookie)
            self.assertEqual(again, port)
            self.assertIn(b"\r\nCookie: a=1; b=2\r\n", request)
            self.assertNotIn(b"route", request)
            self.assertNotIn(b"Set-Cookie", response)
            self.assertNotIn(b"Cache-Control", response)

    def test_own_fields_stay(self) -> None:
        """
        The server's own cookies and directives stay; C{private} is not added to a response that
        is for one client anyway.
        """
        own = (
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nCache-Control: max-age=0, no-store\r\n"
            b"Connection: set-cookie, cache-control\r\nContent-Length: 0\r\n\r\n"
        )
        _, _, response = Conversation(self.proxy()).ask(answer=own.replace(b"Connection", b"A"))
        self.assertIn(b"\r\nSet-Cookie: a=1\r\n", response)
        self.assertEqual(response.count(b"Set-Cookie: "), 2)
        self.assertEqual(response.count(b"Cache-Control"), 1)
        _, _, response = Conversation(self.proxy()).ask(answer=own)
        self.assertIsNotNone(set_value(response))
        self.assertNotIn(b"a=1", response)
        self.assertIn(b"\r\nCache-Control: private\r\n", response)

    def test_invalid(self) -> None:
        """
        A cookie that fits no server is taken out all the same, and replaced; of several, the first
        that fits counts.
        """
        port, request, response = Conversation(self.proxy()).ask(b"Cookie: route=zz")
        self.assertNotIn(b"ookie", request)
        self.assertEqual(set_value(response), VALUE[port])
        for wanted in (1, 2):
            cookies = b'Cookie: route=zz; route="%b"; route=%b' % (
                VALUE[wanted],
                VALUE[3 - wanted],
            )
            port, _, response = Conversation(self.proxy()).ask(b"Cookie: c=1", cookies)
            self.assertEqual(port, wanted)
            self.assertIsNone(set_value(response))

    def test_keeps_sessions(self) -> None:
        """
        A server that drains, or is about to stop, keeps its sessions, and gets no others.
        """
        for changed in (
            server(1, administration=DRAINED),
            server(1, state=State.STOPPING),
        ):
            with self.subTest(changed=changed):
                proxy = self.proxy()
                proxy.change(server(1), changed)
                for _ in range(3):
                    port, _, response = Conversation(proxy).ask(b"Cookie: route=" + VALUE[1])
                    self.assertEqual((port, set_value(response)), (1, None))
                    port, _, response = Conversation(proxy).ask()
                    self.assertEqual((port, set_value(response)), (2, VALUE[2]))

    def test_moves_on(self) -> None:
        """
        The session of a server that is down, in maintenance, without weight, or gone moves on,
        and is set anew.
        """
        for after in (
            server(1, state=State.DOWN),
            server(1, state=State.PENDING),
            server(1, administration=IN_MAINTENANCE),
            server(1, administration=Administration(weight=0)),
            None,
        ):
            with self.subTest(after=after):
                proxy = self.proxy()
                proxy.change(server(1), after)
                port, _, response = Conversation(proxy).ask(b"Cookie: route=" + VALUE[1])
                self.assertEqual((port, set_value(response)), (2, VALUE[2]))

    def test_standing(self) -> None:
        """
        The session of a server that this node has put out moves on, unless no other is left.
        """
        for standing in (Standing.ASIDE, Standing.EJECTED):
            proxy = self.proxy()
            upstream = proxy.balancer.upstream(ID[1])
            assert upstream is not None
            proxy.balancer.set_standing(upstream, standing)
            cookie = b"Cookie: route=" + VALUE[1]
            self.assertEqual(Conversation(proxy).ask(cookie)[0], 2)
            proxy.change(server(2), None)
            proxy.change(server(1), server(1, administration=DRAINED))
            self.assertEqual(Conversation(proxy).ask(cookie)[0], 1)

    def test_probes(self) -> None:
        """
        The requests of a session that can go on do not try servers that are due to be tried; one
        that does try a server, for want of a session, begins one there.
        """
        proxy = self.proxy()
        proxy.refusing = {2}
        proxy.client().receive(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: route=%b\r\n\r\n" % VALUE[2])
        proxy.servers[0].receive(OK)
        proxy.refusing = set()
        proxy.wait(2.0)
        self.assertTrue(proxy.failing.due)
        self.assertEqual(Conversation(proxy).ask(b"Cookie: route=" + VALUE[1])[0], 1)
        port, _, response = Conversation(proxy).ask()
        self.assertEqual((port, set_value(response)), (2, VALUE[2]))

    def test_full(self) -> None:
        """
        The session of a server that is full moves on.
        """
        proxy = self.proxy(server(1, options=ServerOptions(max_requests=1)), server(2))
        cookie = b"Cookie: route=" + VALUE[1]
        proxy.client().receive(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % cookie)
        port, _, response = Conversation(proxy).ask(cookie)
        self.assertEqual((port, set_value(response)), (2, VALUE[2]))

    def test_drained_is_not_queued(self) -> None:
        """
        While others wait for servers that are full, the session of a draining server goes on.
        """
        proxy = self.proxy(
            server(1, administration=DRAINED), server(2), queue=QueueSettings(max_requests=1)
        )
        get = b"GET / HTTP/1.1\r\nHost: a\r\n"
        for _ in range(2):
            proxy.client().receive(get + b"\r\n")
        self.assertEqual(proxy.queue.length, 1)
        proxy.client().receive(get + b"Cookie: route=%b\r\n\r\n" % VALUE[1])
        proxy.turn()
        self.assertEqual(proxy.queue.length, 1)
        self.assertEqual(proxy.servers[-1].getPeer().port, 1)

    def test_retry_sets_anew(self) -> None:
        """
        A session whose server cannot be connected to is set to the one that answers.
        """
        proxy = self.proxy()
        proxy.refusing = {1}
        port, _, response = Conversation(proxy).ask(b"Cookie: route=" + VALUE[1])
        self.assertEqual((port, set_value(response)), (2, VALUE[2]))

    def test_interim(self) -> None:
        """
        Only the final response sets it.
        """
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
        response = Conversation(self.proxy()).ask(answer=hints + OK)[2]
        self.assertEqual(response.count(b"Set-Cookie"), 1)
        self.assertNotIn(b"Set-Cookie", response.partition(b"\r\n\r\n")[0])

    def test_switch(self) -> None:
        """
        A response that switches protocols sets it too.
        """
        switch = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbytes"
        port, _, response = Conversation(self.proxy()).ask(
            b"Connection: upgrade", b"Upgrade: websocket", answer=switch
        )
        self.assertEqual(set_value(response), VALUE[port])
        self.assertTrue(response.endswith(b"\r\n\r\nbytes"))

    def test_own_answers(self) -> None:
        """
        The proxy's own answers set nothing.
        """
        proxy = self.proxy(server(1, state=State.DOWN))
        client = proxy.client()
        client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b" 503 ", client.sent)
        self.assertNotIn(b"Set-Cookie", client.sent)

    def test_attributes(self) -> None:
        """
        C{Max-Age}, C{Domain} and C{SameSite} as configured; C{Secure}, if a trusted proxy says
        that the client came over TLS.
        """
        sticky = StickySettings(cookie="route", max_age=60, domain="a.test", same_site="Strict")
        proxy = self.proxy(sticky=sticky, trusted=("203.0.113.0/24",))
        forwarded = b"X-Forwarded-Proto: https"
        response = Conversation(proxy).ask(forwarded)[2]
        wanted = b"SameSite=Strict; Max-Age=60; Domain=a.test; Secure\r\n"
        self.assertIn(wanted, response)
        self.assertNotIn(b"Secure", Conversation(proxy, "198.51.100.1").ask(forwarded)[2])
        self.assertNotIn(b"Secure", Conversation(proxy).ask()[2])

    def test_no_key(self) -> None:
        """
        Until there is a key, requests are balanced without sessions, and cookies do not reach
        servers; with another key, cookies of the former are set anew.
        """
        proxy = self.proxy(sticky_key=b"")
        response = Conversation(proxy).ask()[2]
        self.assertNotIn(b"Set-Cookie", response)
        proxy.sticky_key = b"other"
        port, request, response = Conversation(proxy).ask(b"Cookie: route=" + VALUE[1])
        self.assertNotIn(b"ookie", request)
        self.assertEqual(set_value(response), cookie_value(b"other", ID[port]))
        proxy.change(None, server(3))
        value = cookie_value(b"other", ID[3])
        self.assertEqual(Conversation(proxy).ask(b"Cookie: route=" + value)[0], 3)

    def test_not_serving(self) -> None:
        """
        A node that deals out no requests has no sessions either.
        """
        proxy = self.proxy()
        assert proxy.sessions is not None
        proxy.balancer.serve(False)
        client = proxy.client()
        client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: route=%b\r\n\r\n" % VALUE[1])
        self.assertIn(b" 503 ", client.sent)

    def test_off(self) -> None:
        """
        Without a name, cookies are the servers'.
        """
        cookie = b"Cookie: route=" + VALUE[1]
        _, request, response = Conversation(self.proxy(sticky=StickySettings())).ask(cookie)
        self.assertIn(cookie, request)
        self.assertNotIn(b"Set-Cookie", response)
