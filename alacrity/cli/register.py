"""
The command C{alacrity register}.
"""

from __future__ import annotations

from argparse import Namespace
from random import Random
from typing import Any

from msgspec import UNSET
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from alacrity.cli.child import Child
from alacrity.cli.inbox import SignalInbox
from alacrity.cli.readiness import own_addresses, wait_for_port
from alacrity.cli.running import finish, say, several_apis
from alacrity.cli.supervision import Patience, Supervision
from alacrity.client import (
    HttpCheckRequest,
    KeptRegistration,
    NoCheckRequest,
    RegistrationRequest,
    TcpCheckRequest,
)
from alacrity.client.documents import CheckRequest


def _given(value: Any) -> Any:
    return UNSET if value is None else value


def check_of(options: Namespace) -> CheckRequest:
    """
    The check that the options ask for.
    """
    if options.check == "none":
        return NoCheckRequest()
    common = {
        name: _given(getattr(options, name)) for name in ("interval", "timeout", "rise", "fall")
    }
    port = UNSET if options.check_port is None else str(options.check_port)
    if options.check_path is None:
        return TcpCheckRequest(**common, port=port)
    return HttpCheckRequest(
        options.check_path, **common, port=port, host=_given(options.check_host)
    )


def document_of(options: Namespace) -> RegistrationRequest:
    """
    The registration that the options ask for.
    """
    return RegistrationRequest(
        ip=_given(options.ip),
        port=str(options.port),
        check=check_of(options),
        weight=_given(options.weight),
        lease=options.lease or UNSET,
        priority=_given(options.priority),
        group=_given(options.group),
        max_requests=_given(options.max_requests),
    )


def _readiness(reactor: Any, options: Namespace) -> Deferred[None]:
    """
    The wait until the server's port accepts connections: at its address, or at those of this
    machine that it may have.
    """
    hosts = ["127.0.0.1", "::1"] if options.ip is None else [options.ip]
    if options.ip is None:
        # In a thread, as names may take long to resolve; it does not delay the wait.
        deferToThread(own_addresses, options.to).addCallback(hosts.extend)
    port = options.port if options.ready_port is None else options.ready_port
    return Deferred.fromCoroutine(wait_for_port(reactor, hosts, port))


def run(options: Namespace, inbox: SignalInbox) -> int:
    """
    Run it.

    @param inbox: has the signals that came since this program was started.
    @return: the exit status.
    """
    from twisted.internet import reactor

    loop: Any = reactor
    child = Child(options.command) if options.command else None
    registration = KeptRegistration(
        several_apis(loop, options.to, options.token), document_of(options), loop, Random(), say
    )
    supervision = Supervision(
        child,
        registration,
        lambda: _readiness(loop, options),
        loop,
        Patience(options.wait, options.ready_timeout),
        frozenset(options.stop_signals),
        say,
    )
    if child is not None:
        inbox.reap(lambda: loop.callFromThread(child.reap))
    outcome = supervision.run()
    inbox.deliver(lambda number: loop.callFromThread(supervision.signalled, number))
    return finish(loop, outcome)
