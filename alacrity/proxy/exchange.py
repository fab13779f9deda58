"""
One request and its response.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from math import inf
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import options, without
from alacrity.http1.forwarding import chunk, last_chunk, response, switch, switched_to
from alacrity.http1.messages import CHUNKED, RequestHead, ResponseHead
from alacrity.proxy.balancer import Upstream
from alacrity.proxy.server import ServerConnection
from alacrity.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from alacrity.proxy.client import ClientConnection
    from alacrity.proxy.frontend import Frontend

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 9.2.2)."""

PACE_WINDOW: Final = 20.0
"""
Over how many seconds the pace of a request body is averaged: what Apache's
mod_reqtimeout gives it by default, with the least rate.
"""

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

    _server: ServerConnection | None = None
    _connecting: Deferred[ServerConnection] | None = None
    _over = False
    _paused = False
    _request = b""
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
        self.upstream = upstream = frontend.balancer.choose(self._tried)
        if upstream is None:
            self._refuse(502 if self._tried else 503)
            return
        upstream.active += 1
        if upstream.idle:
            self._reused = True
            self._send(upstream.idle.pop())
        else:
            self._connect(upstream)

    def _connect(self, upstream: Upstream) -> None:
        self._reused = False
        self._client.deadline = self._frontend.deadlines.now + self._frontend.timeouts.connect
        if not self.complete:
            self._client.transport.pauseProducing()
            self._paused = True
        self._connecting = connecting = self._frontend.connect(upstream)
        connecting.addCallbacks(self._connected, self._connect_failed)
        connecting.addErrback(self._failed)

    def _connected(self, server: ServerConnection) -> None:
        self._connecting = None
        if self._over:
            server.abort()
            return
        self._send(server)
        self.resumeRequest()

    def _connect_failed(self, failure: Failure) -> None:
        self._connecting = None
        if self._over:
            return
        self._count_failed()
        self._attempt()

    def _failed(self, failure: Failure) -> None:
        """A fault of ours, not of the server's."""
        self._frontend.log.failure("an exchange failed", failure)
        if not self._over:
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
        self._await_server()
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

    def _await_server(self) -> None:
        frontend = self._frontend
        self._client.deadline = frontend.deadlines.now + frontend.timeouts.server_response

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
        self._client.deadline = now + frontend.timeouts.client_idle
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
        self._paused = True
        self._client.transport.pauseProducing()
        self._await_server()

    def resumeRequest(self) -> None:
        """
        It does again.
        """
        if self._paused:
            self._paused = False
            # The wait was not the client's.
            self._pace_due, self._pace_since = 0.0, None
            self._client.resume()

    # Back to the client

    def informationReceived(self, head: ResponseHead) -> None:
        """
        An interim response; a 1.0 client knows none (RFC 9110 15.2).
        """
        # The server has it: it is not to be sent again.
        self._reused = False
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
        # Whether the server has understood that there is no upgrade, it alone knows.
        self._server_keeps_alive = head.keep_alive and not self.head.upgrade
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
            data = self.unsent + data
            self.unsent = b""
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
            frontend = self._frontend
            self._client.deadline = frontend.deadlines.now + frontend.timeouts.client_idle

    def resumeResponse(self) -> None:
        """
        It does again.
        """
        if self._server is not None:
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
        self._count_failed()
        if self.status:
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
        server.abort()
        if server.paused:
            # It is the client that is slow, here and below: the server is not to
            # blame.
            self._leave_server()
            self._break_off()
        elif self.status:
            self._count_failed()
            self._break_off()
        elif self.complete or self._paused:
            self._count_failed()
            self._refuse(504)
        else:
            self._leave_server()
            self._refuse(408)

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

    def reject(self, status: int) -> None:
        """
        What the client sent after the head was no good; answer that if there is
        still time to.
        """
        self.abandon()
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
        client.respond(status, self)
        client.exchangeEnded(self)

    def _break_off(self) -> None:
        """
        The response cannot be completed, and must not look as if it were.
        """
        self._over = True
        self._client.abort(self)
