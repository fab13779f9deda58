"""
Whole nodes, servers and clients in this process, over real sockets.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Protocol

import pytest_twisted
import treq
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.web.client import Agent, HTTPConnectionPool
from zope.interface import implementer

from acceptance.lab.waiting import PATIENCE
from alacrity.config import parse
from alacrity.node.service import makeService
from tests.support.transport_peers import Peer

HOST: Final = "127.0.0.1"

_LOOK: Final = 0.01


class ApiAnswer:
    """
    A response of the management API, read to its end.
    """

    def __init__(self, response: Any, document: Any) -> None:
        self.status: int = response.code
        self.headers: Any = response.headers
        self.document = document


class InProcessNode:
    """
    A node that serves in this process.

    @ivar name: in its cluster, if it is in one.
    @ivar proxy: the port of its proxy.
    @ivar management: the port of its management API.
    """

    def __init__(self, stage: Stage, service: Any, proxy: int, management: int) -> None:
        self._stage = stage
        self._service = service
        self.proxy = proxy
        self.management = management

    async def stop(self) -> None:
        """
        Stop it, as SIGTERM does.
        """
        service, self._service = self._service, None
        if service is not None:
            await maybeDeferred(service.stopService)

    def reload(self) -> None:
        """
        Have it read its files again, as SIGHUP does.
        """
        self._service.reload()

    async def call(
        self, method: str, path: str, document: object = None, **headers: str
    ) -> ApiAnswer:
        """
        Call its management API, on a connection of its own.
        """
        more: dict[str, Any] = {} if document is None else {"json": document}
        url = f"http://{HOST}:{self.management}{path}"
        fields: dict[bytes | str, bytes | str] = dict(headers.items())
        response = await self._stage.http.request(method, url, headers=fields, **more)
        content = await response.content()
        return ApiAnswer(response, await response.json() if content else None)

    async def register(self, port: int, **members: object) -> str:
        """
        Register a server of this machine, and wait until it gets traffic; its id.
        """
        answer = await self.call("POST", "/servers", {"ip": HOST, "port": port, **members})
        assert answer.status == 201, answer.document
        id: str = answer.document["id"]
        await self.state_of(id, "up")
        return id

    async def state_of(self, id: str, state: str) -> None:
        """
        Wait until a server is in a state.
        """

        async def is_in_it() -> bool:
            document = (await self.call("GET", f"/servers/{id}")).document
            return bool(document["state"] == state)

        await self._stage.until(is_in_it, f"{id} is {state}")

    async def leads(self) -> bool:
        """
        True if it leads, by its own account.
        """
        return (await self.call("GET", "/health/leader")).status == 200

    async def get(self, path: str = "/") -> tuple[int, bytes]:
        """
        Status and body of a response through its proxy, on a connection of its own.
        """
        response = await self._stage.http.get(f"http://{HOST}:{self.proxy}{path}")
        return response.code, await response.content()


class Listening(Protocol):
    """
    A listening socket.
    """

    def getHost(self) -> Any: ...
    def stopListening(self) -> Any: ...


@implementer(ILogObserver)
class Stage:
    """
    The nodes, servers and clients of a test, which are stopped at its end.

    @ivar reactor: the one of this process.
    @ivar http: a client of HTTP, which keeps no connections.
    @ivar log: the lines that were logged.
    """

    def __init__(self, reactor: Any, directory: Path) -> None:
        self.reactor = reactor
        self.log: list[str] = []
        self.faults: list[str] = []
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.http = treq.client.HTTPClient(Agent(reactor, pool=pool))
        self._directory = directory
        self._cleanups: list[Callable[[], Any]] = []
        self._nodes = 0

    def __call__(self, event: LogEvent) -> None:
        """
        Keep a line of the log.
        """
        line = formatEvent(event)
        self.log.append(line)
        if event["log_level"] >= LogLevel.error:
            self.faults.append(line)

    async def node(self, *, proxy: str = "", management: str = "", more: str = "") -> InProcessNode:
        """
        Start a node, and wait until it listens.

        @param proxy: lines of its table C{[proxy]}.
        @param management: lines of its table C{[management]}.
        @param more: its other tables.
        """
        self._nodes += 1
        directory = self._directory / f"node-{self._nodes}"
        listen = f'listen = ["tcp:0:interface={HOST}"]'
        configuration = f"[proxy]\n{listen}\n{proxy}\n[management]\n{listen}\n{management}\n{more}"
        settings = parse(configuration, "alacrity.toml")
        service: Any = makeService(self.reactor, settings, directory)
        before = len(self.log)
        service.privilegedStartService()
        service.startService()
        ports = [
            int(re.findall(rf"{role} listens on {HOST}:(\d+)", "\n".join(self.log[before:]))[0])
            for role in ("proxy", "management")
        ]
        node = InProcessNode(self, service, *ports)
        self._cleanups.append(lambda: self.begin(node.stop()))
        return node

    async def listener(self, factory: Any) -> tuple[Listening, int]:
        """
        Listen on a port that the system chooses.

        @return: the listening socket, and the port.
        """
        listening: Listening = await TCP4ServerEndpoint(self.reactor, 0, interface=HOST).listen(
            factory
        )
        self._cleanups.append(listening.stopListening)
        return listening, listening.getHost().port

    async def listen(self, factory: Any) -> int:
        """
        Listen on a port that the system chooses.

        @return: the port.
        """
        return (await self.listener(factory))[1]

    async def connect(self, port: int, kind: type[Peer] = Peer) -> Peer:
        """
        Connect to a port of this machine.
        """
        factory = Factory.forProtocol(kind)
        factory.noisy = False
        peer: Any = await TCP4ClientEndpoint(self.reactor, HOST, port).connect(factory)
        self._cleanups.append(peer.transport.abortConnection)
        return peer  # type: ignore[no-any-return]

    def begin(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """
        Begin what goes on beside the test.
        """
        return Deferred.fromCoroutine(coroutine)

    async def soon(self, deferred: Deferred[Any], what: str) -> Any:
        """
        Wait for a result.

        @raise AssertionError: it takes too long.
        """
        try:
            return await deferred.addTimeout(PATIENCE, self.reactor)
        except TimeoutError as error:
            raise AssertionError(f"not within {PATIENCE} s: {what}") from error

    async def until(self, met: Callable[[], Any], what: str) -> None:
        """
        Wait until a condition holds.

        @param met: returns whether it does, or a coroutine that does.
        @raise AssertionError: it takes too long.
        """
        deadline = self.reactor.seconds() + PATIENCE
        while True:
            holds = met()
            if not isinstance(holds, bool):
                holds = await holds
            if holds:
                return
            assert self.reactor.seconds() < deadline, f"not within {PATIENCE} s: {what}"
            await deferLater(self.reactor, _LOOK)

    async def strike(self) -> None:
        """
        Stop all, the last first.
        """
        while self._cleanups:
            await maybeDeferred(self._cleanups.pop())


@pytest_twisted.async_yield_fixture
async def stage(tmp_path: Path) -> Any:
    """
    A L{Stage} for one test, which fails if an error was logged.
    """
    from twisted.internet import reactor

    stage = Stage(reactor, tmp_path)
    globalLogPublisher.addObserver(stage)
    try:
        yield stage
    finally:
        await stage.strike()
        globalLogPublisher.removeObserver(stage)
    assert stage.faults == []
