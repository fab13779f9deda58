"""
Programs of this machine, run for a measurement: found, started on one core, waited for.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.processes import FileOutput, Process

CONNECTIONS = 8000
"""Connections that each proxy is told to allow, where it has such a limit."""

_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/{name}.pid;
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


def find_program(name: str) -> str | None:
    """
    The path of a program, also if it is one for administrators.
    """
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_port() -> int:
    """
    A port that nobody listens on, as the system chooses.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_listening(process: Process, port: int) -> None:
    """
    Wait until a process accepts connections.

    @raise Broken: it does not.
    """

    def accepts() -> bool:
        socket.create_connection((LOOPBACK, port), 1).close()
        return True

    process.wait_until(accepts, f"listening on port {port}")


@contextmanager
def running(
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


@contextmanager
def nginx(name: str, program: str, http: str, directory: Path, core: int) -> Iterator[Process]:
    """
    An nginx with one worker.

    @param http: the directives of its C{http} block that are not those of every nginx here.
    """
    config = directory / f"{name}.conf"
    # Else the worker, as a user of its own, cannot read the temporary directory.
    user = "user root;" if os.geteuid() == 0 else ""
    connections = 2 * CONNECTIONS
    config.write_text(
        _NGINX.format(name=name, directory=directory, user=user, http=http, connections=connections)
    )
    command: list[str | Path] = [program, "-p", directory, "-e", "stderr", "-c", config]
    with running(name, command, directory, core) as child:
        yield child
