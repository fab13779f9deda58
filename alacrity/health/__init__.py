"""
Health: the leader checks the servers of the pool, and proposes changes of their states.

L{alacrity.health.checks} checks one server once, and describes how to add a type of check.
L{alacrity.health.monitor} runs the checks: L{alacrity.health.schedule} keeps their times,
L{alacrity.health.watch} counts their outcomes, and L{alacrity.health.proposer} proposes the
resulting changes. L{alacrity.health.lease_keeper} keeps the leases of servers
(L{alacrity.health.leases}) and ends administrative states (L{alacrity.health.endings}).
L{alacrity.health.loss_guard} proposes losses that the guard limits, and
L{alacrity.health.batching} sends proposals together.

Before a server goes down, L{alacrity.health.doubts} asks other members
(L{alacrity.health.inquiry}), each of which is a L{alacrity.health.witness};
L{alacrity.health.opinions} has the rules. L{alacrity.health.leader_choice} hands leadership over
to a member that sees more servers.
"""

from alacrity.health.batching import ProposalBatcher
from alacrity.health.checks import CannotCheck, Checks, Verdict, standard_checks
from alacrity.health.doubts import Doubts
from alacrity.health.lease_keeper import LeaseKeeper
from alacrity.health.loss_guard import LossGuard
from alacrity.health.monitor import Monitor
from alacrity.health.watch import CheckDefaults, CheckResult
from alacrity.health.witness import Witness, Witnesses

__all__ = [
    "CannotCheck",
    "CheckDefaults",
    "CheckResult",
    "Checks",
    "Doubts",
    "LeaseKeeper",
    "LossGuard",
    "Monitor",
    "ProposalBatcher",
    "Verdict",
    "Witness",
    "Witnesses",
    "standard_checks",
]
