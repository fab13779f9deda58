"""
The command line of C{alacrity}.

It imports neither Twisted nor the API's client: C{--help} and faults are answered at once.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Final

import alacrity
from alacrity.cli import options as kinds
from alacrity.cli.inbox import PASSED_ON, STOP, SignalInbox

DEFAULT_LEASE: Final = 15.0
"""Seconds of a lease, unless another is asked for. It is renewed every five seconds, so two calls
may be lost, and an election of a leader is outlasted; a container that is killed is out of the
pool after 15 s at the latest, and with a check most often sooner."""

DEFAULT_WAIT: Final = 8.0
"""Seconds for requests in flight. Docker kills a container ten seconds after it asked it to stop,
which leaves two for the process itself."""

_DESCRIPTION: Final = "Commands for Alacrity, a reverse proxy whose servers register themselves."

_ENVIRONMENT: Final = """\
environment:
  ALACRITY_ADDR        URLs of management APIs, separated by commas or spaces; --to overrides it
  ALACRITY_TOKEN_FILE  the file with the API's token; --token-file overrides it
"""

_STATUSES: Final = """\
exit status:
  0  done
  1  refused by the API
  2  wrong usage
  3  no API can be reached, or the cluster has no quorum
  4  there is no such server
  5  conflict
  6  removed, but its requests did not all finish in time
  7  unhealthy
"""

_REGISTER: Final = """\
Run a server, and keep it registered while it runs.

alacrity starts COMMAND, waits until the port accepts connections, registers the server and
renews its lease. When it gets SIGTERM or SIGINT, it first removes the server from the pool and
waits until no node has a request in flight to it, and only then passes the signal to COMMAND. A
second SIGTERM is passed at once. When COMMAND ends by itself, the server is removed. Without
COMMAND, a server that somebody else runs is registered until alacrity gets a signal.
"""

_REGISTER_NOTES: Final = (
    """\
signals:
  SIGTERM, SIGINT      leave the pool, then pass the signal to COMMAND; also those of --stop-signal
  SIGTSTP (Ctrl-Z)     suspend COMMAND and alacrity; SIGCONT resumes both
  SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGIO, real-time signals and others
                       are passed to COMMAND as they are

  Signals go to the process of COMMAND, not to its children. COMMAND has a session of its own, so
  Ctrl-C reaches it only after it has left the pool. As the first process of a container, alacrity
  reaps orphans.

exit status:
  that of COMMAND, or 128 and the number of the signal that ended it; without COMMAND: 0 after it
  left the pool, 3 if no API could be reached for that, 6 if requests were still in flight
  126, 127  COMMAND cannot be executed, does not exist
  1, 4, 5   the API refuses the registration (5: a conflict, such as another's address)
  2         wrong usage
  7         the port accepted no connections within --ready-timeout

examples:
  alacrity register --port 8080 --check-path /up -- gunicorn --bind :8080 app
  alacrity register --to http://10.0.0.1:8687 --to http://10.0.0.2:8687 --port 8080 -- ./server
  alacrity register --port 80 --stop-signal QUIT -- nginx -g 'daemon off;'

"""
    + _ENVIRONMENT
)

_DEREGISTER: Final = """\
Remove a server from the pool.

With --wait, wait until no node has a request in flight to it any more, or the time is over. It
may be repeated, and then goes on waiting. A server that keeps its registration (alacrity
register) comes back: stop that instead.
"""


def parser() -> ArgumentParser:
    """
    The parser of the command line.
    """
    top = ArgumentParser(
        prog="alacrity",
        description=_DESCRIPTION,
        epilog=f"{_STATUSES}\n{_ENVIRONMENT}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"alacrity {alacrity.__version__}")
    commands = top.add_subparsers(dest="name", metavar="COMMAND", required=True)
    _add_register(
        commands.add_parser(
            "register",
            help="run a server, and keep it registered while it runs",
            usage="alacrity register --port PORT [options] [-- COMMAND [ARGUMENT ...]]",
            description=_REGISTER,
            epilog=_REGISTER_NOTES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    _add_deregister(
        commands.add_parser(
            "deregister",
            help="remove a server from the pool",
            description=_DEREGISTER,
            epilog=f"{_STATUSES}\n{_ENVIRONMENT}",
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    return top


def _add_access(command: ArgumentParser) -> None:
    """
    The options of all commands that call the API.
    """
    access = command.add_argument_group("API")
    access.add_argument(
        "--to",
        type=kinds.url,
        action="append",
        metavar="URL",
        help="management API of a node; repeatable: the others are called when one does not answer "
        "(default: http://127.0.0.1:8687)",
    )
    access.add_argument(
        "--token-file",
        type=kinds.token,
        metavar="FILE",
        dest="token",
        help="file with the API's token",
    )


def _add_register(command: ArgumentParser) -> None:
    _add_access(command)
    _add_server(command)
    _add_check(command)
    times = command.add_argument_group("times")
    times.add_argument(
        "--wait",
        type=kinds.seconds(0.0, 3600.0),
        default=DEFAULT_WAIT,
        metavar="SECONDS",
        help="how long requests in flight may take when it is stopped; choose less than what the "
        f"supervisor waits before it kills (default: {DEFAULT_WAIT:g}, as Docker waits 10)",
    )
    times.add_argument(
        "--ready-timeout",
        type=kinds.seconds(0.1),
        metavar="SECONDS",
        help="give up if the port accepts no connections for so long (default: never)",
    )
    times.add_argument(
        "--stop-signal",
        type=kinds.stop_signal,
        action="append",
        default=[],
        metavar="SIGNAL",
        help="another signal that means to stop, as an image's STOPSIGNAL; repeatable",
    )


def _add_server(command: ArgumentParser) -> None:
    server = command.add_argument_group("server")
    server.add_argument("--port", type=kinds.port, required=True, help="the server's port")
    server.add_argument(
        "--ip", type=kinds.ip, help="its address (default: the one that the API sees)"
    )
    server.add_argument(
        "--ready-port",
        type=kinds.port,
        metavar="PORT",
        help="the port to wait for, if --port is the one that a host publishes it at",
    )
    server.add_argument("--weight", type=kinds.whole(1, 256), help="share of requests (default: 1)")
    server.add_argument(
        "--priority",
        type=kinds.whole(0, 100),
        help="backups have a higher number (default: 0)",
    )
    server.add_argument(
        "--group", type=kinds.group, help="group of servers with a share of the requests"
    )
    server.add_argument(
        "--max-requests",
        type=kinds.whole(0, 1_000_000),
        metavar="N",
        help="requests that it may have at a time; 0: any number (default: as configured)",
    )
    server.add_argument(
        "--lease",
        type=kinds.seconds(0.0),
        default=DEFAULT_LEASE,
        metavar="SECONDS",
        help="it is down when it has not been heard of for so long, 3 to 86400; 0: no lease "
        f"(default: {DEFAULT_LEASE:g})",
    )


def _add_check(command: ArgumentParser) -> None:
    check = command.add_argument_group("check")
    check.add_argument(
        "--check",
        choices=("http", "tcp", "none"),
        help="http: GET; tcp: connect; none: the lease alone (default: tcp, or http with "
        "--check-path)",
    )
    check.add_argument("--check-path", type=kinds.path, metavar="PATH", help="path to GET")
    check.add_argument(
        "--check-port",
        type=kinds.port,
        metavar="PORT",
        help="port to check (default: the server's)",
    )
    check.add_argument("--check-host", metavar="HOST", help="Host to send")
    check.add_argument(
        "--interval", type=kinds.seconds(0.1), metavar="SECONDS", help="between two checks"
    )
    check.add_argument(
        "--timeout", type=kinds.seconds(0.001), metavar="SECONDS", help="that a check may take"
    )
    check.add_argument(
        "--rise", type=kinds.whole(1, 100), metavar="N", help="passes until it is up"
    )
    check.add_argument(
        "--fall", type=kinds.whole(1, 100), metavar="N", help="failures until it is down"
    )


def _add_deregister(command: ArgumentParser) -> None:
    _add_access(command)
    command.add_argument("id", metavar="ID", help="the server, such as 10.0.0.7:8080")
    command.add_argument(
        "--wait",
        type=kinds.seconds(0.0, 3600.0),
        default=0.0,
        metavar="SECONDS",
        help="how long requests in flight may take (default: they are not waited for)",
    )


def parse(argv: Sequence[str]) -> Namespace:
    """
    Parse the command line.

    @raise SystemExit: help was asked for, or it is wrong (2).
    """
    top = parser()
    given, command = list(argv), []
    if given[:1] == ["register"] and "--" in given:
        split = given.index("--")
        given, command = given[:split], given[split + 1 :]
        if not command:
            top.error("register: found nothing after --; allowed: a command")
    options = top.parse_args(given)
    try:
        options.to = kinds.addresses(options.to)
        options.token = kinds.bearer(options.token)
    except ArgumentTypeError as error:
        top.error(str(error))
    if options.name == "register":
        options.command = command
        options.stop_signals = {*STOP, *options.stop_signal}
        fault = _complete(options)
        if fault is not None:
            top.error(f"register: {fault}")
    return options


def _complete(options: Namespace) -> str | None:
    """
    Fill in what depends on other options.

    @return: a fault that several of them make together; L{None}: there is none.
    """
    if options.check is None:
        options.check = "tcp" if options.check_path is None else "http"
    elif options.check == "http" and options.check_path is None:
        options.check_path = "/"
    if options.check != "http":
        for name in ("check_path", "check_host"):
            if getattr(options, name) is not None:
                return f"--{name.replace('_', '-')} needs --check http, found {options.check}"
    if options.check == "none":
        for name in ("check_port", "interval", "timeout", "rise", "fall"):
            if getattr(options, name) is not None:
                return f"--{name.replace('_', '-')} needs a check, found --check none"
        if not options.lease:
            return "found --check none without a lease; allowed: --lease from 3"
    if 0 < options.lease < 3:
        return f"--lease: found {options.lease:g}; allowed: seconds, from 3 to 86400, or 0"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """
    The command.

    @return: the exit status.
    """
    options = parse(sys.argv[1:] if argv is None else argv)
    if options.name == "deregister":
        from alacrity.cli import deregister

        return deregister.run(options)
    inbox = SignalInbox()
    inbox.install({*options.stop_signals, *PASSED_ON})
    if os.getpid() != 1:
        # The first process of a container cannot be suspended from within.
        inbox.install([signal.SIGTSTP])
    from alacrity.cli import register

    return register.run(options, inbox)


def entry() -> None:
    """
    The command, as a console script.
    """
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread in which a name is being resolved would delay the usual end.
    os._exit(status)
