"""
Open-loop load: C{python -m benchmarks.pacer PORT RATE SECONDS CONNECTIONS}.

Sends requests at a constant rate, whether or not the earlier ones were answered, and
counts the latency of each from the time at which it was due. An answer that comes late
so costs the requests behind it, too; a load that waits for answers before it sends (as
wrk does) would leave these out, which is called coordinated omission.

The request is that of a browser, with ten header fields. Prints a L{Pacing} as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import msgspec

from acceptance.lab.calls import LOOPBACK
from benchmarks.requests import FROM_BROWSER

_PATIENCE = 5.0
"""Seconds to wait for the last answers."""

_BEGIN = 0.01
"""Seconds before the first request is due."""


class Schedule(msgspec.Struct, frozen=True):
    """
    The times at which requests are due.

    @ivar begin: of the first, on the clock of the caller.
    @ivar rate: requests a second.
    @ivar count: of all requests.
    """

    begin: float
    rate: float
    count: int

    def due(self, number: int) -> float:
        """
        The time at which a request is due, counted from zero.
        """
        return self.begin + number / self.rate


class Pacing(msgspec.Struct, frozen=True):
    """
    The outcome: latencies in seconds, counted from when a request was due.

    @ivar answered: requests with a whole answer.
    @ivar rate: of the answers, a second.
    @ivar late: 99 of 100 requests were sent so soon after they were due and had a connection.
    @ivar faults: the number of each thing that went wrong.
    """

    answered: int
    rate: float
    p50: float
    p99: float
    p999: float
    late: float
    faults: dict[str, int]


def percentile(ordered: Sequence[float], share: float) -> float:
    """
    The least value that so many percent of all values do not exceed.

    @param ordered: the values, smallest first; there is one at least.
    @param share: percent.
    """
    # Rounded first: 99.9 % of 1000 values is a little more than 999 of them otherwise.
    return ordered[max(0, ceil(round(share * len(ordered) / 100, 6)) - 1)]


class Pacer:
    """
    A load of one request, on connections that take turns.
    """

    def __init__(self, port: int, request: bytes, zeros: int, connections: int) -> None:
        """
        @param zeros: the size of the answer's body, which is all zeros; one at least.
        """
        self._port = port
        self._request = request
        self._zeros = zeros
        self._sockets: dict[int, socket.socket] = {}
        self._free: deque[int] = deque()
        self._free_since: dict[int, float] = {}
        self._busy: dict[int, float] = {}
        self._missing: dict[int, int] = {}
        """Zeros to come, of each answer that has begun."""

        self._poll = select.epoll()
        self._latencies = array("d")
        self._lateness = array("d")
        self.faults: dict[str, int] = {}
        for _ in range(connections):
            self._connect()

    def _connect(self) -> None:
        client = socket.create_connection((LOOPBACK, self._port), _PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        self._sockets[client.fileno()] = client
        self._poll.register(client, select.EPOLLIN)
        self._release(client.fileno())

    def run(self, rate: float, seconds: float) -> Pacing:
        """
        Send all requests, and wait for the last answers.
        """
        clock = time.perf_counter
        begin = clock() + _BEGIN
        schedule = Schedule(begin, rate, max(1, round(rate * seconds)))
        number, due = 0, begin
        free = self._free
        until = schedule.due(schedule.count) + _PATIENCE
        while number < schedule.count or self._busy:
            now = clock()
            while due <= now and number < schedule.count and free:
                self._send(free.popleft(), due, now)
                number += 1
                due = schedule.due(number)
            if now > until:
                break
            wait = until - now if number == schedule.count or not free else due - clock()
            # The timeout of an epoll is in whole milliseconds, that of a select is not.
            if wait > 0:
                select.select((self._poll,), (), (), wait)
            for descriptor, _ in self._poll.poll(0):
                self._receive(descriptor)
        took = clock() - begin
        self._fault("unanswered", schedule.count - len(self._latencies))
        return self._pacing(took)

    def _send(self, descriptor: int, due: float, now: float) -> None:
        self._busy[descriptor] = due
        # The time without a connection is the proxy's, not ours.
        self._lateness.append(now - max(due, self._free_since[descriptor]))
        # A request fits into the buffer of a connection that has nothing under way.
        try:
            self._sockets[descriptor].send(self._request)
        except OSError:
            # The connection has ended, which is received next.
            return

    def _receive(self, descriptor: int) -> None:
        try:
            data = self._sockets[descriptor].recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        due = self._busy.get(descriptor)
        if not data:
            self._fault("closed")
            self._sockets.pop(descriptor).close()
            self._busy.pop(descriptor, None)
            self._missing.pop(descriptor, None)
            if due is None:
                self._free.remove(descriptor)
            self._connect()
            return
        if due is None:
            return
        missing = self._missing.pop(descriptor, 0)
        if not missing:
            missing = self._zeros
            if not data.startswith(b"HTTP/1.1 200 "):
                self._fault("other status")
        # The end is found by the length alone, whichever way the answer is framed.
        missing -= data.count(b"\0")
        if missing > 0:
            self._missing[descriptor] = missing
        else:
            del self._busy[descriptor]
            self._latencies.append(self._release(descriptor) - due)

    def _release(self, descriptor: int) -> float:
        """
        Let a connection take the next request.

        @return: the time.
        """
        now = self._free_since[descriptor] = time.perf_counter()
        self._free.append(descriptor)
        return now

    def _fault(self, name: str, count: int = 1) -> None:
        if count:
            self.faults[name] = self.faults.get(name, 0) + count

    def _pacing(self, took: float) -> Pacing:
        latencies = sorted(self._latencies) or [0.0]
        return Pacing(
            answered=len(self._latencies),
            rate=len(self._latencies) / took,
            p50=percentile(latencies, 50),
            p99=percentile(latencies, 99),
            p999=percentile(latencies, 99.9),
            late=percentile(sorted(self._lateness) or [0.0], 99),
            faults=self.faults,
        )

    def close(self) -> None:
        """
        Close all connections.
        """
        self._poll.close()
        for client in self._sockets.values():
            client.close()


def main() -> None:
    """
    Read the command line, send the load, and print the outcome.
    """
    parser = argparse.ArgumentParser(description="Open-loop load.")
    parser.add_argument("port", type=int)
    parser.add_argument("rate", type=float, help="requests a second")
    parser.add_argument("seconds", type=float)
    parser.add_argument("connections", type=int)
    options = parser.parse_args()
    # Where that is allowed, nothing else on this core delays the times of sending; the kernel
    # may else also wake a process up 50 us late.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    request, zeros = FROM_BROWSER.head(), FROM_BROWSER.least_body
    pacer = Pacer(options.port, request, zeros, options.connections)
    gc.freeze()
    gc.disable()
    outcome = pacer.run(options.rate, options.seconds)
    pacer.close()
    print(msgspec.json.encode(outcome).decode())


if __name__ == "__main__":
    main()
