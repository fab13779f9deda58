"""
Servers that answer as fast as can be, in processes of their own.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator, Sequence
from typing import Final

from acceptance.lab.processes import forked

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serve(listeners: Sequence[socket.socket]) -> None:
    """
    Answer 200 to whatever is asked at any of these, for ever.
    """
    poll = select.epoll()
    sockets = {listener.fileno(): listener for listener in listeners}
    listening = set(sockets)
    for fd in sockets:
        poll.register(fd, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in listening:
                connection, _ = sockets[fd].accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN)
            else:
                data = b""
                with contextlib.suppress(OSError):
                    # Requests have no bodies, and come one at a time.
                    data = sockets[fd].recv(65536)
                    if data:
                        sockets[fd].sendall(_ANSWER)
                if not data:
                    poll.unregister(fd)
                    sockets.pop(fd).close()


@contextlib.contextmanager
def serving_everywhere() -> Iterator[int]:
    """
    A server that all loopback addresses reach; its port.
    """
    with (
        socket.create_server(("0.0.0.0", 0), backlog=4096) as listener,
        forked(serve, [listener]),
    ):
        yield listener.getsockname()[1]
