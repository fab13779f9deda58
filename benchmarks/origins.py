"""
The origin of the measurements: one nginx on the core of the load, under one address or many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.processes import LOAD_CORE
from acceptance.lab.waiting import Broken
from benchmarks.programs import find_program, free_port, nginx, wait_until_listening

FILES = {"/100": 100, "/16k": 16 * 1024, "/100m": 100_000_000, "/chunked": 16 * 1024}
"""The paths of files of zeros, and their sizes. C{/chunked} is sent in four chunks."""

POST = "/post"
"""The path that takes a body, and answers with 100 bytes."""

VARYING = "/varying"
"""The beginning of paths that are answered with other heads each time."""

SERVERS = tuple(f"127.0.0.{number}" for number in range(1, 65))
"""The addresses of an origin that stands for 64 servers."""

_LENGTHS = 16
"""Different lengths of the responses below L{VARYING}, before their path is added."""

_HTTP = """\
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    split_clients $request_id $filling {{ {fillings} }}
    map $request_id $modified {{
        default "Mon, 02 Nov 2026 12:00:00 GMT";
        "~(?<h>\\d)[^\\d]*(?<m>\\d)[^\\d]*(?<s>\\d)" "Mon, 02 Nov 2026 1$h:2$m:3$s GMT";
    }}
    server {{
        {listen}
        root {root};
        location {varying} {{
            add_header ETag '"$request_id"';
            add_header Last-Modified $modified;
            return 200 $filling$request_uri;
        }}
        location = {post} {{ return 200 "{hundred}"; }}
        location = /chunked {{ ssi on; ssi_types *; output_buffers 1 4k; }}
    }}
"""


def least_body(path: str) -> int:
    """
    The size of the body that a path is answered with; below L{VARYING}, the least size.
    """
    return FILES.get(path, 100)


@contextmanager
def origin(directory: Path, hosts: str | Sequence[str] = LOOPBACK) -> Iterator[int]:
    """
    Run the origin; its port.

    @param hosts: the addresses it listens on.
    @raise Broken: it does not start, or is not here.
    """
    program = find_program("nginx")
    if program is None:
        raise Broken("the origin is an nginx: apt-get install nginx-light")
    root = directory / "root"
    root.mkdir()
    for path, size in FILES.items():
        with (root / path[1:]).open("wb") as file:
            file.truncate(size)
    port = free_port()
    addresses = [hosts] if isinstance(hosts, str) else hosts
    http = _HTTP.format(
        listen=" ".join(f"listen {host}:{port} backlog=4096;" for host in addresses),
        root=root,
        varying=VARYING,
        post=POST,
        hundred="0" * 100,
        fillings=_fillings(),
    )
    with nginx("origin", program, http, directory, LOAD_CORE) as child:
        wait_until_listening(child, port)
        yield port


def _fillings() -> str:
    """
    Bodies of as many lengths, each as likely: from 100 bytes up.
    """
    shares = [f'{100 / _LENGTHS:.2f}% "{"0" * (100 + 7 * n)}";' for n in range(_LENGTHS - 1)]
    return " ".join([*shares, f'* "{"0" * (100 + 7 * _LENGTHS)}";'])
