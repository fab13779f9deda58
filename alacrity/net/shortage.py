"""
Connection errors that are this machine's own fault.
"""

from __future__ import annotations

import errno
from typing import Final

from twisted.internet.error import ConnectError

_SHORTAGES: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)


def local_shortage(error: BaseException | None) -> int | None:
    """
    The resource that this machine lacked for a connection, as an C{errno};
    L{None}: none, the connection failed at the other end.
    """
    code: int | None = (
        error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)
    )
    return code if code in _SHORTAGES else None
