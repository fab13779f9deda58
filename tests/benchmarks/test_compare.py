"""
L{benchmarks.compare}, L{benchmarks.cases} and L{benchmarks.proxies}: which cases are measured
of which proxy, and how it is set up for them.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.cases import CASES
from benchmarks.compare import groups, left_out
from benchmarks.envoy import envoy_config
from benchmarks.proxies import PROXIES, TITLES
from benchmarks.setups import Certificate, Setup
from benchmarks.table import COLUMNS, REFERENCES


class GroupTests(SynchronousTestCase):
    def test_cases_that_are_set_up_alike_share_a_process(self) -> None:
        self.assertEqual(
            groups("haproxy", ["idle", "bare", "servers", "tls", "close"]),
            [["idle"], ["bare", "close"], ["servers"], ["tls"]],
        )

    def test_what_a_proxy_cannot_do_is_left_out_and_said(self) -> None:
        cases = ["bare", "servers", "tls"]
        self.assertEqual(groups("alacrity-pure", cases), [["bare"], ["servers"]])
        self.assertEqual(groups("twisted.web", cases), [["bare"]])
        self.assertEqual(
            left_out(["alacrity", "haproxy"], cases),
            ["left out: TLS for alacrity: it has no TLS listener yet"],
        )
        self.assertEqual(len(left_out(["twisted.web"], cases)), 2)
        self.assertEqual(left_out(list(PROXIES), ["bare", "open"]), [])


class CaseTests(SynchronousTestCase):
    def test_setups(self) -> None:
        self.assertEqual(CASES["bare"].setup(7), Setup(7, ("127.0.0.1",)))
        self.assertEqual(CASES["tls"].setup(7), Setup(7, ("127.0.0.1",), tls=True))
        servers = CASES["servers"].setup(7)
        self.assertEqual((len(set(servers.hosts)), servers.tls), (64, False))

    def test_costs_have_columns(self) -> None:
        self.assertEqual({case.cost for case in CASES.values()} - set(COLUMNS), set())

    def test_titles(self) -> None:
        self.assertEqual(list(TITLES), list(PROXIES))
        self.assertEqual(len({case.title for case in CASES.values()}), len(CASES))
        self.assertEqual(set(REFERENCES) - set(PROXIES), set())


class EnvoyTests(SynchronousTestCase):
    def test_servers_and_certificate(self) -> None:
        paths = Certificate(Path("/a"), Path("/b"), Path("/c"))
        plain = str(envoy_config(1, Setup(80, ("127.0.0.1", "127.0.0.2")), None))
        secure = str(envoy_config(1, Setup(80, tls=True), paths))
        self.assertEqual(plain.count("'port_value': 80"), 2)
        self.assertNotIn("DownstreamTlsContext", plain)
        self.assertIn("{'filename': '/b'}", secure)
