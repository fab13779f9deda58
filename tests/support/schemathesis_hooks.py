"""
Loaded by schemathesis, in its own process: what the API's description cannot say.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

from alacrity.config import HealthSettings
from alacrity.net.addresses import unmapped


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """
    JSON Schema has no words for "the first is not above the second", nor for "with a name".
    And the node
    under test checks what is registered, for which only this machine is fit.
    """
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        # Nor for the version that a server has just then.
        for name in [name for name in case.headers or () if name.lower() == "if-match"]:
            case.headers[name] = "*"
    body = case.body
    if not isinstance(body, dict):
        return
    if case.method.upper() == "PATCH":
        if body == {}:
            body["weight"] = None
        if isinstance(body.get("until"), int | float) and body.get("admin", "ready") == "ready":
            body["admin"] = "drain"
        return
    if body.get("check") == {"type": "none"}:
        body.setdefault("lease", 30)
    match body.get("check"):
        case {"status": [int() | float() as first, int() | float() as second]} if first > second:
            body["check"]["status"] = [second, first]
    match body.get("check"):
        case {"interval": int() | float() as interval, "timeout": int() | float() as timeout}:
            if timeout > interval >= 0.1:
                body["check"].update(interval=timeout, timeout=interval)
        case {"timeout": int() | float() as timeout, **others} if "interval" not in others:
            # The node's interval is the default.
            if timeout > HealthSettings().interval:
                body["check"]["interval"] = timeout
    # An address that is the name, too, has to fit for one.
    if "name" not in body and len(str(body.get("address", ""))) > 128:
        body["name"] = "long"
    try:
        address = unmapped(ip_address(body["ip"])) if isinstance(body.get("ip"), str) else None
    except ValueError:
        return
    if address is None or address.is_multicast or address.is_unspecified:
        return
    if not isinstance(address, IPv6Address):
        if str(address) != "255.255.255.255":
            body["ip"] = str(ip_address(0x7F000000 | int(address) & 0xFFFFFF))
    elif address.scope_id is None:
        body["ip"] = "::1"
