"""
Recovery of the persistent state from the log's file when a node starts.
"""

from __future__ import annotations

from typing import Final

import msgspec
from twisted.logger import Logger

from alacrity.cluster.log.errors import DamagedLog
from alacrity.cluster.log.files import Files
from alacrity.cluster.log.newfile import NAME, remove_leftovers
from alacrity.cluster.log.persistent import PersistentState, replay
from alacrity.cluster.log.records import MalformedLog, parse_log

_log: Final = Logger()


class RecoveredLog(msgspec.Struct, frozen=True):
    """
    The content of a log's file.

    @ivar frames: the number of frames, if more can be appended to the file; L{None}: the file
        ends with a torn frame, and has to be written again.
    """

    incarnation: str
    state: PersistentState
    frames: int | None


def recover(files: Files) -> RecoveredLog | None:
    """
    Read the log's file. A torn frame at its end is dropped, and logged.

    @return: the content; L{None}: there is no file.
    @raise DamagedLog: the file is damaged.
    @raise OSError: the file cannot be read.
    """
    content = files.read(NAME)
    remove_leftovers(files)
    if content is None:
        return None
    try:
        parsed = parse_log(content)
        state = replay(parsed)
    except MalformedLog as error:
        raise DamagedLog(
            f"{files.directory}/{NAME} is damaged at byte {error.offset}: {error}. This "
            f"node does not know its earlier votes. To repair it: remove it from the cluster, "
            f"move the file away, and let the node join again, empty"
        ) from error
    if parsed.torn is None:
        return RecoveredLog(parsed.incarnation, state, len(parsed.frames))
    _log.warn(
        "the last write to {directory}/{name} was not finished: {count} bytes "
        "from byte {at} are dropped; nothing in them was acknowledged",
        directory=files.directory,
        name=NAME,
        count=len(content) - parsed.torn,
        at=parsed.torn,
    )
    return RecoveredLog(parsed.incarnation, state, None)
