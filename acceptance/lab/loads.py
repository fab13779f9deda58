"""
Clients that keep nodes busy, each in a thread of its own.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from threading import Event, Thread
from typing import Any, Final, Self

from acceptance.lab.calls import ask, call
from acceptance.lab.nodes import Node
from acceptance.lab.waiting import PATIENCE

PAUSE: Final = 0.02
"""Seconds between two requests."""


class Load:
    """
    An action that is repeated until it is stopped.

    @ivar outcomes: how often each outcome came: statuses, and names of error types.
    @ivar slowest: the longest that the action took, in seconds.
    """

    def __init__(self, once: Callable[[], str], pause: float = PAUSE) -> None:
        """
        @param once: the action, which returns its outcome; an L{OSError} is one too.
        @param pause: seconds between two times.
        """
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self._once = once
        self._pause = pause
        self._over = Event()
        self._thread: Thread | None = None

    def start(self) -> Self:
        """
        Begin, or go on.
        """
        self._over.clear()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                outcome = self._once()
            except OSError as error:
                outcome = type(error).__name__
            self.outcomes[outcome] += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if self._over.wait(self._pause):
                return

    def stop(self) -> None:
        """
        Stop, once the action that is under way is done.
        """
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def count(self) -> int:
        """
        The number of times that the action was done.
        """
        return self.outcomes.total()

    @property
    def faults(self) -> Counter[str]:
        """
        The outcomes other than 200.
        """
        return Counter({what: n for what, n in self.outcomes.items() if what != "200"})

    def __str__(self) -> str:
        parts = ", ".join(f"{count} x {what}" for what, count in sorted(self.outcomes.items()))
        return f"{parts or 'nothing'}; the longest took {self.slowest:.2f} s"


class Requests(Load):
    """
    Requests through a proxy, on one connection that is made anew when it is closed.
    """

    def __init__(self, node: Node, pause: float = PAUSE) -> None:
        self._connection = HTTPConnection(node.host, node.proxy, timeout=PATIENCE)
        super().__init__(self._ask, pause)

    def _ask(self) -> str:
        return str(ask(self._connection, "GET", "/").status)

    def stop(self) -> None:
        super().stop()
        self._connection.close()


def traffic(host: str, port: int) -> Load:
    """
    Requests through the proxy at an address, each on a connection of its own, begun.
    """
    return Load(lambda: str(call(port, "GET", "/", host=host, timeout=3.0).status)).start()


class Writer(Load):
    """
    Registrations of one server after another, and removals of the oldest, on one connection
    that is made anew when it is closed.

    @ivar acknowledged: the number of writes that were.
    @ivar there: the ids whose registration was acknowledged, and whose removal was not
        asked for.
    @ivar gone: the ids whose removal was acknowledged.
    """

    # No two writers of a process register the same server.
    _numbers = itertools.count(1)

    def __init__(
        self,
        node: Node,
        *,
        ip: str | None = None,
        check: object = None,
        kept: int | None = None,
        pause: float = PAUSE,
    ) -> None:
        """
        @param node: asked for all of it, also when it is started again.
        @param ip: of the servers; L{None}: many of the loopback interface, where nobody
            listens.
        @param check: how they are checked.
        @param kept: with how many servers registered it begins to remove; L{None}: it
            removes none.
        """
        self.acknowledged = 0
        self.there: dict[str, None] = {}
        self.gone: set[str] = set()
        self._connection = HTTPConnection(node.host, node.management, timeout=PATIENCE)
        self._ip = ip
        self._check = check or {"type": "tcp"}
        self._kept = kept
        super().__init__(self._write, pause)

    def _write(self) -> str:
        if self._kept is not None and len(self.there) > self._kept:
            id = next(iter(self.there))
            # An attempt without an answer may count, or not.
            del self.there[id]
            status = ask(self._connection, "DELETE", f"/servers/{id}").status
            if status == 204:
                self.gone.add(id)
        else:
            answer = ask(self._connection, "POST", "/servers", self._new())
            status = answer.status
            if status in {200, 201}:
                self.there[answer.json()["id"]] = None
        self.acknowledged += status in {200, 201, 204}
        return str(status)

    def stop(self) -> None:
        super().stop()
        self._connection.close()

    def _new(self) -> dict[str, Any]:
        number = next(self._numbers)
        if self._ip is not None:
            return {"ip": self._ip, "port": 10000 + number, "check": self._check}
        high, low = divmod(number, 50000)
        return {"ip": f"127.100.{high}.1", "port": 1 + low, "check": self._check}

    def lost(self, nodes: Sequence[Node]) -> int:
        """
        The number of acknowledged writes that have left no trace, summed over these nodes.
        """
        lost = 0
        for node in nodes:
            known = {id for id, each in node.servers().items() if each["state"] != "draining"}
            lost += len(self.there.keys() - known) + len(self.gone & known)
        return lost
