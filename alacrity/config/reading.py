"""
Reading the configuration: the file, and the options over it.

The tables declare their keys, each with its type, its reader and its default
(L{alacrity.config.settings}); nothing here knows of a single key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import msgspec

from alacrity.config.consistency import check_health, complete_cluster
from alacrity.config.endpoints import MANAGEMENT_KINDS, PLAIN_KINDS, endpoint
from alacrity.config.faults import ConfigurationError, Key, listed, one_line
from alacrity.config.readers import Reader
from alacrity.config.settings import Settings

_TABLES: Final[Mapping[str, type[msgspec.Struct]]] = get_type_hints(Settings)


def load(path: Path) -> Settings:
    """
    Read a configuration file.

    @raise ConfigurationError: it cannot be read, or has a fault.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: byte {error.start} is not UTF-8") from error
    return parse(text, str(path))


def parse(text: str, name: str = "configuration") -> Settings:
    """
    Read the text of a configuration file.

    @param name: the file's, for faults and for relative paths.
    @raise ConfigurationError: it has a fault.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{name}: not TOML: {one_line(str(error))}") from error
    tables: dict[str, Any] = {}
    for table, values in document.items():
        key = Key(name, table)
        kind = _TABLES.get(table)
        if kind is None:
            raise key.fault("unknown", f"the tables {listed(_TABLES)}")
        if not isinstance(values, dict):
            raise key.refuse(values, "a table")
        tables[table] = _read_table(key, kind, values)
    settings = Settings(**tables)
    if "timeout" in document.get("health", ()):
        check_health(settings.health, name)
    if "cluster" in document:
        return msgspec.structs.replace(settings, cluster=complete_cluster(settings.cluster, name))
    return settings


def _read_table(
    table: Key, kind: type[msgspec.Struct], values: Mapping[str, object]
) -> msgspec.Struct:
    readers = readers_of(kind)
    found = {}
    for name, value in values.items():
        key = Key(table.source, f"{table.path}.{name}")
        read = readers.get(name)
        if read is None:
            raise key.fault("unknown", f"the keys {listed(readers)}")
        found[name] = read(key, value)
    return kind(**found)


@cache
def readers_of(kind: type[msgspec.Struct]) -> Mapping[str, Reader[Any]]:
    """
    The readers that a table declares, by keys.
    """
    hints = get_type_hints(kind, include_extras=True)
    return {name: get_args(hint)[1] for name, hint in hints.items()}


def override(
    settings: Settings, *, proxy: Sequence[str] = (), management: Sequence[str] = ()
) -> Settings:
    """
    Settings with the addresses that were given as options, where any were.

    @raise ConfigurationError: one is not an endpoint string.
    """
    for option, given, kinds in (
        ("--proxy", proxy, PLAIN_KINDS),
        ("--management", management, MANAGEMENT_KINDS),
    ):
        for description in given:
            endpoint(Key("options", option), description, kinds)
    replace = msgspec.structs.replace
    if proxy:
        settings = replace(settings, proxy=replace(settings.proxy, listen=tuple(proxy)))
    if management:
        settings = replace(
            settings, management=replace(settings.management, listen=tuple(management))
        )
    return settings
