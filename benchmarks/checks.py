"""
The cost of checking many servers: C{python -m benchmarks.checks}.

Checks 10,000 servers every 5 s, for 20 s, and prints how much of one core the
checking took and how punctual it was. The servers are listening sockets of a
second process, on loopback addresses and ports of the system's choice. Checks run on core 0
and servers on core 1, unless told otherwise.

C{python -m benchmarks.checks --targets-only} starts the servers alone, prints their
addresses one a line, then an empty line, and serves until its standard input ends.
C{--register URL} registers them with a running Alacrity as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from random import Random

import msgspec

from acceptance.lab.processes import ROOT, allow_descriptors, pin

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
Address = tuple[str, int]


def accept_forever(count: int, core: int, kind: str) -> None:
    """
    Serve as C{count} servers, until standard input ends.

    Each accepts connections and closes them; for http checks, after an answer.
    """
    pin(core)
    allow_descriptors(count + 100)
    poll = select.epoll()
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    listeners: dict[int, socket.socket] = {}
    for number in range(count):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Fewer than the ephemeral ports of one address, so that any count will do.
        listener.bind((f"127.0.{1 + number // 5000}.1", 0))
        listener.listen(64)
        listeners[listener.fileno()] = listener
        poll.register(listener.fileno(), select.EPOLLIN)
    for listener in listeners.values():
        ip, port = listener.getsockname()
        print(ip, port)
    print(flush=True)
    open_: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == sys.stdin.fileno():
                return
            if fd in listeners:
                with contextlib.suppress(OSError):
                    connection, _ = listeners[fd].accept()
                    if kind == "tcp":
                        connection.close()
                    else:
                        connection.setblocking(False)
                        open_[connection.fileno()] = connection
                        poll.register(connection.fileno(), select.EPOLLIN)
            else:
                poll.unregister(fd)
                connection = open_.pop(fd)
                with contextlib.suppress(OSError):
                    connection.recv(4096)
                    connection.send(ANSWER)
                connection.close()


@contextlib.contextmanager
def targets(count: int, core: int, kind: str = "tcp") -> Iterator[list[Address]]:
    """
    C{count} servers in a process of their own, pinned to a core; their addresses.

    @param kind: for which checks: C{tcp} or C{http}.
    """
    arguments = ["--targets-only", "--servers", str(count), "--target-core", str(core)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.checks", *arguments, "--type", kind],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        addresses: list[Address] = []
        for line in process.stdout:
            if not line.strip():
                break
            ip, port = line.split()
            addresses.append((ip, int(port)))
        if len(addresses) != count:
            raise SystemExit("the servers did not start")
        yield addresses
    finally:
        process.stdin.close()
        process.wait(10)


def register(url: str, addresses: list[Address], check: dict[str, object]) -> None:
    """
    Register servers with a running Alacrity.

    @param url: its management address.
    """
    for ip, port in addresses:
        request = urllib.request.Request(
            url.rstrip("/") + "/servers",
            json.dumps({"ip": ip, "port": port, "check": check}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def measure(options: argparse.Namespace, addresses: list[Address]) -> None:
    """
    Check the servers for a while, and print what it took.
    """
    pin(options.core)
    allow_descriptors(4096)
    import uvloop
    from twisted.internet import asyncioreactor

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    asyncioreactor.install(loop)
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    from alacrity.health import Checks, Monitor, Verdict, standard_checks
    from alacrity.http1.messages import MessageLimits
    from alacrity.net.connecting import client_endpoint
    from alacrity.pool import (
        Check,
        Command,
        HttpCheck,
        Outcome,
        Pool,
        PoolView,
        Server,
        State,
        TcpCheck,
        apply,
    )

    class Health(msgspec.Struct, frozen=True):
        interval: float = options.interval
        fast_interval: float = 1.0
        jitter: float = 0.1
        timeout: float = 2.0
        rise: int = 2
        fall: int = 3
        deregister_after: float = 300.0
        lease_deregister_after: float = 300.0
        guard_share: float = 0.2
        guard_window: float = 60.0

    how: Check = TcpCheck() if options.type == "tcp" else HttpCheck()
    servers = [
        Server(ip, port, how, 1, State.UP, "restored", time.time(), time.time(), 1)
        for ip, port in addresses
    ]
    view = PoolView(Pool(1, {server.id: server for server in servers}))
    changes = 0

    async def propose(command: Command) -> Outcome:
        nonlocal changes
        changes += 1
        pool, outcome = apply(view.pool, command)
        view.advance(pool, outcome)
        return outcome

    checks = standard_checks(
        lambda host, port, timeout: client_endpoint(reactor, host, port, timeout),
        reactor,
        MessageLimits(),
    )
    begun: dict[str, float] = {}
    waits: list[float] = []
    failures = 0

    def noted(server: Server, timeout: float) -> Deferred[Verdict]:
        now = time.monotonic()
        before = begun.get(server.id)
        begun[server.id] = now
        if before is not None:
            waits.append(now - before)
        return checks.check(server, timeout).addCallback(count)

    def count(verdict: Verdict) -> Verdict:
        nonlocal failures
        failures += not verdict.passed
        return verdict

    monitor = Monitor(
        view,
        propose,
        Health(),
        Checks(
            tcp=lambda server, _, timeout: noted(server, timeout),
            http=lambda server, _, timeout: noted(server, timeout),
        ),
        clock=reactor,
        rng=Random(options.seed),
    )
    stalls: list[float] = []

    def heartbeat(last: float) -> None:
        # How long other work of the loop has to wait for its turn.
        now = time.perf_counter()
        stalls.append(now - last - 0.001)
        loop.call_later(0.001, heartbeat, now)

    async def run() -> None:
        monitor.startService()
        # One interval until each has been checked, and one until that is in the waits.
        await deferLater(reactor, options.interval * 1.1)
        gc.collect()
        waits.clear()
        if options.stalls:
            heartbeat(time.perf_counter())
        cpu, wall = time.process_time(), time.monotonic()
        await deferLater(reactor, options.seconds)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        late = sorted(waits)
        assert late, "nothing was checked"
        bound = options.interval * 1.1 + 0.1
        print(f"{options.type} checks of {len(addresses)} servers every {options.interval} s")
        print(f"  one core used        {100 * cpu / wall:8.1f} %  (over {wall:.1f} s)")
        print(f"  checks               {len(late):8}    ({len(late) / wall:.0f} a second)")
        print(f"  CPU a check          {1e6 * cpu / len(late):8.1f} us")
        print(
            f"  interval p50, p99    {_at(late, 0.5):8.2f}, {_at(late, 0.99):.2f} s"
            f"  (least {late[0]:.2f}, greatest {late[-1]:.2f})"
        )
        print(f"  late by over 0.1 s   {sum(wait > bound for wait in late):8}")
        print(f"  failed               {failures:8}    ({changes} changes of state)")
        if options.stalls:
            stalls.sort()
            print(
                f"  loop stalls p50, p99 {1e3 * _at(stalls, 0.5):8.2f}, "
                f"{1e3 * _at(stalls, 0.99):.2f} ms  (greatest {1e3 * stalls[-1]:.2f})"
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"  memory               {peak:8} MiB")
        await monitor.stopService()
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()).addErrback(_fail))
    reactor.run()


def _fail(failure: object) -> None:
    print(failure, file=sys.stderr, flush=True)
    os._exit(1)


def _at(values: list[float], share: float) -> float:
    """
    A percentile of sorted values.
    """
    return values[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    """
    Read the command line, and do what it says.
    """
    parser = argparse.ArgumentParser(description="The cost of checking many servers.")
    add = parser.add_argument
    add("--servers", type=int, default=10_000)
    add("--interval", type=float, default=5.0, help="seconds between two checks of a server")
    add("--seconds", type=float, default=20.0, help="how long to measure")
    add("--type", choices=["tcp", "http"], default="tcp", help="which checks")
    add("--core", type=int, default=0, help="where the checks run")
    add("--target-core", type=int, default=1, help="where the servers run")
    add("--seed", type=int, default=1)
    add("--stalls", action="store_true", help="also: how long the loop is kept busy at a time")
    add("--targets-only", action="store_true", help="start the servers alone")
    add("--register", metavar="URL", help="start the servers, register them there, and wait")
    options = parser.parse_args()
    if options.targets_only:
        accept_forever(options.servers, options.target_core, options.type)
        return
    with targets(options.servers, options.target_core, options.type) as addresses:
        if options.register:
            check = {"type": options.type, "interval": options.interval}
            register(options.register, addresses, check)
            print(f"{len(addresses)} servers registered; return ends them", flush=True)
            sys.stdin.readline()
        else:
            measure(options, addresses)


if __name__ == "__main__":
    main()
