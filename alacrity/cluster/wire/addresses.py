"""
Where nodes are: C{host:port}, or C{[2001:db8::1]:port}.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from alacrity.net.transports import client_endpoint

_LABEL = r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z")


def split_address(address: str) -> tuple[str, int]:
    """
    The host and the port of an address.

    @return: the host is an IP address in its canonical form, or a name in lower case.
    @raise ValueError: it is no address; the message says what is wrong, in a few words.
    """
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError("there is no port")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError("the port is not from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        literal = host[1:-1]
        if ":" not in literal or not is_ip(literal):
            raise ValueError("there is no IPv6 address between the brackets")
        return str(ip_address(literal)), int(port)
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if is_ip(host):
        return host, int(port)
    if re.fullmatch(r"[0-9.]*", host) or not _NAME.match(host):
        raise ValueError("the host is neither an IP address nor a name")
    return host.lower(), int(port)


def join_address(host: str, port: int) -> str:
    """
    The one spelling of an address, in which addresses are compared.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ip(host: str) -> bool:
    """
    Whether it is an IP address, rather than a name.
    """
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def peer_endpoint(reactor: object, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
    """
    An endpoint for connections to a node. A name is resolved at each connection,
    without blocking.

    @param timeout: in seconds, for one address.
    """
    if is_ip(host):
        return client_endpoint(reactor, host, port, timeout)  # type: ignore[arg-type]
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port, timeout)
    return endpoint
