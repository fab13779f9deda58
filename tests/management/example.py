"""
A server for the tests of the API: as it is registered, and as it is shown.
"""

from __future__ import annotations

from typing import Any, Final

ID: Final = "10.0.0.7:8080"
SERVER: Final[dict[str, Any]] = {"ip": "10.0.0.7", "port": "8080"}
SHOWN: Final[dict[str, Any]] = {
    "id": ID,
    "ip": "10.0.0.7",
    "port": "8080",
    "check": {"type": "tcp"},
    "weight": 1,
    "state": "pending",
    "reason": "not checked yet",
    "since": "2023-11-14T22:13:20.250Z",
    "registered": "2023-11-14T22:13:20.250Z",
    "last_check": None,
    "version": 1,
    "admin": {"state": "ready", "weight": None, "until": None, "reason": ""},
    "effective_weight": 1,
    "lease": None,
    "suspect": False,
    "disputed": False,
    "max_requests": None,
    "priority": 0,
    "group": None,
}
