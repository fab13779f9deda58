"""
Bytes written to a connection that its other end has not acknowledged.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import Any


def unsent(transport: Any) -> int | None:
    """
    Bytes in the buffers of a connection, the transport's and the kernel's, that its other
    end has not acknowledged; L{None}: the transport does not tell.
    """
    tell = getattr(transport, "unsent", None)
    if tell is not None:
        count: int | None = tell()
        return count
    sock = getattr(transport, "socket", None)
    if sock is None:
        return None
    # Twisted's transports offer no public name for their buffers.
    waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001
    return waiting + unacknowledged(sock)


def unacknowledged(sock: Any) -> int:
    """
    Bytes of a socket that the kernel has yet to see acknowledged (C{SIOCOUTQ}, tcp(7)).
    """
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return 0
    return int(count)
