"""
The functions that run the types of checks.
"""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from alacrity.health.checks.http import HttpCheckFunction, http_check
from alacrity.health.checks.tcp import TcpCheckFunction, tcp_check
from alacrity.health.checks.verdict import EndpointFactory, Verdict
from alacrity.http1.messages import MessageLimits
from alacrity.pool import HttpCheck, NoCheck, Server, TcpCheck


class Checks(msgspec.Struct, frozen=True):
    """
    The functions that run checks, by type.
    """

    tcp: TcpCheckFunction
    http: HttpCheckFunction

    def check(self, server: Server, timeout: float) -> Deferred[Verdict]:
        """
        Run the check that a server's registration asks for.

        @param timeout: the time limit, in seconds.
        """
        check = server.check
        match check:
            case TcpCheck():
                return self.tcp(server, check, timeout)
            case HttpCheck():
                return self.http(server, check, timeout)
            case NoCheck():
                raise ValueError(f"server {server.id} has no check")


def standard_checks(connect: EndpointFactory, clock: IReactorTime, limits: MessageLimits) -> Checks:
    """
    Build the check functions for real connections.

    @param limits: of responses, as for those to clients' requests.
    """
    return Checks(tcp=tcp_check(connect), http=http_check(connect, clock, limits))
