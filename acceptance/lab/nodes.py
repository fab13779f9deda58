"""
Nodes as C{twistd} runs them, and the test server.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from acceptance.lab.calls import LOOPBACK, Answer, call
from acceptance.lab.processes import Output, Process
from acceptance.lab.waiting import PATIENCE, Broken

TWISTD: Final = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


class Node(Process):
    """
    A node, running or not.

    @ivar directory: its working directory.
    @ivar host: the address at which it is called.
    @ivar proxy: the port of its proxy, once it has L{started}.
    @ivar management: the port of its management API, likewise.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        configuration: str = "",
        twistd: Sequence[str] = (),
        program: Sequence[str] = TWISTD,
        host: str = LOOPBACK,
        interface: str | None = None,
        ports: tuple[int, int] = (0, 0),
        within: Sequence[str] = (),
        descriptors: int | None = None,
        output: Output | None = None,
        environment: Mapping[str, str] | None = None,
        core: int | None = None,
    ) -> None:
        """
        @param options: for C{alacrity}.
        @param configuration: the content of its file.
        @param twistd: options for C{twistd} itself.
        @param program: the command in C{twistd}'s place.
        @param interface: the address that it listens on; empty: all; L{None}: the host.
        @param ports: of proxy and management API; 0: the system chooses.
        @param within: a command that runs others, such as C{nsenter}.
        @param descriptors: how many file descriptors it may have; L{None}: as many as
            this process.
        @param environment: variables that it gets besides this process's.
        @param core: the only one that it runs on; L{None}: it runs on any.
        """
        directory.mkdir(exist_ok=True, parents=True)
        self.directory = directory
        self.host = host
        self.proxy, self.management = ports
        self.configure(configuration)
        where = host if interface is None else interface
        listen = [f"tcp:{port}" + (f":interface={where}" if where else "") for port in ports]
        limited = (
            ()
            if descriptors is None
            else ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh")
        )
        super().__init__(
            [
                *(*within, *limited, *program, "-n", "--pidfile=", *twistd),
                *("alacrity", "--config=alacrity.toml"),
                *(f"--proxy={listen[0]}", f"--management={listen[1]}", *options),
            ],
            directory,
            name=directory.name,
            output=output,
            environment=environment,
            core=core,
        )

    def configure(self, configuration: str) -> None:
        """
        Write its configuration file, for the next start.
        """
        (self.directory / "alacrity.toml").write_text(configuration)

    @property
    def configuration(self) -> str:
        """
        The content of its configuration file.
        """
        return (self.directory / "alacrity.toml").read_text()

    @property
    def state(self) -> Path:
        """
        The directory in which it keeps its state, where no option names another.
        """
        return self.directory / "alacrity-state"

    def started(self, *options: str, environment: Mapping[str, str] | None = None) -> Self:
        """
        Start it, unless it runs, and wait until it serves.

        @param options: for C{alacrity}, in this run.
        """
        if not self.running:
            self.start(*options, environment=environment)
        address = re.escape(self.host)
        self.proxy = int(self.expect(rf"proxy listens on (?:{address}|0\.0\.0\.0):(\d+)")[1])
        self.management = int(
            self.expect(rf"management listens on (?:{address}|0\.0\.0\.0):(\d+)")[1]
        )
        return self

    def get(self, path: str = "/", timeout: float = PATIENCE) -> Answer:
        """
        Make a request through its proxy.
        """
        return call(self.proxy, "GET", path, host=self.host, timeout=timeout)

    def call(
        self, method: str, path: str, document: object = None, timeout: float = PATIENCE
    ) -> Answer:
        """
        Call its management API.

        @raise OSError: there was no answer.
        """
        return call(self.management, method, path, document, host=self.host, timeout=timeout)

    def document(self, path: str, timeout: float = PATIENCE) -> Any:
        """
        A document of its management API.

        @raise ConnectionError: there was no answer, or another than 200.
        """
        answer = self.call("GET", path, timeout=timeout)
        if answer.status != 200:
            raise ConnectionError(f"GET {path} was answered {answer.status}: {answer.body!r}")
        return answer.json()

    def cluster(self) -> dict[str, Any]:
        """
        The cluster as it sees it.

        @raise ConnectionError: there was no answer, or another than 200.
        """
        document: dict[str, Any] = self.document("/cluster", timeout=2.0)
        return document

    def servers(self) -> dict[str, Any]:
        """
        The servers that it knows, by id.

        @raise ConnectionError: there was no answer, or another than 200.
        """
        return {each["id"]: each for each in self.document("/servers")}

    def says_it_leads(self) -> bool:
        """
        True if it leads, by its own account.

        @raise OSError: there was no answer.
        """
        return self.call("GET", "/health/leader", timeout=2.0).status == 200

    def register(self, port: int, *, ip: str = LOOPBACK, **members: object) -> str:
        """
        Register a server with a node that leads, and wait until its log says that the server
        gets traffic.

        @param members: more members of the document.
        @return: its id.
        @raise Broken: it is refused, or does not come up.
        """
        answer = self.call("POST", "/servers", {"ip": ip, "port": port, **members})
        if answer.status not in {200, 201}:
            raise Broken(f"a registration was answered {answer.status}: {answer.body!r}")
        id: str = answer.json()["id"]
        self.expect(rf"server {re.escape(id)} is up")
        return id

    def lines(self, since: int = 0) -> list[str]:
        """
        The lines of its log in all runs, without the times.

        @param since: how many of the first ones to leave out.
        """
        lines = self.output.read().decode(errors="replace").splitlines()[since:]
        return [line.partition(" ")[2] for line in lines]


class TestServer(Process):
    """
    The test server, which runs from the beginning.

    @ivar port: where it listens.
    """

    __test__ = False

    def __init__(self, *options: str) -> None:
        super().__init__([sys.executable, "-m", "alacrity.testserver", *options], Path.cwd())
        self.start()
        self.port = int(self.expect(r"listens on \S+, port (\d+)")[1])
