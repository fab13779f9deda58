"""
One request and its response.
"""

from __future__ import annotations

from typing import Final

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.proxy.events import Cause, FailureKind, RequestEnded
from alacrity.proxy.exchange.body import REPLAY_LIMIT, RequestBody
from alacrity.proxy.exchange.context import ExchangeContext
from alacrity.proxy.exchange.phase import CONNECTING, ENDED, NEW, QUEUED, SENT, TUNNEL
from alacrity.proxy.exchange.tunnel import TunnelSide, open_tunnel
from alacrity.proxy.exchange.waiting import Waiting
from alacrity.proxy.interfaces import Downstream, UpstreamConnection
from alacrity.proxy.upstream.affinity import ClientAffinity
from alacrity.proxy.upstream.attempt import Attempt
from alacrity.proxy.upstream.failing.alternatives import another_is_good
from alacrity.proxy.upstream.failing.watch import FailureWatch
from alacrity.proxy.upstream.queue import Place
from alacrity.proxy.upstream.retry import IDEMPOTENT, FailedAttempts, NextStep, own_status
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.sticky import Session, StickySessions

_GONE: Final = Cause(FailureKind.CLIENT_GONE)
_STOPS: Final = Cause(FailureKind.NODE_STOPS)

_WHY_UNSERVED: Final = {
    FailureKind.NO_SERVER: "no server is up: the last one went while the request waited",
    FailureKind.QUEUE_FULL: "all servers have as many requests as they may, and so has the queue",
    FailureKind.QUEUE_TIMED_OUT: "no server had room for the request in time",
}

_log: Final = Logger()


class Exchange:
    """
    Takes one request to a server, to another if that fails, and its response
    back to the client.

    Over 300 lines, as it is one object and not several: each further object that is made for
    every request costs 1 to 2 % of a request's time. What few requests need (a body, a wait
    for the client, failed attempts, a tunnel) is in classes of its own.

    @ivar phase: see L{alacrity.proxy.exchange.phase}.
    @ivar request: its head.
    @ivar complete: whether the request has been read to its end.
    @ivar paused: whether the client is not read from, until the server takes more.
    @ivar affinity: the connections to servers that this client's requests may use.
    @ivar listeners: are told how it ends.
    @ivar sink: where the response goes.
    """

    # Defaults of what is seldom read. Python reads an instance's own values much faster.
    paused = False
    # The server's side of the tunnel, if it has become one.
    _from_server: TunnelSide | None = None
    # The request's head, as it goes to a server.
    _head = b""
    # Made when first needed: most requests wait for the server alone.
    _waiting: Waiting | None = None
    # When it began, if anybody listens to requests.
    _began = 0.0
    # Its place in the queue, and the seconds that it has waited in places that it has left.
    _place: Place | None = None
    _queued = 0.0
    # The session that its client has with a server, where there are sessions.
    _session: Session | None = None

    def __init__(
        self,
        context: ExchangeContext,
        downstream: Downstream,
        affinity: ClientAffinity,
        request: RequestHead,
    ) -> None:
        """@param downstream: the client's side."""
        self._context = context
        self._downstream = downstream
        self.affinity = affinity
        self.request = request
        self.complete = request.length == 0
        self.listeners = listeners = context.listeners
        self.sink = downstream.response
        self.phase = NEW
        self._attempt: Attempt | None = None
        self._failed: FailedAttempts | None = None
        self._body: RequestBody | None = None
        if listeners.requests is not None:
            self._began = listeners.monotonic()

    def __repr__(self) -> str:
        method, target = self.request.method.decode(), self.request.target.decode()
        return f"<Exchange {method} {target} {self.phase.value}>"

    @property
    def responding(self) -> bool:
        """Whether the response has begun."""
        return self._attempt is not None and self._attempt.status != 0

    @property
    def body_is_kept(self) -> bool:
        """Whether all that was sent of the request's body can be sent again."""
        return self._body is None or self._body.is_kept

    # Towards the server

    def start(self, head: bytes) -> None:
        """
        Look for a server; for another one, if some have failed.

        @param head: the request's, as it goes to a server.
        """
        self._head = head
        if self._context.queue.length and self._failed is None:
            # Those that wait come first.
            self._join_queue()
        elif not self.begin():
            if self.may_wait():
                self._join_queue()
            else:
                self._answer(*(self._failed or FailedAttempts()).unserved())

    def begin(self) -> bool:
        """
        Begin an attempt with a server that has room.

        @return: whether there was one.
        """
        affinity = self.affinity
        tried = self._failed.tried if self._failed is not None else ()
        probed: UpstreamServer | None = None
        connection = affinity.take_login(tried) if affinity.private else None
        if connection is not None:
            upstream = connection.upstream
            if upstream.full:
                affinity.keep(connection)
                return False
        else:
            context = self._context
            sessions = context.sessions
            session = None if sessions is None else self._needed_session(sessions)
            chosen = None
            if (
                context.failing.due
                # One probe a request: many servers may be due at once.
                and not tried
                and (session is None or not session.goes_on(tried))
            ):
                probed = chosen = context.failing.take_probe(tried, may_repeat=self._may_repeat)
            if chosen is None:
                key_of = context.key_of
                key = None if key_of is None else key_of(self.request, self._downstream.client)
                if session is None:
                    chosen = context.balancer.choose(tried, key)
                else:
                    chosen = session.choose(tried, key)
                if chosen is None and tried and not context.balancer.all_full(tried):
                    chosen = self._choose_again()
                if chosen is None:
                    return False
            if session is not None:
                # Whatever is set goes out with the response of this very server.
                self.sink = session.take(chosen, self._downstream.response)
            upstream = chosen
            connection = affinity.take(upstream)
        if self._place is not None:
            self._leave_queue()
        self._attempt = attempt = Attempt(self, upstream, connection)
        if probed is not None:
            self._context.failing.probe_began(probed, attempt)
        if connection is None:
            self._connect(attempt)
        elif self._failed is None and not self._queued:
            self._send(attempt, connection)
        else:
            self.connected(connection)
        return True

    def _choose_again(self) -> UpstreamServer | None:
        """Choose among the servers that got the request before, as there is no other."""
        assert self._failed is not None
        return self._context.balancer.choose(self._failed.unreachable)

    @property
    def _may_repeat(self) -> bool:
        """Whether the request is here whole, and may be sent to one server after another."""
        return self.complete and self.request.method in IDEMPOTENT and self.body_is_kept

    @property
    def failing(self) -> FailureWatch:
        """Judges servers by their failures."""
        return self._context.failing

    def declines(self, status: int) -> bool:
        """Whether another server is asked, and this response not passed on."""
        attempt, context = self._attempt, self._context
        return (
            attempt is not None
            and context.retries.declines(status, self._failed)
            and attempt.may_repeat
            and another_is_good(
                context.balancer,
                attempt.upstream,
                () if self._failed is None else self._failed.tried,
            )
        )

    # In the queue, while all servers are full

    @property
    def choosy(self) -> bool:
        """Whether not every server may take it; see L{alacrity.proxy.upstream.queue.Waiter}."""
        sessions = self._context.sessions
        return (
            self._failed is not None
            or self.affinity.has_login()
            or (sessions is not None and self._needed_session(sessions).is_apart)
        )

    def may_wait(self) -> bool:
        """Whether a server could take the request if it had room."""
        balancer, failed = self._context.balancer, self._failed
        if failed is None:
            return self.affinity.has_login() or balancer.all_full()
        return (
            self.affinity.has_login(failed.tried)
            or balancer.all_full(failed.tried)
            or balancer.all_full(failed.unreachable)
        )

    def _join_queue(self) -> None:
        """Wait, without reading more of the request than was read already."""
        queue = self._context.queue
        left = queue.timeout - self._queued
        place = queue.join(self) if left > 0 else None
        self._attempt = None
        if place is None:
            kind = FailureKind.QUEUE_FULL if left > 0 else FailureKind.QUEUE_TIMED_OUT
            self._answer_waiting(kind)
            return
        self._place = place
        self.phase = QUEUED
        if self._waiting is not None:
            self._waiting.reader_is_back()
        self._downstream.await_until(left)
        if not self.complete:
            self.paused = True
            self._downstream.pause()

    def _queue_expired(self, place: Place) -> None:
        # The time of the deadlines is some behind: without this, the wait could be too short.
        left = self._context.queue.timeout - self._queued - place.waited
        if left > 0:
            self._downstream.await_until(left)
        else:
            self._leave_queue()
            self._answer_waiting(FailureKind.QUEUE_TIMED_OUT)

    def _leave_queue(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            self._queued += place.waited
            place.leave()

    def unserved(self) -> None:
        """The last server that could take the request has gone while it waited."""
        self._leave_queue()
        if self._failed is not None and self._failed.tried:
            self._answer(*self._failed.unserved())
        else:
            self._answer_waiting(FailureKind.NO_SERVER)

    def _answer_waiting(self, kind: FailureKind) -> None:
        cause = Cause(kind, _WHY_UNSERVED[kind])
        self._answer(own_status(cause), cause)

    def _needed_session(self, sessions: StickySessions) -> Session:
        session = self._session
        if session is None:
            secure = self._downstream.is_secure(self.request)
            self._session = session = sessions.session(self.request, secure=secure)
        return session

    def _connect(self, attempt: Attempt) -> None:
        self.phase = CONNECTING
        if self._waiting is not None:
            self._waiting.reader_is_back()
        self._downstream.await_until(self._context.timeouts.connect)
        if not self.complete:
            self.paused = True
            self._downstream.pause()
        attempt.connect(self._context.connect)

    def connected(self, connection: UpstreamConnection) -> None:
        """There is a connection: send the request."""
        attempt = self._attempt
        assert attempt is not None
        self._send(attempt, connection)
        if self._downstream.full and self.phase is SENT:
            # A probe was one write too many.
            self.pause_response()

    def crashed(self, failure: Failure) -> None:
        """Answer after an exception in this program, which is not the server's fault."""
        _log.failure("an exchange failed", failure)
        if self.phase is not ENDED:
            cause = Cause(FailureKind.NODE_FAULT, "a fault of this node's")
            self._give_up_attempt(cause)
            self._answer(500, cause)

    def _send(self, attempt: Attempt, connection: UpstreamConnection) -> None:
        self.phase = SENT
        body = self._body
        if self.complete or (self.request.expects and (body is None or not body.size)):
            if self._waiting is not None:
                self._waiting.for_server()
            else:
                self._downstream.await_until(self._context.timeouts.server_response)
        else:
            self._needed_waiting().for_client()
        if body is None:
            connection.send(attempt, self._head)
        else:
            connection.send(attempt, self._head + body.kept())
            if body.size > REPLAY_LIMIT:
                body.drop()
        if self.paused and not connection.full:
            # The client waited for the connection, or for a server that has failed.
            self.resume_request()

    def _needed_waiting(self) -> Waiting:
        waiting = self._waiting
        if waiting is None:
            self._waiting = waiting = Waiting(self._context, self._downstream)
        return waiting

    # The request's body, from the client

    def body_received(self, data: bytes) -> None:
        """
        Take a piece of the request's body.

        @raise ProtocolError: the client takes too long over it.
        """
        if self.phase is not ENDED:
            body = self._body
            if body is None:
                body = self._begin_body()
            data = body.piece(data)
            if self._attempt is not None:
                self._forward(self._attempt, body, data)

    def request_finished(self, trailers: list[bytes]) -> None:
        """
        The request is complete.

        @param trailers: its trailer fields, as lines.
        @raise ProtocolError: as for L{body_received}.
        """
        self.complete = True
        if self.phase is not ENDED:
            body = self._body
            if body is None:
                body = self._begin_body()
            last = body.end(trailers)
            if self._attempt is not None:
                if last:
                    self._forward(self._attempt, body, last)
                if self.phase is SENT:
                    self._needed_waiting().for_server()

    def _begin_body(self) -> RequestBody:
        self._body = body = RequestBody(self.request, self._context.limits.body_rate)
        return body

    def _forward(self, attempt: Attempt, body: RequestBody, data: bytes) -> None:
        connection = attempt.connection
        if connection is not None:
            body.check_pace(self._context.deadlines.now, answered=self.responding)
            self._needed_waiting().for_client()
            connection.write(data)
            if body.size > REPLAY_LIMIT:
                body.drop()

    def pause_request(self) -> None:
        """Stop reading the request's body: the server takes no more for now."""
        self.paused = True
        self._downstream.pause()
        self._needed_waiting().for_server()

    def resume_request(self) -> None:
        """Resume reading the request's body: the server takes more of it."""
        if self.paused:
            self.paused = False
            body = self._body
            if body is not None:
                body.restart_pace()
                if body.size and not self.complete:
                    self._needed_waiting().for_client()
            self._downstream.resume()

    # The response

    def informed(self, status: int) -> None:
        """An interim response has come."""
        if status == 100 and not self.complete and not self.paused:
            self._needed_waiting().for_client()

    def goes_on(self) -> None:
        """More of the response has come, and there is more to come."""
        self._needed_waiting().for_server()

    def pause_response(self) -> None:
        """Stop reading the response: the client takes no more of it for now."""
        connection = self._attempt.connection if self._attempt is not None else None
        if connection is not None:
            connection.pause()
            self._needed_waiting().for_reader()

    def resume_response(self) -> None:
        """Resume reading the response: the client takes more of it."""
        connection = self._attempt.connection if self._attempt is not None else None
        if connection is not None:
            waiting = self._needed_waiting()
            waiting.reader_is_back()
            connection.resume()
            if self.phase is not ENDED:
                waiting.for_server()

    def switched(self, head: ResponseHead, said: bytes) -> None:
        """
        Make a tunnel of the two connections.

        @param head: the server's response.
        @param said: bytes that the server sent after it.
        """
        attempt = self._attempt
        assert attempt is not None
        assert attempt.connection is not None
        self.phase = TUNNEL
        self.listeners.count_request(True)
        self.listeners.tunnel_opened()
        if self._session is not None:
            head = self._session.mark(head)
        timeouts = self._context.timeouts
        self._from_server = open_tunnel(
            self._downstream,
            attempt.connection,
            head,
            said,
            idle=timeouts.tunnel_idle,
            closing=timeouts.client_idle,
            ended=self._tunnel_ended,
        )

    def _tunnel_ended(self) -> None:
        attempt = self._attempt
        assert attempt is not None
        attempt.tunnel_closed()
        self.listeners.tunnel_closed()
        self._end(None, attempt.status, complete=True)

    # The end of an attempt

    def attempt_succeeded(self, status: int) -> None:
        """The response is written to its end, and the server's connection is free."""
        self.phase = ENDED
        listeners = self.listeners
        listeners.count_request(status < 500)
        if listeners.requests is not None:
            self._report(None, status, complete=True)
        self._attempt = None
        self._downstream.ended(self.complete)

    def attempt_failed(self, cause: Cause, seen: bool) -> None:
        """
        Try again, answer, or break off.

        @param seen: whether the client has seen some of the response.
        """
        attempt, failed = self._attempt, self._failed
        assert attempt is not None
        if seen:
            self._break_off(cause)
            return
        if failed is None:
            self._failed = failed = FailedAttempts()
        rules = self._context.retries
        step = failed.add(attempt.upstream, cause, rules, was_reused=attempt.was_reused)
        if step is NextStep.ANOTHER_SERVER:
            self.start(self._head)
        elif step is NextStep.SAME_SERVER and attempt.upstream.full:
            # It may have fewer requests at a time than when the attempt began.
            self.start(self._head)
        elif step is NextStep.SAME_SERVER:
            self._attempt = again = Attempt(self, attempt.upstream, None)
            self._connect(again)
        else:
            self._answer(own_status(cause), cause)

    def expired(self) -> None:
        """The wait has taken too long: go on to the next server, answer, or break off."""
        if self._place is not None:
            self._queue_expired(self._place)
            return
        attempt = self._attempt
        assert attempt is not None
        if attempt.stop_connecting():
            # The endpoint's failure leads on to the next server.
            return
        cause = self._needed_waiting().expired()
        if cause is None:
            return
        if cause.kind is FailureKind.RESPONSE_TIMED_OUT and attempt.may_repeat:
            cause = msgspec.structs.replace(cause, repeat_is_safe=True)
        seen = attempt.give_up(cause) or cause.kind is FailureKind.RESPONSE_NOT_READ
        self.attempt_failed(cause, seen)

    # The end of the request

    def abandon(self) -> None:
        """The client has gone away: neither side is to blame."""
        if self.phase is not ENDED:
            self.phase = ENDED
            self._give_up_attempt(_GONE)
            self._end(_GONE, self._status(), complete=False)

    def cut(self) -> None:
        """Break the response off: this node stops, and waits no longer."""
        self._give_up_attempt(_STOPS)
        self._break_off(_STOPS)

    def reject(self, status: int, reason: str) -> None:
        """
        The client's request is at fault after its head: answer with an error, unless the
        client has seen some of a response.
        """
        cause = Cause(FailureKind.BAD_REQUEST, reason, was_sent=self._attempt is not None)
        if self._give_up_attempt(cause):
            self._break_off(cause)
        else:
            self._answer(status, cause)

    def _give_up_attempt(self, cause: Cause) -> bool:
        """@return: whether the client has seen some of the response."""
        self._leave_queue()
        attempt = self._attempt
        return attempt is not None and attempt.outcome is None and attempt.give_up(cause)

    def _answer(self, status: int, cause: Cause) -> None:
        """Send an answer of the proxy's own."""
        self.phase = ENDED
        self.sink.answer(self.request, status, self.complete)
        self.listeners.count_request(status < 500)
        self._end(cause, status, complete=True)
        self._downstream.ended(self.complete)

    def _break_off(self, cause: Cause) -> None:
        """End an incomplete response, so that the client does not take it for complete."""
        self.listeners.count_request(False)
        self._end(cause, self._status(), complete=False)
        self._downstream.break_off()

    def _status(self) -> int:
        """The status of the response that has begun; 0: none has."""
        return 0 if self._attempt is None else self._attempt.status

    def _end(self, cause: Cause | None, status: int, *, complete: bool) -> None:
        """
        End, and tell the listeners.

        @param cause: why the request failed; L{None}: it did not.
        @param status: of the response; 0: there was none.
        @param complete: whether it was written to its end.
        """
        self.phase = ENDED
        if cause is not None or self.listeners.requests is not None:
            self._report(cause, status, complete=complete)
        # The attempt refers to this exchange: leave no cycle behind.
        self._attempt = None

    def _report(self, cause: Cause | None, status: int, *, complete: bool) -> None:
        listeners, attempt = self.listeners, self._attempt
        if self._from_server is not None:
            sent = self._from_server.sent
        else:
            sent = self.sink.sent if attempt is not None and attempt.status else 0
        last = cause
        if (cause is None or not cause.text) and self._failed is not None:
            last = self._failed.last
        listeners.request_ended(
            RequestEnded(
                client=self._downstream.client,
                request=self.request,
                status=status,
                sent=sent,
                complete=complete,
                duration=0.0 if listeners.requests is None else listeners.monotonic() - self._began,
                server=None if attempt is None else attempt.upstream.id,
                cause=cause,
                reason="" if last is None else last.text,
                queued=self._queued,
            )
        )
