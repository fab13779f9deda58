"""
The composition root: what there is, how it hangs together, and in what order it
starts and stops.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.application.service import IService, Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    maybeDeferred,
    succeed,
)
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity import __version__
from alacrity.cluster import secret
from alacrity.cluster.assembly import ClusterNode
from alacrity.cluster.joining import join
from alacrity.config import Settings
from alacrity.health import Gatherer, Monitor, standard_checks
from alacrity.health.monitor import IN_FLIGHT
from alacrity.http1.fields import find
from alacrity.http1.parser import Limits as MessageLimits
from alacrity.management import Api
from alacrity.metrics.counters import Counter, Stats
from alacrity.net.descriptions import listener_at
from alacrity.net.tokens import TokenError, read_token
from alacrity.net.transports import client_endpoint, server_endpoint, uvloop_of
from alacrity.net.turns import Turns
from alacrity.node.descriptors import Budget, TooFew, allot, wanted_by
from alacrity.node.readiness import Phase, why_unfit
from alacrity.pool import PoolView, Server
from alacrity.pool.store import StateError
from alacrity.process.launch import Launch
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.exchange.exchange import Exchange
from alacrity.proxy.front.connection import ClientConnection
from alacrity.proxy.front.frontend import Frontend, Recorder
from alacrity.proxy.upstream.balancer import Balancer, Upstream
from alacrity.proxy.upstream.connection import ServerConnection, ServerFactory
from alacrity.proxy.upstream.slots import Slots
from alacrity.runtime import logs
from alacrity.runtime.collector import Collector
from alacrity.runtime.logs import AccessRecord, access_log

PROXY_SOCKET_MODE = 0o660
"""The mode of a Unix socket of the proxy: what is in front of it seldom is the same user."""


MANAGEMENT_TURN = 1024
"""
Bytes that the management API takes of one connection in one turn of the loop: up to forty
of the shortest requests, or 170 chunks of one byte.
"""


class Entry(msgspec.Struct, frozen=True):
    """
    How a node comes into its cluster, where it is not in it already.

    @ivar join: the management API of a node that is in it; L{None}: it begins one.
    @ivar force: go on as the only member, whoever the others were.
    """

    join: str | None = None
    force: bool = False


def makeService(
    reactor: Any,
    settings: Settings,
    state_directory: Path,
    entry: Entry | None = None,
    launch: Launch | None = None,
) -> IService:
    """
    The whole service, not yet started.
    """
    return Alacrity(reactor, settings, state_directory, entry or Entry(), launch)


class Impossible(SystemExit):
    """
    Why there is no use in starting, in one line, which was said already.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(1)
        self._fault = fault

    def __str__(self) -> str:
        return self._fault


class Alacrity(Service):
    """
    A node: proxy, management API, checks, and the pool that they share.

    Started in this order: the pool, as it was kept; management and proxy; its part in
    the cluster, and with it, where it leads, the checks. Stopped in this: the proxy
    takes no more connections, then no more requests, and those in flight are finished;
    the checks; management; at last its part in the cluster.

    @ivar serving: whether the proxy takes requests.
    """

    name = "alacrity"
    serving = False
    _is_stopping = False
    _knows_its_log = False
    _failure: str | None = None
    _privileged = False

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        state_directory: Path,
        entry: Entry,
        launch: Launch | None = None,
    ) -> None:
        self._launch = launch or Launch()
        self._reactor = reactor
        self._entry = entry
        self._joining: Deferred[None] = succeed(None)
        self._checking: Deferred[None] = succeed(None)
        self._settings = settings
        self._state_directory = state_directory
        self._proxy_ports: list[IListeningPort] = []
        self._management_ports: list[IListeningPort] = []
        self.stats = Stats()
        self.balancer = Balancer()
        self.deadlines = Deadlines(reactor)
        loop = uvloop_of(reactor)
        self._turns = Turns(
            (lambda call: reactor.callLater(0, call)) if loop is None else loop.call_soon
        )
        self._collector = Collector(reactor)

    def privilegedStartService(self) -> None:
        """
        Take the addresses, while that is still allowed.

        @raise Impossible: one cannot be had, or the state directory cannot be used.
        """
        super().privilegedStartService()
        settings = self._settings
        self._bearer = self._token()
        # By now, twistd is in its run directory.
        self._state_directory = self._state_directory.absolute()
        cluster = settings.cluster
        budget = self._share_out()
        self.view = PoolView()
        self.view.subscribe(self.balancer.changed)
        try:
            password = secret.load(Path(cluster.secret_file)) if cluster.secret_file else b""
            self._launch.prepare(self._state_directory)
            with self._launch.acting():
                self.part = ClusterNode(
                    self._reactor,
                    cluster,
                    self._state_directory,
                    self.view,
                    password,
                    join=self._entry.join is not None,
                    force=self._entry.force,
                )
        except (StateError, secret.SecretError) as error:
            raise self._impossible(f"{error}{_remedy(error)}") from None
        except OSError as error:
            fault = f"the state directory {self._state_directory} cannot be used: {_cause(error)}"
            raise self._impossible(f"{fault}{_remedy(error)}") from None
        self.replica = replica = self.part.replica
        self.monitor = Monitor(
            self.view,
            # What a leader found that is one no more, the next one sees for itself.
            Gatherer(replica.propose_as_leader, lambda: replica.format >= 2, self._reactor).propose,
            settings.health,
            standard_checks(
                lambda host, port, timeout: client_endpoint(self._reactor, host, port, timeout),
                self._reactor,
            ),
            clock=self._reactor,
            rng=Random(),
            in_flight=budget.checks,
        )
        self._slots = Slots(budget.servers, self.balancer.close_idle)
        self.frontend = Frontend(
            refused=budget.refused,
            balancer=self.balancer,
            connect=self._connect,
            deadlines=self.deadlines,
            turns=self._turns,
            reuse=settings.proxy.reuse,
            limits=msgspec.structs.replace(settings.limits, client_connections=budget.clients),
            stats=self.stats,
            timeouts=settings.timeouts,
            pseudonym=settings.proxy.via,
            trusted=settings.proxy.trusted_proxies,
            record=self._recorder(),
        )
        api = Api(
            view=self.view,
            propose=replica.propose,
            stats=self.stats,
            counters=self._counter,
            draining=self._draining,
            results=self.monitor.results,
            unfit=self._why_unfit,
            wall=time.time,
            cluster=replica,
            own=self._own,
            token=self._bearer,
            hosts=settings.management.hosts,
            interval=settings.health.interval,
        )
        self._message_limits = MessageLimits(
            header_bytes=settings.limits.header_bytes, header_count=settings.limits.header_count
        )
        self._management_ports = self._listen(
            settings.management.listen,
            "management",
            api.site(connections=budget.management),
            partial(server_endpoint, turn=MANAGEMENT_TURN),
        )
        self._proxy_ports = self._listen(
            settings.proxy.listen,
            "proxy",
            self.frontend,
            partial(server_endpoint, mode=PROXY_SOCKET_MODE),
        )
        sockets = map(_socket_path, (*self._management_ports, *self._proxy_ports))
        try:
            self._launch.hand_over((path for path in sockets if path), logs.descriptor())
        except OSError as error:
            raise self._impossible(f"--uid, --gid: {_cause(error)}; start it as root") from None
        self._privileged = True

    def _share_out(self) -> Budget:
        """
        Share out the file descriptors, and say so if they do not suffice.

        @raise Impossible: they suffice for nothing.
        """
        try:
            budget, said = allot(wanted_by(self._settings, checks=IN_FLIGHT))
        except TooFew as error:
            raise self._impossible(str(error)) from None
        if said is not None:
            self._log.warn("{said}", said=said)
        return budget

    def _why_unfit(self) -> str | None:
        """
        See L{why_unfit}.
        """
        phase: Phase = "starting"
        if self._is_stopping:
            phase = "stopping"
        elif self.serving and self._knows_its_log:
            phase = "serving"
        return why_unfit(
            phase,
            failure=self._failure or self.replica.halted,
            listening=bool(self._proxy_ports),
            status=self.replica.status(),
            leading=self.replica.is_leader,
            only_leader=self._settings.cluster.serve == "leader",
        )

    def _own(self, ip: str, port: int) -> str | None:
        """
        Name the listener of this node at an address; L{None}: there is none.
        """
        return listener_at(
            ip,
            port,
            {
                "proxy": self._proxy_ports,
                "management API": self._management_ports,
                "port for the cluster": self.part.transport.ports,
            },
        )

    def _led(self, leading: bool) -> None:
        """
        This node leads, or does so no more. Who leads, checks.
        """
        if self._settings.cluster.serve == "leader":
            self.balancer.serve(leading)
        self._look_whether_to_check()

    def _look_whether_to_check(self) -> None:
        self._checking.addCallback(lambda _: self._check_if_leading())
        # Whatever it was, it is not to keep the next leadership from checking.
        self._checking.addErrback(
            lambda failure: self._log.failure("the checks could not begin, or end", failure)
        )

    def _check_if_leading(self) -> Deferred[None] | None:
        """
        Begin to check, or cease: after the one before is done.
        """
        leading = self.replica.is_leader and self.serving
        if leading and not self.monitor.running:
            self._log.info(
                "this node leads, and checks {count} servers", count=len(self.view.pool.servers)
            )
            self.monitor.startService()
        elif not leading and self.monitor.running:
            return self.monitor.stopService()
        return None

    def _token(self) -> bytes | None:
        """
        Read the token of the management API, while its file may still be read.
        """
        path = self._settings.management.token_file
        if path is None:
            return None
        try:
            return read_token(path)
        except TokenError as error:
            raise self._impossible(f"management.token_file: {path}: {error}") from None

    def _listen(
        self,
        descriptions: Iterable[str],
        role: str,
        factory: IProtocolFactory,
        endpoint: Callable[[Any, str], Any],
    ) -> list[IListeningPort]:
        ports: list[IListeningPort] = []
        for description in descriptions:
            listening: Deferred[IListeningPort] = endpoint(self._reactor, description).listen(
                factory
            )
            failures: list[Failure] = []
            listening.addCallbacks(ports.append, failures.append)
            if failures:
                failures[0].trap(CannotListenError, OSError, ValueError)
                why = _cause(failures[0].value)
                raise self._impossible(f"{role} cannot listen on {description}: {why}")
        return ports

    def _impossible(self, fault: str) -> Impossible:
        # Not critical: twist would show it on standard error as well.
        self._log.error("{fault}", fault=fault)
        self._launch.fail(fault)
        return Impossible(fault)

    def startService(self) -> None:
        """
        Begin to serve.

        @raise Impossible: see L{privilegedStartService}.
        """
        if not self._privileged:
            # twist knows no privileges, and does not call it.
            self.privilegedStartService()
        super().startService()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._launch.end)
        settings = self._settings
        self.deadlines.start()
        self._collector.start()
        self.serving = True
        self.balancer.serve(settings.cluster.serve == "all")
        self.replica.on_leadership_change(self._led)
        Deferred.fromCoroutine(self._take_part()).addErrback(self._fail)
        self._log.info(
            "Alacrity {version} on {transports}, state in {state}",
            version=__version__,
            transports="uvloop" if uvloop_of(self._reactor) is not None else "Twisted's transports",
            state=str(self._state_directory),
        )
        for role, ports in (("proxy", self._proxy_ports), ("management", self._management_ports)):
            for port in ports:
                self._log.info(
                    "{role} listens on {address}", role=role, address=_text(port.getHost())
                )

    async def _take_part(self) -> None:
        """
        Take part in the cluster.
        """
        await self.replica.start()
        self._knows_its_log = True
        self._reactor.callWhenRunning(self._launch.ready)
        cluster = self._settings.cluster
        for port in self.part.transport.ports:
            self._log.info(
                "cluster node {name} listens on {address}, for {members}",
                name=self.part.me.name,
                address=_text(port.getHost()),
                members=", ".join(each.name for each in self.replica.status().members)
                or "whoever takes it in",
            )
        url = self._entry.join
        if url is None:
            return
        if not self.part.waiting:
            self._log.info("this node is in a cluster already; --join is not needed any more")
            return
        token = self._bearer
        headers = {} if token is None else {"Authorization": f"Bearer {token.decode('ascii')}"}
        import treq

        self._joining = Deferred.fromCoroutine(
            join(
                treq,
                url,
                cluster.me,
                self.part.transport,
                lambda: self.part.waiting,
                self._reactor,
                headers,
            )
        ).addErrback(lambda failure: failure.trap(CancelledError) and None)

    def _fail(self, failure: Failure) -> None:
        """
        Without a part in the cluster, a node is of no use.
        """
        self._failure = why = _cause(failure.value)
        if isinstance(failure.value, CannotListenError):
            fault = f"cluster cannot listen: {why}"
            # Not critical: twist would show it on standard error as well.
            self._log.error("{fault}", fault=fault)
        else:
            fault = f"this node cannot take part in the cluster: {why}"
            self._log.failure("this node cannot take part in the cluster", failure)
        self._launch.fail_running(fault)
        # It may not run yet.
        self._reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # It stops already.

    def stopService(self) -> Deferred[None]:
        """
        Finish what is begun, and stop.

        @return: fires when all is stopped.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.serving = False
        self._is_stopping = True
        patience = self._settings.timeouts.drain
        self._log.info("stopping; requests in flight may take {seconds} s", seconds=patience)
        await _stop_listening(self._proxy_ports, self._log)
        drained = self.frontend.drain()
        late = self._reactor.callLater(patience, drained.cancel)
        drained.addErrback(self._cut)
        await drained
        if late.active():
            late.cancel()
        self._joining.cancel()
        self._look_whether_to_check()
        await self._checking
        await _stop_listening(self._management_ports, self._log)
        self.balancer.close_idle()
        await self.part.stop()
        self.deadlines.stop()
        self._collector.stop()
        self._log.info("stopped")

    def _cut(self, failure: Failure) -> None:
        self._log.warn("requests in flight were cut off: they took too long to finish")

    def _connect(self, upstream: Upstream) -> Deferred[ServerConnection]:
        settings = self._settings
        endpoint = client_endpoint(
            self._reactor, upstream.host, upstream.port, settings.timeouts.connect
        )
        slot = self._slots.take()
        connecting: Deferred[Any] = endpoint.connect(
            ServerFactory(
                upstream,
                self.deadlines,
                self._message_limits,
                settings.limits.idle_per_server,
                settings.timeouts.server_idle,
                slot=slot,
                private=settings.proxy.reuse == "never",
                drain=settings.timeouts.drain,
                turns=self._turns,
            )
        )
        return connecting.addErrback(slot.failed)

    def _counter(self, id: str) -> Counter | None:
        upstream = self.balancer.upstream(id)
        return None if upstream is None else upstream.counter

    def _draining(self) -> list[Server]:
        return [upstream.server for upstream in self.balancer.draining()]

    def _recorder(self) -> Recorder | None:
        write = access_log(self._settings.log)
        if write is None:
            return None
        return lambda client, exchange, status: write(_record(client, exchange, status))


def _record(client: ClientConnection, exchange: Exchange | None, status: int) -> AccessRecord:
    """
    What the access log says of a request.
    """
    address = client.forwarder.client.decode()
    if exchange is None:
        return AccessRecord(client=address, time=time.time(), status=status, reason=client.reason)
    head = exchange.head
    return AccessRecord(
        client=address,
        time=time.time(),
        status=status,
        method=head.method,
        target=head.target,
        version=f"HTTP/1.{head.minor}",
        body_bytes=exchange.sent,
        complete=exchange.answered,
        referer=find(head.lines, b"referer"),
        user_agent=find(head.lines, b"user-agent"),
        duration=exchange.duration,
        server=None if exchange.upstream is None else exchange.upstream.server.id,
        reason=exchange.reason,
    )


async def _stop_listening(ports: list[IListeningPort], log: Logger) -> None:
    def complain(failure: Failure) -> None:
        # A Unix socket in a directory that only root may write.
        log.warn("an address is not let go of in order: {why}", why=str(failure.value))

    await DeferredList([maybeDeferred(port.stopListening).addErrback(complain) for port in ports])
    ports.clear()


def _cause(error: BaseException | None) -> str:
    """
    Why an address cannot be had, in a few words.
    """
    cause = getattr(error, "socketError", error)
    return getattr(cause, "strerror", None) or str(cause)


def _remedy(error: BaseException) -> str:
    """
    The rest of the line on a state directory that cannot be written.
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    if getattr(cause, "errno", None) in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}:
        return "; name one that this user can write with --state-dir"
    return ""


def _socket_path(port: IListeningPort) -> str | None:
    """
    The path of a Unix socket; L{None}: it is not one in the file system.
    """
    name: Any = getattr(port.getHost(), "name", None)
    path = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    return path if path and not path.startswith("\0") else None


def _text(address: Any) -> str:
    """
    An address, for people.
    """
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", b"")
        return f"unix:{name.decode(errors='replace') if isinstance(name, bytes) else name}"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
