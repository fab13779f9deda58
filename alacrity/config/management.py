"""
The table C{[management]}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from alacrity.config.endpoints import management_endpoints
from alacrity.config.readers import (
    array,
    boolean,
    count,
    host_name,
    token_file,
)


class ManagementSettings(msgspec.Struct, frozen=True):
    """
    C{[management]}

    @ivar listen: endpoint strings.
    @ivar token_file: the file of the token that callers must have; L{None}: everybody who
        reaches the API may call.
    @ivar insecure: whether other machines may reach the API without a token.
    @ivar connections: most connections to the API at once.
    @ivar hosts: the names by which the API may be called without a token, besides
        C{localhost}.
    """

    listen: Annotated[tuple[str, ...], management_endpoints] = ("tcp:8687:interface=127.0.0.1",)
    token_file: Annotated[Path | None, token_file] = None
    insecure: Annotated[bool, boolean] = False
    connections: Annotated[int, count] = 256
    hosts: Annotated[tuple[str, ...], array(host_name)] = ()
