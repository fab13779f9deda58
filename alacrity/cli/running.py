"""
The reactor, the API's client and the output of a command that is run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from alacrity.client import ApiClient, NodeApi, SeveralApis, treq_sender

ANSWER_TIMEOUT: Final = 2.0
"""Seconds to wait for an answer of the management API, besides those that it is asked to wait."""


def say(line: str) -> None:
    """
    Print a line for the user, beside the output of the command that is run.
    """
    try:
        print(f"alacrity: {line}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass  # Nobody reads it any more.


def several_apis(reactor: Any, urls: Sequence[str], token: str | None) -> SeveralApis:
    """
    The APIs at several URLs. No connection is kept between two calls: a node has room for few,
    and there may be many servers.
    """
    agent = Agent(
        reactor,
        connectTimeout=ANSWER_TIMEOUT,
        pool=HTTPConnectionPool(reactor, persistent=False),
    )
    http = HTTPClient(agent)
    return SeveralApis(
        [
            NodeApi(url, ApiClient(treq_sender(http, url, timeout=ANSWER_TIMEOUT, token=token)))
            for url in urls
        ]
    )


def finish(reactor: Any, outcome: Deferred[int]) -> int:
    """
    Run the reactor, without its handlers of signals, until there is an outcome.

    @return: the exit status; 1 after a fault in this program.
    """
    status = 1

    def keep(result: int) -> None:
        nonlocal status
        status = int(result)

    def fail(failure: Failure) -> None:
        Logger().failure("the command has failed", failure)
        say(f"a fault in this program: {failure.value}")

    outcome.addCallbacks(keep, fail)
    # Not `stop`, which would wait for threads in which names are resolved.
    outcome.addBoth(lambda _: reactor.callWhenRunning(reactor.crash))
    reactor.run(installSignalHandlers=False)
    return status
