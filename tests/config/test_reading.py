"""
Tests for L{alacrity.config.reading}: the keys of a configuration file, and how its faults
are told.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import (
    ConfigurationError,
    Settings,
    load,
    override,
    parse,
)

FAULTS = {
    # The text; how its fault is told, after the file's name.
    "[proxy": "not TOML: Expected ']' at the end of a table declaration (at end of document)",
    "[proxy]\n[proxy]": "not TOML: Cannot declare ('proxy',) twice (at line 2, column 7)",
    "proxy = 1": "proxy: found 1; allowed: a table",
    "[[proxy]]": "proxy: found [{}]; allowed: a table",
    "[prxy]": (
        "prxy: found unknown; allowed: the tables proxy, management, health, timeouts, limits, "
        "cluster, log"
    ),
    "[proxy]\nlisten = 8080": "proxy.listen: found 8080; allowed: an array of strings",
    "[proxy]\nlisten = 'tcp:8080'": (
        "proxy.listen: found 'tcp:8080'; allowed: an array of strings"
    ),
    "[proxy]\nlisten = []": (
        "proxy.listen: found an empty array; allowed: at least one endpoint string"
    ),
    "[proxy]\nlisten = ['tcp:8080', 'tcp:http']": (
        "proxy.listen[1]: found 'tcp:http'; allowed: a port from 0 to 65535"
    ),
    "[proxy]\nlisten = ['tcp:65536']": (
        "proxy.listen[0]: found 'tcp:65536'; allowed: a port from 0 to 65535"
    ),
    "[proxy]\nvia = 'two words'": (
        "proxy.via: found 'two words'; allowed: a token, such as a host name"
    ),
    "[proxy]\ntrusted_proxies = ['10.0.0.1/8']": (
        "proxy.trusted_proxies[0]: found '10.0.0.1/8'; allowed: a network such as 10.0.0.0/8 "
        "(10.0.0.1/8 has host bits set)"
    ),
    "[proxy]\nlog = true": (
        "proxy.log: found unknown; allowed: the keys listen, via, trusted_proxies, reuse"
    ),
    "[health]\ninterval = '5s'": (
        "health.interval: found '5s'; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[health]\ninterval = 0": (
        "health.interval: found 0; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[health]\ninterval = nan": (
        "health.interval: found nan; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[health]\ninterval = true": (
        "health.interval: found True; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[health]\nderegister_after = -1": (
        "health.deregister_after: found -1; allowed: a number of seconds from 1 to 31536000, or 0 for never"
    ),
    "[health]\ninterval = 1e-300": (
        "health.interval: found 1e-300; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[health]\nfast_interval = 0.09": (
        "health.fast_interval: found 0.09; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[health]\nfast_interval = 1e300": (
        "health.fast_interval: found 1e+300; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[health]\ntimeout = 1e-300": (
        "health.timeout: found 1e-300; allowed: a number of seconds from 0.001 to 86400"
    ),
    "[health]\ninterval = 1\ntimeout = 1.5": (
        "health.timeout: found 1.5, above health.interval, 1.0; allowed: at most that; raise the "
        "interval, or lower the timeout"
    ),
    "[health]\ntimeout = 10": (
        "health.timeout: found 10.0, above health.interval, 5.0; allowed: at most that; raise the "
        "interval, or lower the timeout"
    ),
    "[health]\nderegister_after = 1e-300": (
        "health.deregister_after: found 1e-300; allowed: a number of seconds from 1 to 31536000, "
        "or 0 for never"
    ),
    "[health]\nderegister_after = nan": (
        "health.deregister_after: found nan; allowed: a number of seconds from 1 to 31536000, "
        "or 0 for never"
    ),
    "[timeouts]\ndrain = nan": (
        "timeouts.drain: found nan; allowed: a number of seconds, at most 86400"
    ),
    "[timeouts]\nclient_idle = 1e-300": (
        "timeouts.client_idle: found 1e-300; allowed: a number of seconds from 0.001 to 86400"
    ),
    "[health]\nderegister_after = inf": (
        "health.deregister_after: found inf; allowed: a number of seconds from 1 to 31536000, or 0 for never"
    ),
    "[proxy]\nreuse = 'sometimes'": (
        "proxy.reuse: found 'sometimes'; allowed: one of always, safe, never"
    ),
    "[limits]\nresponse_rate = -1": (
        "limits.response_rate: found -1; allowed: a whole number from 1, or 0 for no limit"
    ),
    "[health]\njitter = 2": "health.jitter: found 2; allowed: a number from 0 to 1",
    "[health]\nrise = 0": "health.rise: found 0; allowed: a whole number from 1",
    "[health]\nrise = 1.5": "health.rise: found 1.5; allowed: a whole number from 1",
    "[timeouts]\nconnect = 0": (
        "timeouts.connect: found 0; allowed: a number of seconds from 0.001 to 86400"
    ),
    "[timeouts]\ndrain = -1": (
        "timeouts.drain: found -1; allowed: a number of seconds, at most 86400"
    ),
    "[management]\nhosts = 'a'": "management.hosts: found 'a'; allowed: an array of strings",
    "[management]\nhosts = ['a', 'a:80']": (
        "management.hosts[1]: found 'a:80'; allowed: a host name, without a port"
    ),
    "[management]\nhosts = ['*']": (
        "management.hosts[0]: found '*'; allowed: a host name, without a port"
    ),
    "[limits]\nheader_count = 0": "limits.header_count: found 0; allowed: a whole number from 1",
    "[limits]\nbody_bytes = -1": (
        "limits.body_bytes: found -1; allowed: a whole number from 1, or 0 for no limit"
    ),
    "[limits]\nbody_rate = -1": (
        "limits.body_rate: found -1; allowed: a whole number from 1, or 0 for no limit"
    ),
    "[limits]\nconnections_per_address = 1.5": (
        "limits.connections_per_address: found 1.5; allowed: a whole number from 1, or 0 for no "
        "limit"
    ),
    "[log]\nlevel = 'loud'": (
        "log.level: found 'loud'; allowed: one of debug, info, warn, error, critical"
    ),
    "[log]\nformat = 1": "log.format: found 1; allowed: one of text, json",
    "[log]\naccess = 'on'": "log.access: found 'on'; allowed: one of off, combined, json",
}

ALL = """
[proxy]
listen = ["tcp:80", "tcp6:80:interface=\\\\:\\\\:1", "unix:/run/proxy.sock"]
via = "edge-1"
trusted_proxies = ["10.0.0.0/8", "2001:db8::/32"]
reuse = "safe"
[management]
listen = ["tcp:0:interface=127.0.0.1"]
[health]
interval = 2
fast_interval = 0.5
jitter = 0
timeout = 1.5
rise = 1
fall = 1
deregister_after = 0
[timeouts]
connect = 1
server_response = 2
client_header = 3
client_idle = 4
server_idle = 5
drain = 0
tunnel_idle = 6
[limits]
request_line = 100
header_bytes = 200
header_count = 10
body_bytes = 1000
client_connections = 20
connections_per_address = 10
body_rate = 0
response_rate = 600
idle_per_server = 0
requests_per_connection = 7
[log]
level = "debug"
format = "json"
access = "combined"
"""


class ParseTests(SynchronousTestCase):
    """
    The text of a configuration file.
    """

    def test_nothing(self) -> None:
        """
        Everything has a default, and the defaults are what the contracts say.
        """
        settings = parse("")
        self.assertEqual(settings, Settings())
        self.assertEqual(
            msgspec.to_builtins(settings),
            {
                "proxy": {
                    "listen": ("tcp:8080",),
                    "via": "alacrity",
                    "trusted_proxies": (),
                    "reuse": "always",
                },
                "management": {
                    "listen": ("tcp:8687:interface=127.0.0.1",),
                    "token_file": None,
                    "insecure": False,
                    "connections": 256,
                    "hosts": (),
                },
                "health": {
                    "interval": 5.0,
                    "fast_interval": 1.0,
                    "jitter": 0.1,
                    "timeout": 2.0,
                    "rise": 2,
                    "fall": 3,
                    "deregister_after": 86400.0,
                },
                "timeouts": {
                    "connect": 3.0,
                    "server_response": 60.0,
                    "client_header": 10.0,
                    "client_idle": 60.0,
                    "server_idle": 30.0,
                    "drain": 30.0,
                    "tunnel_idle": 3600.0,
                },
                "limits": {
                    "request_line": 16384,
                    "header_bytes": 32768,
                    "header_count": 100,
                    "body_bytes": 0,
                    "client_connections": 10000,
                    "connections_per_address": 0,
                    "body_rate": 500,
                    "response_rate": 500,
                    "idle_per_server": 32,
                    "requests_per_connection": 0,
                },
                "cluster": {
                    "listen": (),
                    "advertise": "",
                    "name": "",
                    "members": (),
                    "secret_file": "",
                    "serve": "all",
                    "fsync": True,
                },
                "log": {"level": "info", "format": "text", "access": "off"},
            },
        )

    def test_everything(self) -> None:
        """
        Each key is taken over.
        """
        token = Path(self.mktemp())
        token.touch(0o600)
        token.write_text("0123456789" * 4)
        key = f"token_file = {str(token.absolute())!r}\ninsecure = true\nconnections = 9\nhosts = ['Node-A.', 'b']"
        settings = parse(ALL.replace("[management]", f"[management]\n{key}"))
        self.assertEqual(settings.proxy.via, "edge-1")
        self.assertEqual(len(settings.proxy.listen), 3)
        self.assertEqual(settings.management.hosts, ("node-a", "b"))
        self.assertEqual(
            settings.proxy.trusted_proxies, (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
        )
        default = Settings()
        for table in ("management", "health", "timeouts", "limits", "log"):
            found, usual = getattr(settings, table), getattr(default, table)
            for key in found.__struct_fields__:
                self.assertNotEqual(getattr(found, key), getattr(usual, key), f"{table}.{key}")

    def test_shorter_interval(self) -> None:
        """
        The default timeout may be above an interval: it is as long as that then.
        """
        self.assertEqual(parse("[health]\ninterval = 0.1").health.timeout, 2.0)
        self.assertEqual(parse("[health]\ninterval = 1\ntimeout = 1").health.timeout, 1.0)

    def test_faults(self) -> None:
        """
        A fault names the file, the key, what was found and what is allowed, in one
        line.
        """
        for text, fault in FAULTS.items():
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                parse(text, "a.toml")
            self.assertEqual(str(caught.exception), f"a.toml: {fault}")

    def test_endpoints(self) -> None:
        """
        Twisted's own words stand in the fault of an endpoint string.
        """
        for description in (
            "8080",
            "tcp",
            "nonsense:1",
            "tcp:80:colour=red",
            "",
        ):
            with self.assertRaises(ConfigurationError, msg=description) as caught:
                parse(f"[management]\nlisten = ['{description}']", "a.toml")
            said = str(caught.exception)
            self.assertTrue(said.startswith("a.toml: management.listen[0]: found "), said)
            self.assertIn("a Twisted endpoint string", said)

    def test_named_port(self) -> None:
        """
        A port may stand under its name, anywhere.
        """
        for description in ("tcp:port=80", "tcp6:interface=\\:\\:1:port=80"):
            settings = override(Settings(), proxy=[description])
            self.assertEqual(settings.proxy.listen, (description,))

    @given(st.text() | st.recursive(st.none() | st.integers(), st.lists).map(str))
    def test_any_text(self, text: str) -> None:
        """
        Any text makes settings, or a fault of one line.
        """
        for candidate in (text, f"[proxy]\nvia = {text}", f"[limits]\nbody_bytes = {text}"):
            try:
                settings = parse(candidate)
            except ConfigurationError as error:
                self.assertIsNone(re.search(r"[\r\n]", str(error)))
            else:
                self.assertIsInstance(settings, Settings)


class LoadTests(SynchronousTestCase):
    """
    The file itself.
    """

    def test_file(self) -> None:
        """
        It is read as UTF-8.
        """
        path = Path(self.mktemp())
        path.write_text('# Grüße\n[proxy]\nvia = "x"\n', encoding="utf-8")
        self.assertEqual(load(path).proxy.via, "x")

    def test_cannot_be_read(self) -> None:
        """
        That is a fault like another.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "binary").write_bytes(b"# \xff")
        for path, fault in (
            (directory / "missing", "No such file or directory"),
            (directory / "binary", "byte 2 is not UTF-8"),
            (directory, "Is a directory"),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                load(path)
            self.assertEqual(str(caught.exception), f"{path}: {fault}")


class OverrideTests(SynchronousTestCase):
    """
    Options, which win over the file.
    """

    def test_addresses(self) -> None:
        """
        Addresses given replace all that are configured; the rest stays.
        """
        settings = parse(ALL)
        self.assertEqual(override(settings), settings)
        changed = override(settings, proxy=["tcp:1", "tcp:2"], management=["tcp:3"])
        self.assertEqual(changed.proxy.listen, ("tcp:1", "tcp:2"))
        self.assertEqual(changed.proxy.via, "edge-1")
        self.assertEqual(changed.management.listen, ("tcp:3",))
        self.assertEqual(changed.health, settings.health)

    def test_fault(self) -> None:
        """
        The fault names the option.
        """
        with self.assertRaises(ConfigurationError) as caught:
            override(Settings(), management=["tcp:x"])
        self.assertEqual(
            str(caught.exception),
            "options: --management: found 'tcp:x'; allowed: a port from 0 to 65535",
        )
