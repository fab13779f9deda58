"""
Health: the leader checks the servers of the pool, and proposes changes of their states.

L{alacrity.health.checks} checks one server once, and describes how to add a type of check.
L{alacrity.health.monitor} runs the checks: L{alacrity.health.schedule} keeps their times,
L{alacrity.health.watch} counts their outcomes, and L{alacrity.health.proposer} proposes the
resulting changes. L{alacrity.health.batching} sends such proposals together.
"""

from alacrity.health.batching import ProposalBatcher
from alacrity.health.checks import CannotCheck, Checks, Verdict, standard_checks
from alacrity.health.monitor import Monitor
from alacrity.health.watch import CheckDefaults, CheckResult

__all__ = [
    "CannotCheck",
    "CheckDefaults",
    "CheckResult",
    "Checks",
    "Monitor",
    "ProposalBatcher",
    "Verdict",
    "standard_checks",
]
