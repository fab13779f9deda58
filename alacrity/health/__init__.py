"""
Health: are the servers fit for traffic?

L{alacrity.health.checks} asks one server once; L{alacrity.health.monitor} decides
which is asked when, and what the answers come to.
"""

from alacrity.health.checks import (
    CannotCheck,
    Checks,
    EndpointFactory,
    HttpCheckFunction,
    TcpCheckFunction,
    Verdict,
    http_check,
    http_client,
    standard_checks,
    tcp_check,
)
from alacrity.health.monitor import Monitor, Result, Settings
from alacrity.health.verdicts import Gatherer

__all__ = [
    "CannotCheck",
    "Checks",
    "EndpointFactory",
    "Gatherer",
    "HttpCheckFunction",
    "Monitor",
    "Result",
    "Settings",
    "TcpCheckFunction",
    "Verdict",
    "http_check",
    "http_client",
    "standard_checks",
    "tcp_check",
]
