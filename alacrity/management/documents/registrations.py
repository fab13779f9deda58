"""
The document of C{POST /servers}.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from msgspec import UNSET, Struct

from alacrity.management.documents.addresses import read_caller_ip, read_ip, read_port
from alacrity.management.documents.checks import ALLOWED_CHECK, read_check
from alacrity.management.documents.optional import none_if_unset
from alacrity.management.documents.problems import Problem
from alacrity.management.documents.schemas import NoCheckDocument, RegistrationDocument
from alacrity.management.documents.strict import read
from alacrity.pool import Check, TcpCheck
from alacrity.pool.model import ServerOptions

ALLOWED_REGISTRATION: Final[Mapping[str, str]] = {
    "": "a JSON object with ip, port, check, weight, lease, priority, group, max_requests",
    "ip": "an IPv4 or IPv6 address; if it is missing, the caller's",
    "port": "1 to 65535, as a number or a string",
    "weight": "a whole number from 1 to 256",
    "lease": "seconds, from 3 to 86400",
    "priority": "a whole number from 0 to 100; servers with a higher one are backups",
    "group": "1 to 63 of a-z, 0-9 and -",
    "max_requests": "a whole number from 0, for any number of requests, to 1000000",
    **ALLOWED_CHECK,
}
"""The allowed values of each member, in words, by the member's path."""


class Registration(Struct, frozen=True):
    """
    A valid registration.

    @ivar ip: an address in its canonical text form.
    """

    ip: str
    port: int
    check: Check
    weight: int
    options: ServerOptions


def read_registration(
    body: bytes, caller: str | None, default_interval: float = inf
) -> Registration:
    """
    Read the body of a C{POST /servers}.

    @param caller: the IP address of the caller; L{None}: the caller has none.
    @param default_interval: seconds between checks, if the document names no interval.
    @raise Problem: the body is not valid.
    """
    asked = read(body, RegistrationDocument, ALLOWED_REGISTRATION)
    if isinstance(asked.check, NoCheckDocument) and asked.lease is UNSET:
        allowed = ALLOWED_REGISTRATION["lease"]
        raise Problem(
            400,
            f'lease is missing, which check.type "none" needs; allowed: {allowed}',
            field="lease",
        )
    return Registration(
        ip=read_caller_ip(caller) if asked.ip is UNSET else read_ip(asked.ip, ALLOWED_REGISTRATION),
        port=read_port("port", asked.port, ALLOWED_REGISTRATION),
        check=TcpCheck() if asked.check is UNSET else read_check(asked.check, default_interval),
        weight=asked.weight,
        options=ServerOptions(
            priority=asked.priority,
            group="" if asked.group is UNSET else asked.group,
            max_requests=none_if_unset(asked.max_requests),
            lease=none_if_unset(asked.lease),
        ),
    )
