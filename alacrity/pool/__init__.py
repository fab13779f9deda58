"""
The pool: which servers there are, and in what state.

The pool changes in one place only, by applying a command. Everything here is a
frozen value or a pure function, except L{alacrity.pool.view.PoolView}, which
holds the current value and tells its subscribers of each change.
"""

from alacrity.pool.commands import (
    Command,
    Deregister,
    Deregistered,
    Draft,
    Judged,
    Outcome,
    Register,
    Registered,
    Report,
    Reported,
    Stale,
    Unknown,
    Verdicts,
    apply,
)
from alacrity.pool.model import Check, HttpCheck, Pool, Server, State, TcpCheck, server_id
from alacrity.pool.view import Change, PoolView, Propose

__all__ = [
    "Change",
    "Check",
    "Command",
    "Deregister",
    "Deregistered",
    "Draft",
    "HttpCheck",
    "Judged",
    "Outcome",
    "Pool",
    "PoolView",
    "Propose",
    "Register",
    "Registered",
    "Report",
    "Reported",
    "Server",
    "Stale",
    "State",
    "TcpCheck",
    "Unknown",
    "Verdicts",
    "apply",
    "server_id",
]
