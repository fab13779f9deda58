"""
One request and its response.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Set as AbstractSet
from math import inf
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import options, without
from alacrity.http1.forwarding import chunk, last_chunk, response, switch, switched_to
from alacrity.http1.messages import CHUNKED, RequestHead, ResponseHead
from alacrity.net.shortage import local_shortage
from alacrity.proxy.exchange.pace import ReaderPace
from alacrity.proxy.exchange.tunnel import Tunnel
from alacrity.proxy.upstream.balancer import Upstream
from alacrity.proxy.upstream.connection import ServerConnection

if TYPE_CHECKING:
    from alacrity.proxy.front.connection import ClientConnection
    from alacrity.proxy.front.frontend import Frontend

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 9.2.2)."""

WITH_CONTENT: Final = frozenset(
    b"ACL BIND COPY LOCK MERGE MKCALENDAR MKCOL MOVE NOTIFY PATCH POST PROPFIND PROPPATCH PUT "
    b"QUERY REBIND REPORT SEARCH UNBIND".split()
)
"""
Methods whose requests have content by their definition. A server may take no notice of
the content of others (RFC 9110 9.3.1), and read it as its next request.
"""

PACE_WINDOW: Final = 20.0
"""
Over how many seconds the pace of a request body is averaged: what Apache's
mod_reqtimeout gives it by default, with the least rate.
"""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response that says nothing new (RFC 9110 15.2.1)."""

REPLAY: Final = 65536
"""How many bytes of a request body are kept, in case it has to be sent again."""


class Exchange:
    """
    Takes one request to a server, to another if that fails, and its response
    back to the client.

    @ivar head: the request's.
    @ivar started: whether a server has been looked for.
    @ivar answered: whether the response has been read, and written, to its end.
    @ivar complete: whether the request has been read to its end.
    @ivar unsent: bytes for the client, waiting for more to go with them.
    @ivar upstream: the server that has it, or had it last.
    @ivar status: the response's, once there is one; else 0.
    @ivar reason: what was wrong, in a few words; empty: nothing.
    @ivar paused: whether the client is not read from, until the server takes more.
    @ivar login: whether the client logs the server's connection in, so that it is this
        client's alone from now on.
    @ivar sent: how many bytes of the response's body have been written.
    @ivar began: when it did, by C{Frontend.monotonic}; 0 unless exchanges are recorded.
    """

    started = False
    answered = False
    status = 0
    sent = 0
    began = 0.0
    unsent = b""
    upstream: Upstream | None = None
    reason = ""
    paused = False

    _server: ServerConnection | None = None
    _connecting: Deferred[ServerConnection] | None = None
    # Why no server was asked that might have been: a shortage of this node's.
    _short = ""
    _over = False
    _request = b""
    # Whether what is awaited is the client's: more of its body.
    _awaits_client = False
    # How the client takes a response that it is slow to read.
    _reading: ReaderPace | None = None
    _reused = False
    _server_keeps_alive = False
    _chunking = False
    # The servers that have failed.
    _tried: AbstractSet[Upstream] = frozenset()
    # The body, as it goes out, in case it has to go out again.
    _body: list[bytes] | None = None
    _body_size = 0
    # When its pace is looked at next; since when it is measured, and from what size.
    _pace_due = 0.0
    _pace_since: float | None = None
    _pace_from = 0

    def __init__(self, client: ClientConnection, frontend: Frontend, head: RequestHead) -> None:
        self._client = client
        self._frontend = frontend
        self.head = head
        self.keep_alive = head.keep_alive
        self.complete = head.length == 0
        self.login = head.login
        if frontend.record is not None:
            self.began = frontend.monotonic()

    @property
    def duration(self) -> float:
        """Seconds since it began, where exchanges are recorded."""
        return self._frontend.monotonic() - self.began

    # Towards the server

    def start(self) -> None:
        """
        Look for a server.
        """
        self.started = True
        self._request = self._client.forwarder.request(self.head)
        self._attempt()

    def _attempt(self) -> None:
        frontend = self._frontend
        client = self._client
        server: ServerConnection | None = None
        upstream: Upstream | None
        if client.own and (server := client.take_login(self._tried)) is not None:
            upstream = server.upstream
        else:
            upstream = frontend.balancer.choose(self._tried)
            if upstream is None:
                self._refuse_unserved()
                return
        self.upstream = upstream
        upstream.active += 1
        if server is None:
            if client.own:
                server = client.take(upstream)
            if server is None and upstream.idle and client.shares:
                server = upstream.idle.pop()
        if server is not None:
            self._reused = True
            self._send(server)
        else:
            self._connect(upstream)

    def _connect(self, upstream: Upstream) -> None:
        self._reused = False
        self._client.await_until(self._frontend.timeouts.connect)
        if not self.complete:
            self._client.transport.pauseProducing()
            self.paused = True
        self._connecting = connecting = self._frontend.connect(upstream)
        connecting.addCallbacks(self._connected, self._connect_failed)
        connecting.addErrback(self._failed)

    def _connected(self, server: ServerConnection) -> None:
        self._connecting = None
        if self._over:
            server.abort()
        elif not server.usable:
            server.abort()
            self._try_another("the server ended the connection, or spoke, as it accepted it")
        else:
            self._send(server)
            self.resumeRequest()

    def _connect_failed(self, failure: Failure) -> None:
        self._connecting = None
        if self._over:
            return
        shortage = local_shortage(failure.value)
        if shortage is None:
            self._try_another(f"cannot connect: {failure.getErrorMessage()}")
            return
        # No fault of the server's. Another one may have ports left, but no descriptors.
        upstream = self.upstream
        assert upstream is not None
        self._leave_server()
        self._tried |= {upstream}
        self._short = self.reason = f"this node is short: {os.strerror(shortage).lower()}"
        if shortage == errno.EADDRNOTAVAIL:
            self._attempt()
        else:
            self._refuse(503)

    def _try_another(self, reason: str) -> None:
        """
        Turn to the next server: nothing was sent to this one.
        """
        self.reason = reason
        self._count_failed()
        self._attempt()

    def _refuse_unserved(self) -> None:
        """
        Answer that no server is left to be tried.
        """
        if not self._tried:
            self.reason = "no server is up"
        self._refuse(503 if not self._tried or self._short else 502)

    def _failed(self, failure: Failure) -> None:
        """A fault of ours, not of the server's."""
        self._frontend.log.failure("an exchange failed", failure)
        if not self._over:
            self.reason = "a fault of this node's"
            self._refuse(500)

    def _count_failed(self) -> None:
        """
        The attempt with this server has failed.
        """
        upstream = self.upstream
        assert upstream is not None
        self._server = None
        self._frontend.stats.server.failed += 1
        upstream.counter.failed += 1
        upstream.active -= 1
        self._tried |= {upstream}

    def _send(self, server: ServerConnection) -> None:
        self._server = server
        if self.complete or (self._body_size == 0 and self._waits_to_continue()):
            self._await_server()
        else:
            self._await_client()
        if self._body:
            server.begin(self, self._request + b"".join(self._body))
            if self._body_size > REPLAY:
                self._body = None
        else:
            server.begin(self, self._request)

    def requestBodyReceived(self, data: bytes) -> None:
        """
        A piece of the request's body.
        """
        if self._over:
            return
        self._forward(chunk(data) if self.head.length == CHUNKED else data)

    def requestFinished(self, trailers: list[bytes]) -> None:
        """
        The request is complete.
        """
        self.complete = True
        if self._over:
            return
        if self.head.length == CHUNKED:
            # RFC 9110 7.6.1: what Connection names goes no further, here either.
            self._forward(last_chunk(without(trailers, self.head.named)))
        if self._server is not None:
            self._await_server()

    def _waits_to_continue(self) -> bool:
        """
        Whether the client waits for the server to say that it may go on (RFC 9110
        10.1.1).
        """
        return any(name == b"expect" for name, _ in self.head.specials)

    def _await_server(self) -> None:
        self._awaits_client = False
        # While the client is slow to read, it is the client that is waited for.
        if self._reading is None:
            self._client.await_until(self._frontend.timeouts.server_response)

    def _await_client(self) -> None:
        self._awaits_client = True
        self._client.await_until(self._frontend.timeouts.client_idle)

    def _forward(self, data: bytes) -> None:
        if self._body is None and self._body_size == 0:
            self._body = []
        self._body_size += len(data)
        if self._server is None:
            assert self._body is not None
            self._body.append(data)
            return
        frontend = self._frontend
        now = frontend.deadlines.now
        if now >= self._pace_due:
            self._look_at_pace(now)
        self._awaits_client = True
        self._client.await_until(frontend.timeouts.client_idle)
        self._server.transport.write(data)
        if self._body is not None:
            if self._body_size <= REPLAY:
                self._body.append(data)
            else:
                self._body = None

    def _look_at_pace(self, now: float) -> None:
        """
        @raise ProtocolError: the client takes too long over the body.
        """
        rate = self._frontend.limits.body_rate
        if not rate or self.status:
            # Once the response has begun, the two may be talking.
            self._pace_due = inf
            return
        size, since = self._body_size, self._pace_since
        if since is not None and size - self._pace_from < rate * (now - since):
            raise ProtocolError("the request body does not come in time", 408)
        self._pace_from = size
        self._pace_since = now
        self._pace_due = now + PACE_WINDOW

    def pauseRequest(self) -> None:
        """
        The server takes no more of the body for now.
        """
        self.paused = True
        self._client.transport.pauseProducing()
        self._await_server()

    def resumeRequest(self) -> None:
        """
        Go on with the body: the server takes more of it.
        """
        if self.paused:
            self.paused = False
            # The wait was not the client's.
            self._pace_due, self._pace_since = 0.0, None
            if self._body_size and not self.complete:
                self._await_client()
            self._client.resume()

    # Back to the client

    def informationReceived(self, head: ResponseHead) -> None:
        """
        An interim response; a 1.0 client knows none (RFC 9110 15.2).
        """
        # The server has it: it is not to be sent again.
        self._reused = False
        if head.status == 100 and not self.complete and not self.paused:
            self._await_client()
        if self.head.minor:
            frontend = self._frontend
            self._client.transport.write(
                response(head, minor=1, keep_alive=True, via=frontend.via, date=b"")
            )

    def switchReceived(self, head: ResponseHead) -> None:
        """
        The server switches protocols (RFC 9110 7.8).

        @raise ProtocolError: to none of those that it was asked for.
        """
        if switched_to(head).lower() not in options(self.head.upgrade):
            raise ProtocolError("there is an upgrade that nobody asked for")
        frontend = self._frontend
        self.status = head.status
        self.unsent = switch(head, via=frontend.via, date=frontend.deadlines.date)

    def switch(self, server: ServerConnection) -> Tunnel:
        """
        The exchange has come to an end, and the connections go on as a tunnel.
        """
        self._server = None
        self._over = self.answered = True
        upstream = self.upstream
        assert upstream is not None
        upstream.counter.success += 1
        self._frontend.stats.server.success += 1
        return self._client.switch(self, server)

    def tunnelEnded(self) -> None:
        """
        The server has no more to do with it.
        """
        assert self.upstream is not None
        self.upstream.active -= 1

    def responseReceived(self, head: ResponseHead) -> None:
        """
        The response begins.
        """
        frontend = self._frontend
        minor = self.head.minor
        length = head.length
        self.status = head.status
        # Whether the server has understood that there is no upgrade, it alone knows; and
        # whether it has read the content of a request that has none by its method.
        self._server_keeps_alive = (
            head.keep_alive
            and (not self.head.upgrade or head.login)
            and (self.head.length == 0 or self.head.method in WITH_CONTENT)
        )
        if head.login:
            self.login = True
        self._chunking = length < 0 and minor > 0
        if self.keep_alive and (
            self._client.leaving or not self.complete or (length < 0 and not minor)
        ):
            # RFC 9112 9.6: said now; an early answer ends the connection.
            self.keep_alive = False
        self.unsent = response(
            head,
            minor=minor,
            keep_alive=self.keep_alive,
            via=frontend.via,
            date=frontend.deadlines.date,
        )
        if length == 0:
            self.responseFinished([])

    def responseBodyReceived(self, data: bytes) -> None:
        """
        A piece of the response's body.
        """
        self.sent += len(data)
        if self._chunking:
            data = chunk(data)
        if self.unsent:
            # With its head: should the rest of the packet be at fault, the client has seen
            # nothing of it yet.
            self.unsent += data
        else:
            self._client.transport.write(data)

    def responseFinished(self, trailers: list[bytes]) -> None:
        """
        The response is complete.
        """
        self.answered = True
        if self._chunking:
            self.unsent += last_chunk(trailers)
        if self.unsent:
            self.flush()

    def progress(self) -> None:
        """
        There is more of the response to come: let what there is go to the client. A
        head must be complete in time, however much of it has come.
        """
        if self.status:
            self._await_server()
        if self.unsent:
            self.flush()

    def flush(self) -> None:
        """
        Let what there is go to the client.
        """
        self._client.transport.write(self.unsent)
        self.unsent = b""

    def keep(self, server: ServerConnection) -> None:
        """
        Keep a server connection that is free for this client alone.
        """
        self._client.keep(server)

    @property
    def reusable(self) -> bool:
        """
        Whether the server connection can serve another exchange.
        """
        return self._server_keeps_alive and self.complete

    def pauseResponse(self) -> None:
        """
        The client takes no more of the response for now.
        """
        if self._server is not None:
            self._server.pause()
            self._reading = self._client.reading_pace()
            self._client.await_until(self._frontend.timeouts.client_idle)

    def resumeResponse(self) -> None:
        """
        Go on with the response: the client takes more of it.
        """
        if self._server is not None:
            self._reading = None
            self._server.resume()
            self._await_server()

    # How it ends

    def finish(self) -> None:
        """
        The response has been written to its end.
        """
        upstream = self.upstream
        assert upstream is not None
        self._server = None
        self._over = True
        upstream.active -= 1
        stats = self._frontend.stats
        if self.status < 500:
            upstream.counter.success += 1
            stats.server.success += 1
        else:
            upstream.counter.failed += 1
            stats.server.failed += 1
        self._client.exchangeEnded(self)

    def serverFailed(self, reason: str, *, begun: bool) -> None:
        """
        The server broke off, or sent what is not a response.

        @param begun: whether any of its response had come.
        """
        if self._over:
            return
        self.reason = reason
        self._count_failed()
        if self.status and not self._take_back():
            self._break_off()
        elif not begun and self._may_repeat():
            # A kept connection that the server was just closing (RFC 9112 9.3.1):
            # the same server, unasked for so far, is as good as any other.
            upstream = self.upstream
            assert upstream is not None
            self._tried -= {upstream}
            if upstream.retired:
                self._attempt()
            else:
                upstream.active += 1
                self._connect(upstream)
        else:
            self._refuse(502)

    def _take_back(self) -> bool:
        """
        Forget a response of which the client has seen nothing.

        @return: whether that could be done.
        """
        if not self.unsent:
            return False
        self.unsent = b""
        self.status = self.sent = 0
        return True

    def _may_repeat(self) -> bool:
        return (
            self._reused
            and self.head.method in IDEMPOTENT
            and (self._body_size == 0 or self._body is not None)
        )

    def expired(self) -> None:
        """
        Whatever is awaited has not come in time.
        """
        if self._connecting is not None:
            # The endpoint's failure leads on to the next server.
            self._connecting.cancel()
            return
        server = self._server
        assert server is not None
        if server.paused and self._reading is not None:
            # It is the client that is slow; if it is steady, that is its right.
            wait = self._reading.allowance()
            if wait:
                self._client.await_until(wait)
                return
        server.abort()
        if server.paused:
            # The server is not to blame, here and below.
            self.reason = "the client took too little of the response"
            self._leave_server()
            self._break_off()
        elif self._awaits_client:
            self.reason = "the request body did not come in time"
            self._leave_server()
            if self.status:
                self._break_off()
            else:
                self._refuse(408)
        else:
            self.reason = "the server did not answer in time"
            self._count_failed()
            if self.status:
                self._break_off()
            else:
                self._refuse(504)

    def serverLeft(self) -> None:
        """
        The server has left the pool, and has had its time to finish.
        """
        self.reason = "the server was removed, and took too long to finish"
        self._leave_server()
        if self.status and not self._take_back():
            self._break_off()
        else:
            self._refuse(503)

    def probe(self) -> bytes | None:
        """
        Bytes that mean nothing to a client that is there, and that have the system of one
        that is gone reset the connection; L{None}: there are none just now.
        """
        if not self.head.minor:
            return None
        if not self.status:
            return CONTINUE
        # A leading zero of the size of the next chunk (RFC 9112 7.1).
        return b"0" if self._chunking and not self.unsent else None

    def abandon(self) -> None:
        """
        The client has gone away: neither side is to blame.
        """
        self._over = True
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
            self._leave_server()
        elif self._server is not None:
            self._server.abort()
            self._leave_server()

    def reject(self, status: int, reason: str) -> None:
        """
        What the client sent after the head was no good; answer that if there is
        still time to.
        """
        self.abandon()
        self.reason = reason
        if self.status:
            self._break_off()
        else:
            self._over = False
            self._refuse(status)

    def _leave_server(self) -> None:
        upstream = self.upstream
        assert upstream is not None
        upstream.active -= 1
        self._server = None

    def _refuse(self, status: int) -> None:
        """
        Answer ourselves.
        """
        self._over = self.answered = True
        self.status = status
        client = self._client
        self._frontend.explain(client, self, status, self.reason)
        client.respond(status, self)
        client.exchangeEnded(self)

    def _break_off(self) -> None:
        """
        The response cannot be completed, and must not look as if it were.
        """
        self._over = True
        self._frontend.explain(self._client, self, self.status, self.reason)
        self._client.abort(self)
