"""
The cases of the comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.processes import Process
from benchmarks.origins import SERVERS
from benchmarks.proxies import MANY, TLS
from benchmarks.requests import (
    BARE,
    CHUNKED,
    CLOSES,
    FROM_BROWSER,
    LARGE,
    POSTED,
    SIXTEEN_KIB,
    VARIES,
    Request,
)
from benchmarks.setups import Setup
from benchmarks.wrk import Bench, Result

CPU = "cpu_us"


class Case(NamedTuple):
    """
    A case.

    @ivar title: its name for the table.
    @ivar measure: takes the load, the proxy and its port.
    @ivar cost: the value that is compared as a ratio.
    @ivar needs: C{TLS} or C{MANY}, if a proxy has to be set up so; else empty.
    """

    title: str
    measure: Callable[[Bench, Process, int], Result]
    cost: str = CPU
    needs: str = ""

    def setup(self, port: int) -> Setup:
        """
        The way that proxies are set up for it.

        @param port: the origin's.
        """
        hosts = SERVERS if self.needs == MANY else (LOOPBACK,)
        return Setup(port, hosts, tls=self.needs == TLS)


def _requests(title: str, request: Request, needs: str = "") -> Case:
    """
    A case of requests, one after another on each connection.
    """
    return Case(
        title,
        lambda load, proxy, port: load.requests(proxy, port, request, tls=needs == TLS),
        needs=needs,
    )


CASES: dict[str, Case] = {
    "idle": Case("idle connections", Bench.idle_connections, cost="kib"),
    "bare": _requests("bare headers", BARE),
    "browser": _requests("ten browser headers", FROM_BROWSER),
    "varying": _requests("varying headers", VARIES),
    "16k": _requests("16 KiB body", SIXTEEN_KIB),
    "chunked": _requests("16 KiB in chunks", CHUNKED),
    "post": _requests("POST of 1 KiB", POSTED),
    "close": _requests("a connection a request", CLOSES),
    "servers": _requests("64 servers", FROM_BROWSER, MANY),
    "tls": _requests("TLS", FROM_BROWSER, TLS),
    "open": Case(
        "open loop at half load",
        lambda load, proxy, port: load.paced(proxy, port, FROM_BROWSER),
        cost="p99_ms",
    ),
    "100m": Case(
        "100 MB body",
        lambda load, proxy, port: load.body(proxy, port, LARGE.path),
        cost="cpu_s_gb",
    ),
}
"""The cases, by their names for C{--cases}, in the order of the table."""
