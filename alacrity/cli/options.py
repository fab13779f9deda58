"""
Kinds of values on the command line and in the environment.
"""

from __future__ import annotations

import math
import os
import re
import signal
from argparse import ArgumentTypeError
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from alacrity.net.tokens import TokenError, read_token


def _fault(found: str, allowed: str) -> ArgumentTypeError:
    return ArgumentTypeError(f"found {found!r}; allowed: {allowed}")


def whole(lowest: int, highest: int, allowed: str | None = None) -> Callable[[str], int]:
    """
    A whole number.

    @param allowed: the numbers, in words.
    """

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            raise _fault(text, allowed or f"a whole number from {lowest} to {highest}")
        return int(text)

    return read


port = whole(1, 65535, "a port from 1 to 65535")


def seconds(lowest: float, highest: float = 86400.0) -> Callable[[str], float]:
    """
    A duration in seconds.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest:
            raise _fault(text, f"seconds, from {lowest:g} to {highest:g}")
        return value

    return read


def ip(text: str) -> str:
    """
    An IP address.
    """
    try:
        address = ip_address(text)
        # As alacrity.net.addresses.unmapped, which would import msgspec for a help text.
        return str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        raise _fault(text, "an IPv4 or IPv6 address") from None


def group(text: str) -> str:
    """
    The name of a group of servers.
    """
    if re.fullmatch(r"[a-z0-9-]{1,63}", text) is None:
        raise _fault(text, "1 to 63 of a-z, 0-9 and -")
    return text


def url(text: str) -> str:
    """
    The URL of a management API; C{host:port} means plain HTTP.
    """
    whole_url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(whole_url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or not whole_url.isascii()
        or any(character.isspace() for character in text)
    ):
        raise _fault(text, "a URL such as http://10.0.0.1:8687")
    return whole_url.rstrip("/")


def path(text: str) -> str:
    """
    The path of a check.
    """
    if not text.startswith("/") or "#" in text or not text.isascii() or not text.isprintable():
        raise _fault(text, "a path such as /health, of printable ASCII")
    if " " in text:
        raise _fault(text, "a path such as /health, without spaces")
    return text


def token(text: str) -> str:
    """
    The token in a file.
    """
    try:
        return read_token(Path(text)).decode("ascii")
    except TokenError as error:
        raise ArgumentTypeError(f"{text}: {error}") from None


def stop_signal(text: str) -> int:
    """
    A signal by its name, with or without C{SIG}, or its number.
    """
    name = text.upper()
    try:
        number = (
            signal.Signals(int(text))
            if text.isdigit()
            else signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        )
    except (KeyError, ValueError):
        raise _fault(text, "a signal such as QUIT or SIGQUIT") from None
    if number in {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        raise _fault(text, "a signal that a process can handle, such as QUIT")
    return number


def addresses(given: list[str] | None) -> list[str]:
    """
    The URLs of the APIs: those on the command line, or of C{ALACRITY_ADDR}, or of this machine.

    @raise ArgumentTypeError: one in the environment is invalid.
    """
    if given:
        return list(dict.fromkeys(given))
    listed = os.environ.get("ALACRITY_ADDR", "").replace(",", " ").split()
    try:
        return list(dict.fromkeys(map(url, listed))) or ["http://127.0.0.1:8687"]
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"ALACRITY_ADDR: {error}") from None


def bearer(given: str | None) -> str | None:
    """
    The token: that of the command line, or in the file of C{ALACRITY_TOKEN_FILE}.

    @raise ArgumentTypeError: the file has none.
    """
    file = os.environ.get("ALACRITY_TOKEN_FILE", "")
    if given is not None or not file:
        return given
    try:
        return token(file)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"ALACRITY_TOKEN_FILE: {error}") from None
