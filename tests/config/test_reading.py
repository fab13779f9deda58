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
from alacrity.net.addresses import TrustedPeers

FAULTS = {
    # The text; how its fault is told, after the file's name.
    "[proxy": "not TOML: Expected ']' at the end of a table declaration (at end of document)",
    "[proxy]\n[proxy]": "not TOML: Cannot declare ('proxy',) twice (at line 2, column 7)",
    "proxy = 1": "proxy: found 1; allowed: a table",
    "[[proxy]]": "proxy: found [{}]; allowed: a table",
    "[prxy]": (
        "prxy: found unknown; allowed: the tables proxy, management, health, timeouts, limits, "
        "balance, sticky, queue, ejection, retries, cluster, log"
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
        "proxy.log: found unknown; allowed: the keys listen, via, trusted_proxies, reuse, upgrades"
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
    "[proxy]\nupgrades = ['tcp', 'h2c']": (
        "proxy.upgrades[1]: found 'h2c'; allowed: a protocol that carries no HTTP, as that would"
        " pass unread"
    ),
    "[proxy]\nupgrades = ['HTTP/2.0']": (
        "proxy.upgrades[0]: found 'HTTP/2.0'; allowed: a protocol that carries no HTTP, as that"
        " would pass unread"
    ),
    "[proxy]\nupgrades = ['TLS/1.3']": (
        "proxy.upgrades[0]: found 'TLS/1.3'; allowed: a protocol that carries no HTTP, as that"
        " would pass unread"
    ),
    "[proxy]\nupgrades = ['H2C']": (
        "proxy.upgrades[0]: found 'H2C'; allowed: a protocol that carries no HTTP, as that would"
        " pass unread"
    ),
    "[proxy]\nupgrades = ['a, b']": (
        "proxy.upgrades[0]: found 'a, b'; allowed: a protocol as Upgrade names it, such as"
        " websocket or SPDY/3.1"
    ),
    "[proxy]\nupgrades = ['']": (
        "proxy.upgrades[0]: found ''; allowed: a protocol as Upgrade names it, such as"
        " websocket or SPDY/3.1"
    ),
    "[proxy]\nupgrades = ['a/b/c']": (
        "proxy.upgrades[0]: found 'a/b/c'; allowed: a protocol as Upgrade names it, such as"
        " websocket or SPDY/3.1"
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
    "[health]\nfail_open = 1": "health.fail_open: found 1; allowed: true or false",
    "[health]\nguard_share = 1.1": "health.guard_share: found 1.1; allowed: a number from 0 to 1",
    "[health]\nguard_window = 0": (
        "health.guard_window: found 0; allowed: a number of seconds from 1.0 to 86400"
    ),
    "[health]\nlease_deregister_after = 0.5": (
        "health.lease_deregister_after: found 0.5; allowed: a number of seconds from 1 to 31536000, "
        "or 0 for never"
    ),
    "[balance]\nmethod = 'random'": (
        "balance.method: found 'random'; allowed: one of round_robin, least_requests, hash"
    ),
    "[balance]\nkey = 'header:'": (
        "balance.key: found 'header:'; allowed: ip, path, header:NAME, cookie:NAME or query:NAME"
    ),
    "[balance]\nkey = 'cookie:a b'": (
        "balance.key: found 'cookie:a b'; allowed: ip, path, header:NAME, cookie:NAME or query:NAME"
    ),
    "[balance]\nbound = 0.9": "balance.bound: found 0.9; allowed: a number from 1 to 100",
    "[balance]\nbound = nan": "balance.bound: found nan; allowed: a number from 1 to 100",
    "[balance]\nslow_start = -1": (
        "balance.slow_start: found -1; allowed: a number of seconds, at most 86400"
    ),
    "[balance]\ngroups = ['canary']": (
        "balance.groups: found ['canary']; allowed: a table of weights, such as "
        "{ canary = 5, stable = 95 }"
    ),
    "[balance.groups]\nCanary = 5": (
        "balance.groups: found 'Canary'; allowed: names of 1 to 63 of a-z, 0-9 and -"
    ),
    "[balance.groups]\ncanary = 1001": (
        "balance.groups.canary: found 1001; allowed: a whole number from 0 to 1000"
    ),
    "[balance.groups]\ncanary = true": (
        "balance.groups.canary: found True; allowed: a whole number from 0 to 1000"
    ),
    "[sticky]\ncookie = 'a b'": (
        "sticky.cookie: found 'a b'; allowed: the name of a cookie (letters, digits, - and _), or "
        "nothing"
    ),
    "[sticky]\nmax_age = 0.5": (
        "sticky.max_age: found 0.5; allowed: a whole number of seconds from 0 to 31536000"
    ),
    "[sticky]\ndomain = 'a;b'": (
        "sticky.domain: found 'a;b'; allowed: a domain such as shop.example, or nothing"
    ),
    "[sticky]\nsame_site = 'lax'": (
        "sticky.same_site: found 'lax'; allowed: one of Strict, Lax, None"
    ),
    "[queue]\nmax_requests = -1": ("queue.max_requests: found -1; allowed: a whole number from 0"),
    "[queue]\nmax_requests_scope = 'pool'": (
        "queue.max_requests_scope: found 'pool'; allowed: one of node, cluster"
    ),
    "[queue]\nsize = true": "queue.size: found True; allowed: a whole number from 0",
    "[queue]\ntimeout = 0": (
        "queue.timeout: found 0; allowed: a number of seconds from 0.001 to 86400"
    ),
    "[ejection]\nsilence = -1": (
        "ejection.silence: found -1; allowed: a number of seconds, at most 86400"
    ),
    "[ejection]\nfailures = 0.5": "ejection.failures: found 0.5; allowed: a whole number from 0",
    "[ejection]\nstatuses = 503": (
        "ejection.statuses: found 503; allowed: an array of statuses from 400 to 599"
    ),
    "[ejection]\nstatuses = [200]": (
        "ejection.statuses: found [200]; allowed: an array of statuses from 400 to 599"
    ),
    "[ejection]\nduration = 0": (
        "ejection.duration: found 0; allowed: a number of seconds from 0.1 to 86400"
    ),
    "[ejection]\nmax_share = 50": "ejection.max_share: found 50; allowed: a number from 0 to 1",
    "[retries]\nattempts = 0": "retries.attempts: found 0; allowed: a whole number from 1",
    "[retries]\non = 'reset'": "retries.on: found 'reset'; allowed: an array of strings",
    "[retries]\non = ['500']": (
        "retries.on: found '500'; allowed: an array of connect, reused, reset, timeout, 502, 503, "
        "504"
    ),
    "[retries]\nbudget = 101": "retries.budget: found 101; allowed: a number from 0 to 100",
    "[retries]\nbudget_window = 0.5": (
        "retries.budget_window: found 0.5; allowed: a number of seconds from 1.0 to 86400"
    ),
    "[retries]\nbudget_minimum = -1": (
        "retries.budget_minimum: found -1; allowed: a whole number from 0"
    ),
    "[log]\naccess = 'on'": "log.access: found 'on'; allowed: one of off, combined, json",
}

ALL = """
[proxy]
listen = ["tcp:80", "tcp6:80:interface=\\\\:\\\\:1", "unix:/run/proxy.sock"]
via = "edge-1"
trusted_proxies = ["10.0.0.0/8", "2001:db8::/32"]
reuse = "safe"
upgrades = ["websocket", "tcp", "SPDY/3.1"]
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
lease_deregister_after = 60
fail_open = false
guard_share = 0.5
guard_window = 30
witnesses = false
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
[balance]
method = "hash"
key = "header:X-User"
bound = 2
slow_start = 30
groups = { canary = 5, stable = 95 }
[sticky]
cookie = "session"
max_age = 3600
domain = "shop.example"
same_site = "Strict"
[queue]
max_requests = 100
max_requests_scope = "cluster"
size = 10
timeout = 1
[ejection]
silence = 0
failures = 3
statuses = [500, 503, 500]
duration = 1
max_duration = 60
max_share = 1
[retries]
attempts = 2
on = ["connect", "503", "503"]
budget = 0
budget_window = 5
budget_minimum = 0
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
                    "upgrades": ("websocket", "connect-udp", "connect-ip"),
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
                    "lease_deregister_after": 300.0,
                    "fail_open": True,
                    "guard_share": 0.2,
                    "guard_window": 60.0,
                    "witnesses": True,
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
                "balance": {
                    "method": "round_robin",
                    "key": "ip",
                    "bound": 1.5,
                    "slow_start": 0.0,
                    "groups": {},
                },
                "sticky": {"cookie": "", "max_age": 0, "domain": "", "same_site": "Lax"},
                "queue": {
                    "max_requests": 0,
                    "max_requests_scope": "node",
                    "size": 1000,
                    "timeout": 5.0,
                },
                "ejection": {
                    "silence": 2.0,
                    "failures": 5,
                    "statuses": (502, 503, 504),
                    "duration": 10.0,
                    "max_duration": 300.0,
                    "max_share": 0.5,
                },
                "retries": {
                    "attempts": 3,
                    "on": ("connect", "reused", "reset"),
                    "budget": 0.2,
                    "budget_window": 10.0,
                    "budget_minimum": 10,
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
        self.assertEqual(settings.balance.groups, {"canary": 5, "stable": 95})
        self.assertEqual(settings.ejection.statuses, (500, 503))
        self.assertEqual(settings.retries.on, ("connect", "503"))
        for table in (
            "management",
            "health",
            "timeouts",
            "limits",
            "balance",
            "sticky",
            "queue",
            "ejection",
            "retries",
            "log",
        ):
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

    def test_kinds(self) -> None:
        """
        Endpoint strings that would not work are refused, wherever they stand.
        """
        for table, kinds in (
            ("proxy", "tcp, tcp6, unix, systemd"),
            ("management", "tcp, tcp6, unix, systemd, ssl"),
            ("cluster", "tcp, tcp6, unix, systemd"),
        ):
            for description, why in (
                ("haproxy:tcp:80", " (the PROXY protocol is not read; have X-Forwarded-For sent)"),
                ("tls:a:80", " (TLS is not served here; put it in front)"),
                ("systemd:domain=INET:index=7", " (systemd passes no such socket)"),
                ("stdio:", ""),
                ("onion:80", ""),
                ("txsni:certs:tcp:443", ""),
                ("TCP:80", ""),
            ):
                with self.assertRaises(ConfigurationError, msg=description) as caught:
                    parse(f"[{table}]\nlisten = ['tcp:1', '{description}']", "a.toml")
                self.assertEqual(
                    str(caught.exception),
                    f"a.toml: {table}.listen[1]: found '{description}'; allowed: a Twisted "
                    f"endpoint string of the kinds {kinds}, such as "
                    f"tcp:8080:interface=127.0.0.1{why}",
                )
        for options in ({"proxy": ["ssl:443"]}, {"management": ["haproxy:tcp:1"]}):
            with self.assertRaises(ConfigurationError) as caught:
                override(Settings(), **options)
            self.assertTrue(str(caught.exception).startswith(f"options: --{next(iter(options))}: "))

    def test_trusted(self) -> None:
        """
        Networks in either form, and the word for Unix sockets.
        """
        for text, expected in (
            ("['unix']", TrustedPeers(unix=True)),
            ("['::ffff:10.0.0.0/104']", TrustedPeers((ip_network("10.0.0.0/8"),))),
            (
                "['unix', '::ffff:10.0.0.7', 'fe80::/10']",
                TrustedPeers((ip_network("10.0.0.7"), ip_network("fe80::/10")), unix=True),
            ),
        ):
            found = parse(f"[proxy]\ntrusted_proxies = {text}").proxy.trusted_peers
            self.assertEqual(found, expected)
        for text in ("UNIX", "unix:", "unix:/run/a", "fe80::1%eth0", "fe80::%eth0/10"):
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                parse(f"[proxy]\ntrusted_proxies = ['{text}']")
            self.assertIn("allowed: a network such as 10.0.0.0/8", str(caught.exception))
            if "fe80" not in text:
                self.assertIn(", or the word unix alone, for all Unix", str(caught.exception))

    def test_upgrades_that_carry_http(self) -> None:
        """
        Protocols within which requests would pass unread cannot be allowed, by whatever name.
        """
        for text in ("h2", "h2c-14", "HTTP-draft-09/2.0", "https", "h3-29", "ssl", "QUIC", "http2"):
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                parse(f"[proxy]\nupgrades = ['{text}']")
            self.assertIn("a protocol that carries no HTTP", str(caught.exception))
        allowed = ("tcp", "SPDY/3.1", "h2x", "sslx")
        found = parse(f"[proxy]\nupgrades = {list(allowed)}").proxy.upgrades
        self.assertEqual(found, allowed)

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
