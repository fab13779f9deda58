"""
Checks: each checks one server once. Each type of check has a module with a function that runs it.

A check is a function of the server, the check's settings and a time limit in seconds. It
returns a L{Verdict} on the server, whatever the server does. It fails with L{CannotCheck} if the
fault is on this machine, so that nothing is known about the server. Cancelling the L{Deferred}
ends the check and closes its connection.

To add a type of check:

  1. Add its value to the union C{Check} in L{alacrity.pool.model}.
  2. Write the function that runs the check in a module here, with tests, and add it to
     L{Checks}.
  3. Add its document to L{alacrity.management.documents.schemas}, and a case to each function
     of L{alacrity.management.documents.checks}.
  4. Describe the type in C{README.md}.

The type checker then names each place where a case is still missing.

Nodes of an earlier version do not know the new type. So raise the format in
L{alacrity.cluster.log.formats}, and extend L{version_of<alacrity.cluster.state.version_of>}, so
that a command with the new type is proposed only once all nodes understand it; see
C{CONTRIBUTING.md}.
"""

from alacrity.health.checks.http import http_check
from alacrity.health.checks.runners import Checks, standard_checks
from alacrity.health.checks.tcp import tcp_check
from alacrity.health.checks.verdict import CannotCheck, EndpointFactory, Verdict

__all__ = [
    "CannotCheck",
    "Checks",
    "EndpointFactory",
    "Verdict",
    "http_check",
    "standard_checks",
    "tcp_check",
]
