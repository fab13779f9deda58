"""
Checks of one server, once. Each type of check has a module, with a function that runs it.

A check is a function of the server, the check's settings and a time limit in seconds. It
gives a L{Verdict} on the server, whatever the server does, or fails with L{CannotCheck} where
this machine is at fault and nothing is known of the server. Cancelling the L{Deferred} ends
the check and closes its connection.

To add a type of check:

  1. Add its value to the union C{Check} in L{alacrity.pool.model}.
  2. Write the function that runs it in a module here, with its tests, and add it to L{Checks}.
  3. Add its document to L{alacrity.management.documents.schemas}, and a case to each function
     of L{alacrity.management.documents.checks}.
  4. Describe it in C{README.md}.

The type checker then names each place where a case is still missing. Nodes of an earlier
version do not know the type, so it may be proposed only once all nodes do.
"""

from alacrity.health.checks.http import HttpClient, http_check
from alacrity.health.checks.http_client import http_client
from alacrity.health.checks.runners import Checks, standard_checks
from alacrity.health.checks.tcp import tcp_check
from alacrity.health.checks.verdict import CannotCheck, EndpointFactory, Verdict

__all__ = [
    "CannotCheck",
    "Checks",
    "EndpointFactory",
    "HttpClient",
    "Verdict",
    "http_check",
    "http_client",
    "standard_checks",
    "tcp_check",
]
