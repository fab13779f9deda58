"""
Tests for L{alacrity.config.consistency}. The faults of tables in themselves are in
L{tests.config.test_reading} and L{tests.config.test_cluster}, tokens in
L{tests.config.test_token}.
"""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import (
    ClusterSettings,
    ConfigurationError,
    ManagementSettings,
    ProxySettings,
    Settings,
    parse,
    require_listen,
    require_sockets,
)


class SocketTests(SynchronousTestCase):
    """
    Addresses to listen on, seen together.
    """

    def fault(self, options: tuple[str, ...] = (), **listen: Any) -> str:
        """
        The fault of the addresses; empty: there is none.
        """
        tables = {
            "proxy": ProxySettings(("unix:proxy",)),
            "management": ManagementSettings(("unix:management",)),
            "cluster": ClusterSettings(),
        }
        for table, descriptions in listen.items():
            tables[table] = msgspec.structs.replace(tables[table], listen=tuple(descriptions))
        try:
            require_sockets(Settings(**tables), name="a.toml", options=options)  # type: ignore[arg-type]
        except ConfigurationError as error:
            return str(error)
        return ""

    def test_twice(self) -> None:
        """
        The same address, however it is spelled, in whatever tables.
        """
        # A path of mktemp() would be too long.
        short = Path(mkdtemp())
        self.addCleanup(rmtree, short)
        link = short / "link"
        link.symlink_to(Path.cwd())
        for one, other in (
            ("tcp:8080", "tcp:8080"),
            ("tcp:8080", "tcp:port=8080"),
            ("tcp:8080", "tcp:8080:interface=0.0.0.0"),
            ("tcp:8080", "tcp:8080:interface=0"),
            ("tcp:8080", "tcp:8080:interface=127.0.0.1"),
            ("tcp:8080", "tcp:8080:interface=example.org"),
            ("tcp:8080:interface=localhost", "tcp:8080:interface=127.0.0.1"),
            ("tcp:8080:interface=127.1", "tcp:8080:interface=127.0.0.1"),
            ("tcp6:8080", "tcp:8080:interface=0\\:\\:0"),
            ("tcp6:8080", "tcp6:8080:interface=example.org"),
            ("tcp6:8080:interface=\\:\\:1", "tcp6:8080"),
            ("tcp6:8080:interface=\\:\\:1", "tcp6:8080:interface=0\\:0\\:\\:1"),
            ("tcp6:8080:interface=\\:\\:ffff\\:127.0.0.1", "tcp:8080:interface=127.0.0.1"),
            ("unix:a", "unix:./a:mode=660"),
            ("unix:a", f"unix:{Path('a').absolute()}"),
            ("unix:a", f"unix:{link}/a"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ):
            for first, second in ((one, other), (other, one)):
                said = self.fault(proxy=[first, second])
                self.assertTrue(said.startswith("a.toml: proxy.listen[1]: found "), (one, other))
                self.assertIn("of proxy.listen[0] takes too; allowed: each address once", said)
            for table, before in (("management", "proxy"), ("cluster", "proxy")):
                said = self.fault((), **{before: [one], table: ["unix:other", other]})
                self.assertTrue(said.startswith(f"a.toml: {table}.listen[1]: found "), said)
        said = self.fault(("management",), proxy=["tcp:1"], management=["tcp:1"])
        self.assertEqual(
            said,
            "options: --management: found 'tcp:1', which 'tcp:1' of proxy.listen[0] takes too; "
            "allowed: each address once (tcp:PORT takes every IPv4 address, tcp6:PORT every "
            "IPv6 address)",
        )

    def test_beside_each_other(self) -> None:
        """
        Different ports, different addresses, IPv4 beside IPv6, any port.
        """
        for one, other in (
            ("tcp:8080", "tcp:8081"),
            ("tcp:0", "tcp:0"),
            ("tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"),
            ("tcp:8080:interface=127.0.0.1", "tcp:8080:interface=127.0.0.2"),
            ("tcp:8080", "tcp6:8080"),
            ("tcp:8080", "tcp6:8080:interface=\\:\\:"),
            ("tcp:8080:interface=10.0.0.1", "tcp6:8080"),
            ("tcp6:8080:interface=\\:\\:ffff\\:10.0.0.1", "tcp6:8080"),
            ("tcp:8080", "tcp6:8080:interface=\\:\\:1"),
            ("tcp6:8080:interface=\\:\\:1", "tcp6:8080:interface=fe80\\:\\:1"),
            ("unix:a", "unix:b"),
            ("unix:a", "tcp:80"),
        ):
            self.assertEqual(self.fault(proxy=[one, other]), "")

    def test_unix_paths(self) -> None:
        """
        The directory exists, nothing else has the path, and it fits into the kernel's
        structure.
        """
        # A path of mktemp() would be too long.
        taken = Path(mkdtemp())
        self.addCleanup(rmtree, taken)
        (taken / "file").touch()
        for place, found in (
            (taken, "the path of a directory"),
            (taken / "file", "the path of a file"),
        ):
            self.assertRegex(
                self.fault(management=[f"unix:{place}"]),
                rf"^a.toml: management.listen\[0\]: found 'unix:.*, {found}; allowed: one where "
                "nothing is, or a socket$",
            )
        self.assertEqual(
            self.fault(proxy=["unix:"]),
            "a.toml: proxy.listen[0]: found 'unix:', an empty path; allowed: the path of a "
            "socket, such as unix:/run/alacrity.sock",
        )
        self.assertEqual(
            self.fault(management=["unix:/missing/deep/a:mode=600"]),
            "a.toml: management.listen[0]: found 'unix:/missing/deep/a:mode=600', a socket in "
            "'/missing/deep', which is no directory; allowed: a path in a directory that exists",
        )
        Path("file").touch()
        self.assertIn("is no directory", self.fault(proxy=["unix:file/a"]))
        self.assertIn("is no directory", self.fault(cluster=["unix:missing/a"]))
        self.assertEqual(self.fault(proxy=["unix:" + "a" * 107]), "")
        for path in ("a" * 108, "ä" * 54):
            self.assertIn(
                ", a path of 108 bytes; allowed: at most 107 bytes",
                self.fault(proxy=[f"unix:{path}"]),
            )

    def test_defaults(self) -> None:
        """
        They go together.
        """
        require_sockets(Settings())


class JoinTests(SynchronousTestCase):
    """
    The option C{--join}.
    """

    def test_join(self) -> None:
        """
        A node that joins a cluster has to be reached by it.
        """
        require_listen(Settings(), join=None)
        listening = parse("[cluster]\nlisten = ['tcp:8688:interface=127.0.0.1']")
        require_listen(listening, join="http://a:8687")
        for settings, url, found in (
            (Settings(), "http://a:8687", "'http://a:8687' without cluster.listen"),
            (listening, "a:8687", "'a:8687'"),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                require_listen(settings, join=url)
            self.assertIn(f"options: --join: found {found}; allowed: ", str(caught.exception))
