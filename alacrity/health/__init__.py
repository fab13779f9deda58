"""
Health: the leader checks the servers of the pool, and proposes changes of their states.

L{alacrity.health.checks} checks one server once, and describes how to add a type of check.
L{alacrity.health.monitor} runs the checks: L{alacrity.health.schedule} keeps their times,
L{alacrity.health.watch} counts their outcomes, and L{alacrity.health.proposer} proposes the
resulting changes. L{alacrity.health.lease_keeper} keeps the leases of servers
(L{alacrity.health.leases}) and ends administrative states (L{alacrity.health.endings}).
L{alacrity.health.loss_guard} proposes losses that the guard limits, and
L{alacrity.health.batching} sends proposals together.
"""

from alacrity.health.batching import ProposalBatcher
from alacrity.health.checks import CannotCheck, Checks, Verdict, standard_checks
from alacrity.health.lease_keeper import LeaseKeeper
from alacrity.health.loss_guard import LossGuard
from alacrity.health.monitor import Monitor
from alacrity.health.watch import CheckDefaults, CheckResult

__all__ = [
    "CannotCheck",
    "CheckDefaults",
    "CheckResult",
    "Checks",
    "LeaseKeeper",
    "LossGuard",
    "Monitor",
    "ProposalBatcher",
    "Verdict",
    "standard_checks",
]
