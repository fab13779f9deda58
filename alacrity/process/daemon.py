"""
Daemonization: the process that was called waits until the node serves, or reports why it
does not.

C{twistd}'s own has two faults: its waiting process holds the writing end of the pipe that it
reads, so it waits for ever if the daemon ends without a word; and it ends before the reactor
runs.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import IReactorDaemonize

READY: Final = b"\0"
"""The last byte on the pipe, after any messages, once the daemon serves."""

NOTHING_SAID: Final = "the daemon ended before it served; its log may say why"


def detach(reactor: Any) -> None:
    """
    Continue in the background: this returns in the daemon alone. Its standard error appears
    where it was started, until L{let_go}.
    """
    for stream in (sys.stdout, sys.stderr):
        # None, where the descriptor was closed.
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    read, write = os.pipe()
    if IReactorDaemonize.providedBy(reactor):
        reactor.beforeDaemonize()
    if os.fork():
        os.close(write)
        os._exit(wait(read, 2))
    os.close(read)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor, source in ((0, null), (1, null), (2, write)):
        os.dup2(source, descriptor)
    for each in {null, write} - {0, 1, 2}:
        os.close(each)
    if IReactorDaemonize.providedBy(reactor):
        reactor.afterDaemonize()


def wait(read: int, output: int) -> int:
    """
    Wait until a daemon serves or ends, and pass on its messages.

    @param read: the reading end of the pipe that is its standard error.
    @param output: the descriptor to write to. For a daemon that ends, one line is written.
    @return: the exit status: 0, if it serves.
    """
    said = b""
    while not said.endswith(READY) and (data := os.read(read, 65536)):
        said += data
    serves = said.endswith(READY)
    text = said.removesuffix(READY)
    if not serves:
        text = _reason(text.decode(errors="replace")).encode() + b"\n"
    try:
        os.write(output, text)
    except OSError:
        pass  # Nobody listens; the status tells it too.
    return 0 if serves else 1


def _reason(said: str) -> str:
    """
    The line that gives the cause: the first that begins with C{alacrity:}, or the last of a
    traceback.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("alacrity: ")]
    if ours:
        return ours[0]
    return f"alacrity: {lines[-1] if lines else NOTHING_SAID}"


def let_go(*, ready: bool) -> None:
    """
    Let the waiting process end.

    @param ready: whether this daemon serves; if not, it has reported why.
    """
    if ready:
        try:
            os.write(2, READY)
        except OSError:
            pass  # The waiting process was killed, which is no reason not to serve.
    # Standard output is the null device, whose name may be out of reach now.
    os.dup2(1, 2)


def fill_standard_descriptors() -> None:
    """
    Open the null device for each of standard input, output and error that is closed, so that
    no socket or file gets its number, and the output meant for it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # open() returns the lowest free number: this one.
            os.open(os.devnull, os.O_RDWR)
