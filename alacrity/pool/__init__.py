"""
The pool: the registered servers and their states.

The pool changes in one place only, by applying a command. Everything here is a
frozen value or a pure function, except L{alacrity.pool.view.PoolView}, which
holds the current pool and calls its subscribers with each change.
"""

from alacrity.pool.commands import (
    Command,
    Deregister,
    Deregistered,
    Judged,
    Outcome,
    PoolDraft,
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
    "HttpCheck",
    "Judged",
    "Outcome",
    "Pool",
    "PoolDraft",
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
