"""
The service that C{twistd} runs: a node, and the order in which its parts start and stop.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity import __version__
from alacrity.cluster.log.errors import StateError
from alacrity.cluster.secret import SecretError
from alacrity.config import Settings
from alacrity.health.monitor import CHECKS_IN_FLIGHT
from alacrity.http1.compiled import is_compiled
from alacrity.net.bindings import ipv6_only_of, listener_at
from alacrity.net.listening import server_endpoint
from alacrity.net.loops import uvloop_of
from alacrity.net.tokens import TokenError, read_token
from alacrity.node.cluster import SecretReloading, load_secrets
from alacrity.node.control import Control, Entry, Traffic
from alacrity.node.data_path import DataPath
from alacrity.node.descriptors import Budget, TooFew, allot, wanted_by
from alacrity.node.failures import CannotStart, cause, state_directory_remedy
from alacrity.node.lending import SlotBorrower, SlotLender
from alacrity.node.listeners import MANAGEMENT, PROXY, CannotListen, ListeningSockets
from alacrity.node.phase import NodePhase
from alacrity.node.readiness import why_unfit
from alacrity.pool import PoolView
from alacrity.process.launch import Launch
from alacrity.runtime import logs
from alacrity.runtime.collector import Collector

PROXY_SOCKET_MODE: Final = 0o660
"""Mode of a Unix socket of the proxy: the program in front of it seldom is the same user."""

MANAGEMENT_TURN: Final = 1024
"""
Bytes that the management API takes of one connection in one turn of the loop: up to forty
of the shortest requests, or 170 chunks of one byte.
"""


def makeService(
    reactor: Any,
    settings: Settings,
    state_directory: Path,
    entry: Entry | None = None,
    launch: Launch | None = None,
) -> Alacrity:
    """
    The whole service, not yet started.
    """
    return Alacrity(reactor, settings, state_directory, entry or Entry(), launch)


class Alacrity(Service):
    """
    A node: proxy, management API, checks, and the pool that they share.

    Started in this order: the pool, as it was kept; management and proxy; the part in the
    cluster, and with it, where this node leads, the checks. Stopped in this: the proxy takes
    no more connections, then no more requests, and those in flight are finished; the checks;
    management; at last the part in the cluster.

    @ivar phase: the node's place in its life.
    """

    name = "alacrity"
    phase = NodePhase.NEW
    _failure: str | None = None

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
        self._settings = settings
        self._state_directory = state_directory
        self._listeners = ListeningSockets(reactor)
        self.data_path = DataPath(reactor, settings, lambda: self.view.pool.sticky_key)
        self._collector = Collector(reactor)

    def __repr__(self) -> str:
        return f"<Alacrity {self.phase.value}>"

    # Starting

    def privilegedStartService(self) -> None:
        """
        Take the addresses, while that is still allowed.

        @raise CannotStart: one cannot be had, or the state directory cannot be used.
        """
        super().privilegedStartService()
        self._token = self._read_token()
        # By now, twistd is in its run directory.
        self._state_directory = self._state_directory.absolute()
        budget = self._share_out_descriptors()
        self.view = PoolView()
        self.view.subscribe(self.data_path.changed)
        self.control = self._open_control(budget)
        self.data_path.failing.hint_to(self.control.hints.send)
        self.frontend = self.data_path.frontend(budget)
        self._borrower = self._lend_slots()
        self._listen(budget)
        try:
            self._launch.hand_over(self._listeners.socket_paths(), logs.descriptor())
        except OSError as error:
            raise self._cannot_start(f"--uid, --gid: {cause(error)}; start it as root") from None
        self.phase = NodePhase.BOUND

    def _lend_slots(self) -> SlotBorrower:
        """
        Take part in the lending of slots: any node may come to lead.
        """
        replica, data_path, view = self.control.replica, self.data_path, self.view

        def cap_of(id: str) -> int:
            server = view.pool.servers.get(id)
            return 0 if server is None else data_path.cap(server)

        lender = SlotLender(
            replica, servers=lambda: view.pool.servers, cap_of=cap_of, clock=self._reactor
        )
        replica.on_leadership_change(lender.lead)
        return SlotBorrower(
            replica,
            self.control.part.me.name,
            data_path.slots,
            upstreams=data_path.lent_upstreams,
            cap_of=lambda upstream: data_path.cap(upstream.pooled),
            room_changed=data_path.balancer.room_changed,
            waiting=lambda: data_path.queue.length,
            clock=self._reactor,
        )

    def _read_token(self) -> bytes | None:
        """
        Read the token of the management API, while its file may still be read.
        """
        path = self._settings.management.token_file
        if path is None:
            return None
        try:
            return read_token(path)
        except TokenError as error:
            raise self._cannot_start(f"management.token_file: {path}: {error}") from None

    def _share_out_descriptors(self) -> Budget:
        """
        Share out the file descriptors, and log a warning if they do not suffice.
        """
        try:
            budget, warning = allot(wanted_by(self._settings, checks=CHECKS_IN_FLIGHT))
        except TooFew as error:
            raise self._cannot_start(str(error)) from None
        if warning is not None:
            self._log.warn("{warning}", warning=warning)
        return budget

    def _open_control(self, budget: Budget) -> Control:
        """
        Open the state directory as the user to become.
        """
        directory = self._state_directory
        try:
            secrets = load_secrets(self._settings.cluster)
            self._launch.prepare(directory)
            with self._launch.acting():
                return Control(
                    self._reactor,
                    self._settings,
                    directory,
                    self.view,
                    secrets,
                    entry=self._entry,
                    checks=budget.checks,
                )
        except (StateError, SecretError) as error:
            raise self._cannot_start(f"{error}{state_directory_remedy(error)}") from None
        except OSError as error:
            fault = f"the state directory {directory} cannot be used: {cause(error)}"
            raise self._cannot_start(f"{fault}{state_directory_remedy(error)}") from None

    def _listen(self, budget: Budget) -> None:
        settings = self._settings
        site = self.control.site(
            Traffic(
                self.data_path.stats,
                self.data_path.counter,
                self.data_path.draining,
                self.data_path.in_flight,
            ),
            unfit=self._why_unfit,
            own=self._own,
            token=self._token,
            connections=budget.management,
        )
        try:
            self._listeners.open(
                MANAGEMENT,
                settings.management.listen,
                site,
                self._endpoint(turn=MANAGEMENT_TURN),
            )
            self._listeners.open(
                PROXY,
                settings.proxy.listen,
                self.frontend,
                self._endpoint(mode=PROXY_SOCKET_MODE),
            )
        except CannotListen as error:
            raise self._cannot_start(str(error)) from None

    def _endpoint(self, **settings: int) -> Callable[[Any, str], Any]:
        """
        The function that makes an endpoint of the reactor and a description.

        @param settings: see L{server_endpoint}.
        """
        narrow = ipv6_only_of(self._settings.descriptions)

        def endpoint(reactor: Any, description: str) -> Any:
            return server_endpoint(
                reactor, description, ipv6_only=description in narrow, **settings
            )

        return endpoint

    def reload(self) -> None:
        """
        Read again what may change while the node runs: the file of the cluster's secret.
        """
        if self.phase in {NodePhase.STARTING, NodePhase.SERVING}:
            transport = self.control.part.transport
            SecretReloading(self._settings.cluster, transport.replace_secrets).reload()

    def _cannot_start(self, fault: str) -> CannotStart:
        # Not critical: twist would show it on standard error as well.
        self._log.error("{fault}", fault=fault)
        self._launch.fail(fault)
        return CannotStart(fault)

    def startService(self) -> None:
        """
        Begin to serve.

        @raise CannotStart: see L{privilegedStartService}.
        """
        if self.phase is NodePhase.NEW:
            # twist knows no privileges, and does not call it.
            self.privilegedStartService()
        super().startService()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._launch.end)
        self.data_path.deadlines.start()
        self._borrower.start()
        self._collector.start()
        self.phase = NodePhase.STARTING
        serves_always = self._settings.cluster.serve == "all"
        self.data_path.serve(serves_always)
        if not serves_always:
            self.control.replica.on_leadership_change(self.data_path.serve)
        self.control.open()
        Deferred.fromCoroutine(self._take_part()).addErrback(self._fail)
        self._log.info(
            "Alacrity {version}, {kind}, on {transports}, state in {state}",
            version=__version__,
            kind="compiled" if is_compiled() else "not compiled",
            transports="uvloop" if uvloop_of(self._reactor) is not None else "Twisted's transports",
            state=str(self._state_directory),
        )
        self._listeners.log_addresses()

    async def _take_part(self) -> None:
        await self.control.take_part()
        if self.phase is not NodePhase.STARTING:
            return  # It stops already.
        self.phase = NodePhase.SERVING
        self._reactor.callWhenRunning(self._launch.ready)
        self.control.join(self._token)

    def _fail(self, failure: Failure) -> None:
        """
        Stop: without a part in the cluster, a node is of no use.
        """
        self._failure = why = cause(failure.value)
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

    # Stopping

    def stopService(self) -> Deferred[None]:
        """
        Finish the requests in flight, and stop.

        @return: fires when everything is stopped.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.phase = NodePhase.STOPPING
        self.control.close()
        patience = self._settings.timeouts.drain
        self._log.info("stopping; requests in flight may take {seconds} s", seconds=patience)
        await self._listeners.close(PROXY)
        drained = self.frontend.drain()
        late = self._reactor.callLater(patience, drained.cancel)
        drained.addErrback(self._requests_cut)
        await drained
        if late.active():
            late.cancel()
        await self.control.stop_checks()
        await self._listeners.close(MANAGEMENT)
        self.data_path.balancer.close_idle()
        self._borrower.stop()
        await self.control.leave()
        self.data_path.balancer.stop()
        self.data_path.deadlines.stop()
        self._collector.stop()
        self._log.info("stopped")

    def _requests_cut(self, failure: Failure) -> None:
        self._log.warn("requests in flight were cut off: they took too long to finish")

    # Shown by the management API

    def _why_unfit(self) -> str | None:
        """
        The reason why this node should get no requests; see L{why_unfit}.
        """
        replica = self.control.replica
        return why_unfit(
            self.phase,
            failure=self._failure or replica.halted,
            listening=bool(self._listeners.ports[PROXY]),
            status=replica.status(),
            leading=replica.is_leader,
            only_leader=self._settings.cluster.serve == "leader",
        )

    def _own(self, ip: str, port: int) -> str | None:
        """
        Name the listener of this node at an address; L{None}: there is none.
        """
        ports = self._listeners.ports
        return listener_at(
            ip,
            port,
            {
                "proxy": ports[PROXY],
                "management API": ports[MANAGEMENT],
                "port for the cluster": self.control.part.transport.ports,
            },
        )
