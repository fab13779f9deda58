"""
Clients that send requests at a steady rate whatever becomes of them, and record each.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from threading import Event, Thread
from typing import Final, Self

from acceptance.lab.origins import content_length
from acceptance.lab.outcomes import POST, Outcome

RATE: Final = 250.0
"""Requests a second."""

CONNECTIONS: Final = 32
"""Idle connections that the clients keep."""

PATIENCE: Final = 8.0
"""Seconds after which a client gives up."""

POSTS: Final = 0.08
NEW: Final = 0.1
"""The shares of requests that are POSTs, and that come on a connection of their own."""


class Clients:
    """
    Clients of one or several proxies, in a thread of their own.

    A request that is due is sent at once, on an idle connection or on a new one, so that slow
    answers do not make the load less. Nothing is sent twice.

    @ivar outcomes: of the requests that have ended.
    """

    # No two requests of a process have the same path.
    _numbers = itertools.count(1)

    def __init__(
        self, addresses: Sequence[tuple[str, int]], rate: float = RATE, patience: float = PATIENCE
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._addresses = list(addresses)
        self._rate = rate
        self._patience = patience
        self._over = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._idle: dict[tuple[str, int], list[_Connection]] = {each: [] for each in addresses}
        self._chance = random.Random(1)

    def start(self) -> Self:
        """
        Begin.
        """
        self._thread.start()
        return self

    def stop(self) -> None:
        """
        Send no more requests, and wait for the ends of those that are under way.
        """
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        begun = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        for number in itertools.count():
            due = begun + number / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._over.is_set():
                break
            task = asyncio.create_task(self._once(due, self._addresses[number % len(self._idle)]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for connections in self._idle.values():
            for connection in connections:
                connection.close()

    async def _once(self, due: float, address: tuple[str, int]) -> None:
        method = POST if self._chance.random() < POSTS else "GET"
        alone = self._chance.random() < NEW
        fault, origin = "", 0
        try:
            async with asyncio.timeout(self._patience):
                origin, status = await self._exchange(address, method, alone=alone)
            fault = "" if status == 200 else str(status)
        except TimeoutError:
            fault = "no answer"
        except OSError as error:
            fault = "broken off" if isinstance(error, ConnectionError) else type(error).__name__
        self.outcomes.append(Outcome(due, time.monotonic() - due, method, fault, origin))

    async def _exchange(
        self, address: tuple[str, int], method: str, *, alone: bool
    ) -> tuple[int, int]:
        idle = self._idle[address]
        connection = None if alone else self._usable(idle)
        if connection is None:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, *address)
        keep = False
        try:
            body = b"a few bytes" if method == POST else b""
            head = f"{method} /{next(self._numbers)} HTTP/1.1\r\nHost: shop.example\r\n"
            head += f"Content-Length: {len(body)}\r\n" if body else ""
            head += "Connection: close\r\n\r\n" if alone else "\r\n"
            status, origin, last = await connection.ask(head.encode() + body)
            keep = not (last or alone) and len(idle) < CONNECTIONS
        finally:
            if keep:
                idle.append(connection)
            else:
                connection.close()
        return origin, status

    @staticmethod
    def _usable(idle: list[_Connection]) -> _Connection | None:
        while idle:
            connection = idle.pop(0)
            if connection.usable:
                return connection
            connection.close()
        return None


class _Connection(asyncio.Protocol):
    """
    A client's connection, with one request at a time.

    @ivar usable: whether the proxy has not closed it.
    """

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.usable = True
        self._data = b""
        self._answer: asyncio.Future[tuple[int, int, bool]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, int, bool]]:
        """
        Send a request.

        @return: the status, the port of the origin, and whether the connection ends.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._data = b""
        self._transport.write(request)
        if not self.usable:
            self._fail()
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator or len(body) < content_length(head):
            return
        if self._answer is not None and not self._answer.done():
            status = int(head.split(b" ", 2)[1])
            lines = head.lower().split(b"\r\n")
            port = next((line[7:] for line in lines if line.startswith(b"x-port:")), b"0")
            self._answer.set_result((status, int(port), b"connection: close" in lines))

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail()

    def _fail(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("it ended before the answer"))

    def close(self) -> None:
        self._transport.close()
