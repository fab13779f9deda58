"""
Sessions of clients with servers, held by a cookie.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from alacrity.config import StickySettings
from alacrity.http1.cookies import keeps_to_one, set_cookie, take_cookie
from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.pool import Change
from alacrity.proxy.interfaces import ResponseSink
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing

VALUE_BYTES: Final = 16
"""Bytes of a cookie's value, before they are written in hex."""

_ADDED: Final = frozenset({b"set-cookie", b"cache-control"})


def cookie_value(key: bytes, id: str) -> bytes:
    """
    The value of the cookie of a session: it tells no client which server that is.

    @param key: the pool's; see L{alacrity.pool.Pool.sticky_key}.
    @param id: the server's.
    """
    return hmac.digest(key, id.encode("utf-8"), "sha256")[:VALUE_BYTES].hex().encode("ascii")


class StickySessions:
    """
    The servers by the values of their cookies.

    There are no sessions until the pool has a key.
    """

    def __init__(
        self, settings: StickySettings, balancer: Balancer, key: Callable[[], bytes]
    ) -> None:
        """
        @param balancer: chooses a server for a new session.
        @param key: gives the pool's key; empty: there is none yet.
        """
        self._settings = settings
        self._name = settings.cookie.encode("ascii")
        self._balancer = balancer
        self._pool_key = key
        self._key = b""
        self._values: dict[str, bytes] = {}
        self._ids: dict[bytes, str] = {}

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed. To be subscribed to the pool's view.
        """
        before, after = change.before, change.after
        if after is not None:
            if self._key and after.id not in self._values:
                self._add(after.id)
        elif before is not None:
            value = self._values.pop(before.id, None)
            if value is not None:
                self._ids.pop(value, None)

    def _add(self, id: str) -> None:
        value = self._values[id] = cookie_value(self._key, id)
        self._ids[value] = id

    def _take_key(self) -> bool:
        """
        Take another key, if the pool has one.

        @return: whether there is a key.
        """
        key = self._pool_key()
        if key != self._key:
            self._key = key
            self._values.clear()
            self._ids.clear()
            if key:
                for upstream in self._balancer.upstreams():
                    self._add(upstream.id)
        return key != b""

    def without_cookie(self, request: RequestHead) -> RequestHead:
        """
        A request's head without the cookie, which is none of the servers' business.
        """
        lines, values = take_cookie(request.lines, self._name)
        return msgspec.structs.replace(request, lines=lines) if values else request

    def session(self, request: RequestHead, *, secure: bool) -> Session:
        """
        The session of a request: the first of its cookies that fits a server counts.

        @param secure: whether the client's connection is encrypted.
        """
        presented = None
        if self._take_key():
            for value in take_cookie(request.lines, self._name)[1]:
                id = self._ids.get(value)
                if id is not None:
                    presented = self._balancer.upstream(id)
                    break
        return Session(self, self._balancer, presented, secure=secure)

    def new_cookie(self, upstream: UpstreamServer, *, secure: bool) -> bytes:
        """
        The line that sets a server's cookie; empty: there is no key.
        """
        value = self._values.get(upstream.id) if self._take_key() else None
        if value is None:
            return b""
        settings = self._settings
        return set_cookie(
            self._name,
            value,
            max_age=settings.max_age,
            domain=settings.domain.encode("ascii"),
            same_site=settings.same_site.encode("ascii"),
            secure=secure,
        )


class Session:
    """
    The session of one request's client: the server that its cookie names, and the one that
    was chosen.
    """

    __slots__ = ("_balancer", "_chosen", "_presented", "_secure", "_sessions")

    def __init__(
        self,
        sessions: StickySessions,
        balancer: Balancer,
        presented: UpstreamServer | None,
        *,
        secure: bool,
    ) -> None:
        """
        @param presented: the server of the cookie; L{None}: there is none that fits.
        """
        self._sessions = sessions
        self._balancer = balancer
        self._presented = presented
        self._secure = secure
        self._chosen: UpstreamServer | None = None

    @property
    def is_apart(self) -> bool:
        """
        Whether its server gets no requests but those of sessions, so that whoever waits for
        another server is not before this request.
        """
        presented = self._presented
        return presented is not None and _keeps(presented) and not presented.pooled.eligible

    def _is_usable(self, tried: Collection[UpstreamServer]) -> bool:
        presented = self._presented
        return (
            presented is not None
            and self._balancer.serving
            and _keeps(presented)
            and not presented.full
            and presented not in tried
        )

    def goes_on(self, tried: Collection[UpstreamServer]) -> bool:
        """
        Whether its server answers and has room.

        @param tried: servers that are not to be chosen.
        """
        presented = self._presented
        return (
            presented is not None and presented.standing is Standing.GOOD and self._is_usable(tried)
        )

    def choose(
        self, tried: Collection[UpstreamServer], key: bytes | None = None
    ) -> UpstreamServer | None:
        """
        The session's server, if it answers and has room; else another, for a new session.

        @param tried: servers that are not to be chosen.
        @param key: as for L{Balancer.choose}.
        """
        if self.goes_on(tried):
            return self._presented
        chosen = self._balancer.choose(tried, key)
        if chosen is None and self._is_usable(tried):
            # One that is draining, and aside, is better than none.
            return self._presented
        return chosen

    def take(self, chosen: UpstreamServer, sink: ResponseSink) -> ResponseSink:
        """
        Go to a server.

        @return: the sink for its response: the given one, or one that sets the cookie, if it
            changes.
        """
        self._chosen = chosen
        return sink if chosen is self._presented else CookieSetter(sink, self)

    def mark(self, head: ResponseHead) -> ResponseHead:
        """
        The head of a final response, or of one that switches protocols, with the cookie set if
        that changes. Then no cache may give it to others, or they would get this session.
        """
        if self._chosen is None or self._chosen is self._presented:
            return head
        cookie = self._sessions.new_cookie(self._chosen, secure=self._secure)
        if not cookie:
            return head
        lines = head.lines
        if not head.named.isdisjoint(_ADDED):
            # RFC 9110 7.6.1: what Connection names goes before ours is added.
            lines = [each for each in lines if each.partition(b":")[0].lower() not in head.named]
        lines = [*lines, cookie]
        if not keeps_to_one(lines):
            lines.append(b"Cache-Control: private")
        return msgspec.structs.replace(head, lines=lines, named=head.named - _ADDED)


def _keeps(upstream: UpstreamServer) -> bool:
    """
    Whether a server gets requests of its sessions.
    """
    return not upstream.retired and upstream.pooled.keeps_sessions


class CookieSetter:
    """
    A L{ResponseSink} in front of another, which sets the session's cookie.
    """

    __slots__ = ("_session", "_sink", "answer", "finish", "flush", "inform", "take_back", "write")

    def __init__(self, sink: ResponseSink, session: Session) -> None:
        self._sink = sink
        self._session = session
        self.answer = sink.answer
        self.finish = sink.finish
        self.flush = sink.flush
        self.inform = sink.inform
        self.take_back = sink.take_back
        self.write = sink.write

    @property
    def sent(self) -> int:
        """Bytes written of the body of the response that was started last."""
        return self._sink.sent

    def start(self, request: RequestHead, head: ResponseHead, complete: bool) -> None:
        """Write the head of the final response, with the cookie."""
        self._sink.start(request, self._session.mark(head), complete)
