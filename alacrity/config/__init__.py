"""
The configuration: a TOML file and options, made into frozen settings.

Every fault is a L{ConfigurationError} of one line that names the file (or option),
the key, what was found and what is allowed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from twisted.internet.endpoints import serverFromString

from alacrity.cluster.log.members import Member
from alacrity.cluster.secret import SecretError
from alacrity.cluster.secret import load as load_secret
from alacrity.cluster.settings import Fault, identify, own_address, read_members
from alacrity.net.addresses import ADDRESS, NODE_NAME, is_address, is_node_name
from alacrity.net.listeners import Socket, UnixSocket, socket_of
from alacrity.net.tokens import TokenError, read_token
from alacrity.pool.model import SHORTEST_INTERVAL, SHORTEST_TIMEOUT

Network: TypeAlias = IPv4Network | IPv6Network


class ConfigurationError(Exception):
    """
    What is wrong, in one line.
    """


class Proxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{[proxy]}

    @ivar listen: endpoint strings.
    @ivar via: the proxy's pseudonym in C{Via} (RFC 9110 7.6.3).
    @ivar trusted_proxies: networks whose C{X-Forwarded-} fields are kept.
    @ivar reuse: which requests may go over a server connection that other clients have
        used: all; all but the first of a client's connection; none.
    """

    listen: tuple[str, ...] = ("tcp:8080",)
    via: str = "alacrity"
    trusted_proxies: tuple[Network, ...] = ()
    reuse: Literal["always", "safe", "never"] = "always"


class Management(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{[management]}

    @ivar listen: endpoint strings.
    @ivar token_file: the file of the token that callers must know; L{None}: all who
        reach the API may call.
    @ivar insecure: whether others than this machine may reach it without a token.
    @ivar connections: most connections to it at once.
    @ivar hosts: the names by which it may be called without one, besides C{localhost}.
    """

    listen: tuple[str, ...] = ("tcp:8687:interface=127.0.0.1",)
    token_file: Path | None = None
    insecure: bool = False
    connections: int = 256
    hosts: tuple[str, ...] = ()


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{[health]}: durations in seconds; what applies to servers that do not say
    otherwise.

    @ivar interval: between two checks of a server.
    @ivar fast_interval: the same while its state may be changing.
    @ivar jitter: by which part of it an interval varies at most, to either side.
    @ivar timeout: for one check.
    @ivar rise: passes in a row that bring a down server back.
    @ivar fall: failures in a row that take a server down.
    @ivar deregister_after: how long a server may be down before it is removed; 0:
        for ever. The last server is never removed for that.
    """

    interval: float = 5.0
    fast_interval: float = 1.0
    jitter: float = 0.1
    timeout: float = 2.0
    rise: int = 2
    fall: int = 3
    deregister_after: float = 86400.0


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{[timeouts]}: in seconds.

    @ivar connect: for a connection to a server.
    @ivar server_response: for a server to begin its response, or to go on with it.
    @ivar client_header: for a client to complete the head of a request.
    @ivar client_idle: for a client to begin a request, to go on with a body, or to
        read on.
    @ivar server_idle: for how long an unused connection to a server is kept.
    @ivar drain: for requests in flight to finish when the proxy stops.
    @ivar tunnel_idle: for how long an upgraded connection may carry nothing.
    """

    connect: float = 3.0
    server_response: float = 60.0
    client_header: float = 10.0
    client_idle: float = 60.0
    server_idle: float = 30.0
    drain: float = 30.0
    tunnel_idle: float = 3600.0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{[limits]}: sizes in bytes.

    @ivar request_line: longest request line.
    @ivar header_bytes: largest header section, request line included.
    @ivar header_count: most header fields.
    @ivar body_bytes: largest request body; 0: any.
    @ivar client_connections: most connections from clients at once.
    @ivar connections_per_address: most of them from one address, an IPv6 network of 64
        bits counting as one; 0: any number. Those of trusted proxies are not counted.
    @ivar body_rate: the least bytes a second at which a request body must come, on
        average over 20 s; 0: any.
    @ivar response_rate: the least bytes a second at which a client must take a response
        that it does not take at once, on average; 0: any, if it takes some at all within
        C{client_idle}.
    @ivar idle_per_server: most unused connections that are kept to one server.
    @ivar requests_per_connection: most requests on a client's connection; 0: any.
    """

    request_line: int = 16384
    header_bytes: int = 32768
    header_count: int = 100
    body_bytes: int = 0
    client_connections: int = 10000
    connections_per_address: int = 0
    body_rate: int = 500
    response_rate: int = 500
    idle_per_server: int = 32
    requests_per_connection: int = 0


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{[cluster]}

    @ivar listen: endpoint strings, for the other nodes; empty: this node is alone.
    @ivar advertise: where the other nodes reach this one, C{host:port}; empty: nowhere.
    @ivar name: the node's, if it was given one; see L{me}.
    @ivar members: those with which a new cluster begins, this node among them; empty:
        this node alone. What a cluster has agreed on later counts more.
    @ivar secret_file: the file with the secret that all nodes share; empty: there is
        none, and whoever can connect may be a member.
    @ivar serve: whether every node takes requests for the servers, or the leader alone.
    @ivar fsync: whether to wait for the disk before a change counts as kept. If not, it
        survives the death of the process, not that of the machine.
    """

    listen: tuple[str, ...] = ()
    advertise: str = ""
    name: str = ""
    members: tuple[Member, ...] = ()
    secret_file: str = ""
    serve: Literal["all", "leader"] = "all"
    fsync: bool = True

    @property
    def me(self) -> Member:
        """
        This node. By default its name is what it advertises.
        """
        return identify(self.name, self.advertise)


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{[log]}

    @ivar level: the least important events that are logged.
    @ivar format: of the log's lines.
    @ivar access: of the access log's lines, which go to the same place.
    """

    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    format: Literal["text", "json"] = "text"
    access: Literal["off", "combined", "json"] = "off"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The whole configuration, a table each.
    """

    proxy: Proxy = Proxy()
    management: Management = Management()
    health: Health = Health()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    cluster: Cluster = Cluster()
    log: Log = Log()


# What a value must be beside its type: a test, and words for it.
_Rule: TypeAlias = tuple[Callable[[Any], bool], str]

_DAY: Final = 86400.0
_YEAR: Final = 365 * _DAY


def _seconds(shortest: float) -> _Rule:
    return (
        lambda v: shortest <= v <= _DAY,
        f"a number of seconds from {shortest} to 86400",
    )


_NEVER_OR_LONG: Final[_Rule] = (
    lambda v: v == 0 or 1 <= v <= _YEAR,
    "a number of seconds from 1 to 31536000, or 0 for never",
)
_COUNT: Final[_Rule] = (lambda v: 1 <= v < 1 << 31, "a whole number from 1")
_COUNT_OR_NONE: Final[_Rule] = (
    lambda v: 0 <= v < 1 << 63,
    "a whole number from 1, or 0 for no limit",
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_RULES: Final[dict[str, _Rule]] = {
    # RFC 9110 5.6.2, 7.6.3
    "proxy.via": (lambda v: _TOKEN.fullmatch(v) is not None, "a token, such as a host name"),
    "management.connections": _COUNT,
    "health.interval": _seconds(SHORTEST_INTERVAL),
    "health.fast_interval": _seconds(SHORTEST_INTERVAL),
    "health.jitter": (lambda v: 0 <= v <= 1, "a number from 0 to 1"),
    "health.timeout": _seconds(SHORTEST_TIMEOUT),
    "health.rise": _COUNT,
    "health.fall": _COUNT,
    "health.deregister_after": _NEVER_OR_LONG,
    **{f"timeouts.{name}": _seconds(SHORTEST_TIMEOUT) for name in Timeouts.__struct_fields__},
    "timeouts.drain": (lambda v: 0 <= v <= _DAY, "a number of seconds, at most 86400"),
    **{f"limits.{name}": _COUNT for name in Limits.__struct_fields__},
    "limits.body_bytes": _COUNT_OR_NONE,
    "limits.body_rate": _COUNT_OR_NONE,
    "limits.response_rate": _COUNT_OR_NONE,
    "limits.connections_per_address": _COUNT_OR_NONE,
    "limits.requests_per_connection": _COUNT_OR_NONE,
    "limits.idle_per_server": (lambda v: 0 <= v < 1 << 31, "a whole number from 0"),
    "cluster.advertise": (is_address, ADDRESS),
    "cluster.name": (is_node_name, NODE_NAME),
    "cluster.secret_file": (lambda v: v != "", "the name of a file"),
}

_TYPES: Final[dict[Any, str]] = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    str: "a string",
    tuple[str, ...]: "an array of strings",
    tuple[Network, ...]: "an array of strings",
    tuple[Member, ...]: "an array of strings",
}


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
    Understand the text of a configuration file.

    @param name: the file's, for faults.
    @raise ConfigurationError: there is a fault.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{name}: not TOML: {_one_line(str(error))}") from error
    tables: dict[str, Any] = {}
    for key, value in document.items():
        table = _TABLES.get(key)
        if table is None:
            raise _fault(name, key, "unknown", f"the tables {_listed(_TABLES)}")
        if not isinstance(value, dict):
            raise _fault(name, key, _shown(value), "a table")
        tables[key] = _table(name, key, table, value)
    if "timeout" in document.get("health", ()):
        _check_timeout(name, tables["health"])
    if "cluster" in tables:
        cluster = tables["cluster"]
        try:
            advertise = own_address(cluster)
            tables["cluster"] = msgspec.structs.replace(
                cluster, advertise=advertise, secret_file=_beside(name, cluster.secret_file)
            )
        except Fault as fault:
            raise _fault(name, f"cluster.{fault.key}", fault.found, fault.allowed) from None
    return Settings(**tables)


def _check_timeout(name: str, health: Health) -> None:
    """
    See that a check that takes its whole time is over when the next one is due.

    @param health: where the timeout is not the default. The default, with a shorter
        interval, is no fault: it is as long as the interval then.
    @raise ConfigurationError: it is not.
    """
    if health.timeout > health.interval:
        raise _fault(
            name,
            "health.timeout",
            f"{health.timeout}, above health.interval, {health.interval}",
            "at most that; raise the interval, or lower the timeout",
        )


def override(
    settings: Settings, *, proxy: Sequence[str] = (), management: Sequence[str] = ()
) -> Settings:
    """
    Settings with the addresses that were given as options, where any were.

    @raise ConfigurationError: one is not an endpoint string.
    """
    for option, given in (("--proxy", proxy), ("--management", management)):
        for description in given:
            _endpoint("options", option, description)
    replace = msgspec.structs.replace
    if proxy:
        settings = replace(settings, proxy=replace(settings.proxy, listen=tuple(proxy)))
    if management:
        settings = replace(
            settings, management=replace(settings.management, listen=tuple(management))
        )
    return settings


def require_token(
    settings: Settings, *, name: str = "configuration", options: bool = False
) -> None:
    """
    See that the management API asks for a token where others than this machine reach
    it, unless that was waived.

    @param name: the configuration file's, for faults.
    @param options: whether the addresses were given as options.
    @raise ConfigurationError: it does not.
    """
    management = settings.management
    if management.token_file is not None or management.insecure:
        return
    for n, description in enumerate(management.listen):
        if not on_this_machine(description):
            raise _fault(
                "options" if options else name,
                "--management" if options else f"management.listen[{n}]",
                f"{_shown(description)}, which others may reach, and no token",
                "an address such as tcp:8687:interface=127.0.0.1 or unix:/run/alacrity, or "
                "management.token_file, or management.insecure = true",
            )


def require_sockets(
    settings: Settings,
    *,
    name: str = "configuration",
    options: Collection[str] = (),
    directory: Path = Path(),
) -> None:
    """
    See that each address to listen on can be had beside the others, as far as that can
    be told without binding them.

    @param name: the configuration file's, for faults.
    @param options: the tables whose addresses were given as options.
    @param directory: the one that the node runs in.
    @raise ConfigurationError: one cannot.
    """
    taken: list[tuple[str, str, Socket]] = []
    for table in ("proxy", "management", "cluster"):
        for n, description in enumerate(getattr(settings, table).listen):
            given = table in options
            source = "options" if given else name
            key = f"--{table}" if given else f"{table}.listen[{n}]"
            socket = socket_of(description)
            fault = socket.fault(directory) if isinstance(socket, UnixSocket) else None
            if fault is not None:
                raise _fault(source, key, f"{_shown(description)}, {fault[0]}", fault[1])
            for other_key, other, other_socket in taken:
                if socket.overlaps(other_socket):
                    raise _fault(
                        source,
                        key,
                        f"{_shown(description)}, which {_shown(other)} of {other_key} takes too",
                        "each address once (tcp:PORT takes every IPv4 address, tcp6:PORT "
                        "those of IPv4 and IPv6)",
                    )
            taken.append((key, description, socket))


def require_secret(settings: Settings, *, name: str = "configuration") -> None:
    """
    See that the secret of the cluster can be used, where one is configured.

    @param name: the configuration file's, for faults.
    @raise ConfigurationError: it cannot.
    """
    if settings.cluster.secret_file:
        try:
            load_secret(Path(settings.cluster.secret_file))
        except SecretError as error:
            raise ConfigurationError(f"{name}: cluster.secret_file: {error}") from None


def require_listen(settings: Settings, *, join: str | None) -> None:
    """
    See that a node that is to join a cluster can be reached by it.

    @param join: the option.
    @raise ConfigurationError: it cannot, or the option is not a URL.
    """
    if join is None:
        return
    if not join.startswith(("http://", "https://")):
        raise _fault("options", "--join", _shown(join), "a URL such as http://10.0.0.1:8687")
    if not settings.cluster.listen:
        raise _fault(
            "options", "--join", f"{_shown(join)} without cluster.listen", "it beside that"
        )


def _beside(name: str, file: str) -> str:
    """
    A relative path is as seen from the configuration file.
    """
    return str((Path(name).parent / file).absolute()) if file else ""


def on_this_machine(description: str) -> bool:
    """
    Whether what listens by an endpoint string is reached from this machine alone, as far
    as the string tells: a Unix socket, or an interface of 127.0.0.0/8 or ::1.
    """
    kind, _, rest = description.partition(":")
    if kind == "unix":
        return True
    if kind not in {"tcp", "tcp6", "ssl"}:
        return False
    # The colons of an IPv6 address are escaped.
    arguments = [each.replace("\\", "") for each in re.split(r"(?<!\\):", rest)]
    named = [each.removeprefix("interface=") for each in arguments if each.startswith("interface=")]
    if not named:
        return False
    try:
        return named[-1] == "localhost" or ip_address(named[-1]).is_loopback
    except ValueError:
        return False


_TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings)
}


def _table(
    name: str, table: str, kind: type[msgspec.Struct], values: dict[str, Any]
) -> msgspec.Struct:
    """
    One table, each of its keys looked at.
    """
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    settings = {}
    for key, value in values.items():
        path = f"{table}.{key}"
        if key not in types:
            allowed = f"the keys {_listed(types)}" if types else "no keys yet"
            raise _fault(name, path, "unknown", allowed)
        settings[key] = _value(name, path, types[key], value)
    return kind(**settings)


def _value(name: str, path: str, kind: Any, value: Any) -> Any:
    """
    One key's value.
    """
    if kind == tuple[Network, ...]:
        networks = _strings(name, path, value)
        return tuple(_network(name, f"{path}[{n}]", each) for n, each in enumerate(networks))
    if kind == tuple[Member, ...]:
        try:
            return read_members(_strings(name, path, value))
        except Fault as fault:
            raise _fault(name, f"cluster.{fault.key}", fault.found, fault.allowed) from None
    if path == "management.hosts":
        names = _strings(name, path, value)
        return tuple(_host(name, f"{path}[{n}]", each) for n, each in enumerate(names))
    if kind == tuple[str, ...]:
        descriptions = _strings(name, path, value)
        if not descriptions:
            raise _fault(name, path, "an empty array", "at least one endpoint string")
        for n, description in enumerate(descriptions):
            _endpoint(name, f"{path}[{n}]", description)
        return tuple(descriptions)
    if kind == Path | None:
        return _token_file(name, path, value)
    rule = _RULES.get(path)
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        if rule is not None:
            allowed = rule[1]
        elif kind in _TYPES:
            allowed = _TYPES[kind]
        else:
            allowed = "one of " + _listed(kind.__args__)
        raise _fault(name, path, _shown(value), allowed) from None
    if rule is not None and not rule[0](converted):
        raise _fault(name, path, _shown(value), rule[1])
    return converted


def _token_file(name: str, path: str, value: Any) -> Path:
    """
    A file with a token; a relative path is as seen from the configuration file.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise _fault(name, path, _shown(value), "the path of a file")
    file = Path(_beside(name, value))
    try:
        read_token(file)
    except TokenError as error:
        raise _fault(name, path, f"{_shown(value)}, {error.found}", error.allowed) from None
    return file


def _strings(name: str, path: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _fault(name, path, _shown(value), "an array of strings")
    return value


def _network(name: str, path: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise _fault(
            name, path, _shown(text), f"a network such as 10.0.0.0/8 ({_one_line(str(error))})"
        ) from None


def _host(name: str, path: str, text: str) -> str:
    """
    A host, in the form in which it is compared with C{Host}.
    """
    host = text.lower().removesuffix(".")
    if not is_address(f"{host}:1"):
        raise _fault(name, path, _shown(text), "a host name, without a port")
    return host


def _endpoint(name: str, path: str, description: str) -> None:
    """
    Have Twisted understand an endpoint string. Nothing is bound.
    """
    kind, _, rest = description.partition(":")
    if kind in {"tcp", "tcp6"} and rest:
        arguments = re.split(r"(?<!\\):", rest)
        named = [each for each in arguments if each.startswith("port=")]
        port = (named or arguments)[0].removeprefix("port=")
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise _fault(name, path, _shown(description), "a port from 0 to 65535")
    try:
        serverFromString(None, description)
    except Exception as error:
        why = _one_line(str(error)) or type(error).__name__
        raise _fault(
            name,
            path,
            _shown(description),
            f"a Twisted endpoint string such as tcp:8080:interface=127.0.0.1 ({why})",
        ) from None


def _fault(name: str, path: str, found: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"{name}: {path}: found {found}; allowed: {allowed}")


def _listed(names: Any) -> str:
    return ", ".join(names)


def _shown(value: object) -> str:
    """
    What was found, in one line and not too long.
    """
    text = ascii(value)
    return text if len(text) <= 80 else text[:80] + "..."


def _one_line(text: str) -> str:
    return " ".join(text.split())
