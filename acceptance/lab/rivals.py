"""
The proxies that are compared where servers fail: Alacrity as it is by default, and HAProxy.
"""

from __future__ import annotations

import csv
import shutil
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.clusters import free_ports
from acceptance.lab.nodes import Node
from acceptance.lab.origins import HEALTH
from acceptance.lab.processes import FileOutput, Process
from acceptance.lab.waiting import Broken, wait_until

Address = tuple[str, int]


class Setting(NamedTuple):
    """
    A scenario's wishes for a proxy.

    @ivar tcp: whether servers are checked by TCP, and not by HTTP.
    @ivar register: whether to register servers with Alacrity; else they do so themselves.
    @ivar toml: more of Alacrity's configuration.
    @ivar backend: more lines of HAProxy's.
    @ivar server: more words for each of HAProxy's servers.
    """

    tcp: bool = False
    register: bool = True
    toml: str = ""
    backend: str = ""
    server: str = ""


class Count(NamedTuple):
    """
    A proxy's own statistics.

    @ivar clients: requests of clients.
    @ivar attempts: attempts on servers, also where nothing could be sent.
    """

    clients: int
    attempts: int


class Rival(Protocol):
    """
    A proxy that may be compared.
    """

    address: Address

    def serve(self, servers: Sequence[Address]) -> None:
        """
        Send requests to these servers; returns once all get them.
        """

    def count(self) -> Count:
        """
        Its statistics.
        """

    def failures(self, server: Address) -> int:
        """
        The failed attempts on a server, by its statistics.
        """

    def in_service(self) -> int:
        """
        The number of servers that are up.
        """

    def kill(self) -> None:
        """
        End it.
        """


def name_of(server: Address) -> str:
    """
    A server's id.
    """
    return f"{server[0]}:{server[1]}"


class Alacrity:
    """
    A node by itself.
    """

    name: Final = "alacrity"

    def __init__(self, directory: Path, setting: Setting) -> None:
        output = FileOutput(directory / "alacrity.log")
        self.node = Node(directory / "node", configuration=setting.toml, output=output)
        self.node.started()
        self.address: Address = (LOOPBACK, self.node.proxy)
        self._register = setting.register
        self._check = {"type": "tcp"} if setting.tcp else {"type": "http", "path": HEALTH}

    def serve(self, servers: Sequence[Address]) -> None:
        for ip, port in servers if self._register else ():
            document = {"ip": ip, "port": port, "check": self._check}
            answer = self.node.call("POST", "/servers", document)
            if answer.status != 201:
                raise Broken(f"a registration was answered {answer.status}: {answer.body!r}")
        wait_until(lambda: self.in_service() == len(servers), "all servers are up")

    def count(self) -> Count:
        document = self.node.document("/stats")
        return Count(*(sum(document[side].values()) for side in ("client", "server")))

    def failures(self, server: Address) -> int:
        detail = {each["id"]: each for each in self.node.document("/stats/detail")}
        failed: int = detail[name_of(server)]["failed"]
        return failed

    def in_service(self) -> int:
        return sum(each["state"] == "up" for each in self.node.servers().values())

    def kill(self) -> None:
        self.node.kill()


_HAPROXY: Final = """\
global
    nbthread 1
    maxconn 4000
    stats socket {socket} level admin
defaults
    mode http
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    retries 3
    option redispatch
    option forwardfor
    http-reuse always
    balance roundrobin
frontend clients
    bind {host}:{port} backlog 4096
    default_backend servers
backend servers
    {check}
{more}
{servers}
"""


class Haproxy(Process):
    """
    HAProxy with servers that are checked every 2 s.
    """

    def __init__(self, directory: Path, setting: Setting) -> None:
        program = find_haproxy()
        if program is None:
            raise Broken("there is no haproxy: apt-get install haproxy")
        directory.mkdir(exist_ok=True, parents=True)
        self.address: Address = (LOOPBACK, free_ports(1)[0])
        self._setting = setting
        self._file = directory / "haproxy.cfg"
        # A path in the directory may be longer than sockets may have.
        self._socket = f"/tmp/alacrity-haproxy-{self.address[1]}.sock"  # noqa: S108 - removed in the end
        output = FileOutput(directory / "haproxy.log")
        super().__init__(
            [program, "-db", "-f", self._file], directory, name="haproxy", output=output
        )

    def serve(self, servers: Sequence[Address]) -> None:
        line = f"check inter 2s fall 3 rise 2 {self._setting.server}"
        self._file.write_text(
            _HAPROXY.format(
                host=self.address[0],
                port=self.address[1],
                socket=self._socket,
                more=self._setting.backend,
                check="" if self._setting.tcp else f"option httpchk GET {HEALTH}",
                servers="\n".join(
                    f"    server {name_of(each).replace(':', '_')} {name_of(each)} {line}"
                    for each in servers
                ),
            )
        )
        self.start()
        self.wait_until(lambda: self._checked() == len(servers), "done with its first checks")

    def tell(self, command: str) -> str:
        """
        Give a command to its runtime API.

        @return: what it says.
        """
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(5.0)
            connection.connect(self._socket)
            connection.sendall(f"{command}\n".encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode()

    def administer(self, server: Address, state: str) -> None:
        """
        Set a server to C{drain} or C{ready}.
        """
        self.tell(f"set server servers/{name_of(server).replace(':', '_')} state {state}")

    def _statistics(self) -> list[dict[str, str]]:
        lines = self.tell("show stat").lstrip("# ").splitlines()
        return list(csv.DictReader(lines))

    def _servers(self) -> dict[str, dict[str, str]]:
        return {
            row["svname"]: row
            for row in self._statistics()
            if row["pxname"] == "servers" and row["svname"] != "BACKEND"
        }

    def _checked(self) -> int:
        return sum(row["check_status"] in {"L7OK", "L4OK"} for row in self._servers().values())

    def count(self) -> Count:
        (total,) = (row for row in self._statistics() if row["svname"] == "FRONTEND")
        servers = self._servers().values()
        attempts = sum(int(row["stot"]) + int(row["wretr"]) for row in servers)
        return Count(int(total["req_tot"]), attempts)

    def failures(self, server: Address) -> int:
        row = self._servers()[name_of(server).replace(":", "_")]
        return sum(int(row[field] or 0) for field in ("econ", "eresp", "wretr", "wredis"))

    def in_service(self) -> int:
        return sum(row["status"].startswith("UP") for row in self._servers().values())

    def kill(self) -> None:
        super().kill()
        Path(self._socket).unlink(missing_ok=True)


def find_haproxy() -> str | None:
    """
    The path of HAProxy's program, if it is installed.
    """
    return shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
