"""
The introductions of a node's peers: a connection is used once both sides have greeted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from alacrity.cluster.log.formats import GREETING_FORMAT, NEWEST_FORMAT
from alacrity.cluster.wire.greeting import (
    Greeting,
    GreetingCheck,
    MalformedGreeting,
    Refusal,
    Welcome,
    decode_greeting,
    encode_greeting,
)
from alacrity.cluster.wire.link import HANDSHAKE_TIMEOUT, Link


class Manners(msgspec.Struct, frozen=True):
    """
    The way in which a node introduces itself, and looks at others.

    @ivar greeting: gives the present greeting of this node.
    @ivar accept: gives the reason to refuse a node by its greeting.
    @ivar format: the newest version of commands that this node's program understands.
    """

    greeting: Callable[[], Greeting] = Greeting
    accept: GreetingCheck = lambda peer, greeting: None
    format: int = NEWEST_FORMAT


class Introductions:
    """
    The greetings of the nodes at the other ends of links.
    """

    def __init__(self, manners: Manners, now: Callable[[], float]) -> None:
        """
        @param now: gives the time, in seconds.
        """
        self._manners = manners
        self._now = now
        # The greeting of each peer that is accepted; None: its program does not know greetings.
        self._heard: dict[Link, Greeting | None] = {}
        # The links to peers that have not both greeted and accepted this node yet, and the times
        # at which this node greeted them.
        self._awaited: dict[Link, float] = {}

    def begin(self, link: Link) -> bool:
        """
        Greet the node at the other end, once its identity is proven.

        @return: whether the link can be used at once, because the other node's program does not
            know greetings.
        """
        assert link.session is not None
        if min(link.session.peer.format, self._manners.format) < GREETING_FORMAT:
            reason = self._manners.accept(link.session.peer, None)
            if reason is not None:
                link.fail(reason)
                return False
            self._heard[link] = None
            return True
        self._awaited[link] = self._now()
        link.send(encode_greeting(self._manners.greeting()))
        return False

    def is_done(self, link: Link) -> bool:
        """
        Whether both nodes accept each other.
        """
        return link in self._heard and link not in self._awaited

    def greeting(self, link: Link | None) -> Greeting | None:
        """
        The last greeting of the node at the other end; L{None}: there is none.
        """
        return None if link is None else self._heard.get(link)

    def hear(self, link: Link, payload: bytes) -> bool:
        """
        Take a greeting, or the answer to one. A node that is not accepted is told the reason, and
        its link is closed.

        @return: whether the link can be used from now on, and could not before.
        """
        assert link.session is not None
        try:
            said = decode_greeting(payload)
        except MalformedGreeting as error:
            link.fail(f"a greeting that cannot be decoded: {error}")
            return False
        match said:
            case Refusal(reason):
                link.fail(f"it refuses: {reason!a}")
            case Welcome() if link in self._heard:
                # Its greeting came before.
                return self._awaited.pop(link, None) is not None
            case Welcome():
                link.fail("it sends a welcome before its greeting")
            case Greeting() if not self._refuse(link, said):
                if link not in self._heard:
                    link.send(encode_greeting(Welcome()))
                self._heard[link] = said
        return False

    def check(self, link: Link) -> bool:
        """
        Look at a node that has greeted again, because more is known about it.

        @return: whether it is accepted; if not, its link is closed.
        """
        return link not in self._heard or not self._refuse(link, self._heard[link])

    def _refuse(self, link: Link, greeting: Greeting | None) -> bool:
        assert link.session is not None
        reason = self._manners.accept(link.session.peer, greeting)
        if reason is None:
            return False
        if greeting is not None:
            link.send(encode_greeting(Refusal(reason)))
        link.fail(reason, flush=True)
        return True

    def greet_again(self, links: Iterable[Link]) -> None:
        """
        Tell the nodes at the other ends of links that are in use what has changed.
        """
        payload = encode_greeting(self._manners.greeting())
        for link in list(links):
            if link in self._awaited or self._heard.get(link) is not None:
                link.send(payload)

    def close_late(self) -> None:
        """
        Close the links to nodes that do not greet in time.
        """
        for link, since in list(self._awaited.items()):
            if self._now() - since > HANDSHAKE_TIMEOUT:
                link.fail(f"it does not greet in {HANDSHAKE_TIMEOUT:g} seconds")

    def extend_deadlines(self, seconds: float) -> None:
        """
        Give the nodes that have not greeted yet more time, since this process did not run.
        """
        now = self._now()
        for link, since in self._awaited.items():
            self._awaited[link] = min(now, since + seconds)

    def forget(self, link: Link) -> None:
        """
        Forget a link that has ended.
        """
        self._heard.pop(link, None)
        self._awaited.pop(link, None)
