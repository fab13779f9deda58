"""
L{alacrity.net.bindings}: sockets that listen, and the addresses that reach them. The faults
of a configuration that concern them are in L{tests.config.test_consistency}.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.calls import call
from acceptance.lab.nodes import Node
from acceptance.lab.waiting import PATIENCE
from alacrity.net.bindings import (
    ANY,
    ANY_IPV4,
    OtherSocket,
    TcpSocket,
    UnixSocket,
    ipv6_only_of,
    is_here,
    socket_at,
    socket_of,
)


class SocketTests(SynchronousTestCase):
    """
    Sockets, by endpoint strings and by addresses.
    """

    def test_descriptions(self) -> None:
        """
        They are what Twisted would have the reactor make of them.
        """
        for description, expected in (
            ("tcp:80", TcpSocket(ANY_IPV4, 80)),
            ("tcp:interface=127.1:port=80", TcpSocket("127.0.0.1", 80)),
            ("tcp:80:interface=LOCALHOST", TcpSocket("127.0.0.1", 80)),
            ("tcp:80:interface=Node-A", TcpSocket("node-a", 80)),
            ("tcp6:80", TcpSocket(ANY, 80)),
            ("tcp6:80:interface=2001\\:DB8\\:0\\:\\:1", TcpSocket("2001:db8::1", 80)),
            ("tcp6:80:interface=\\:\\:ffff\\:10.0.0.1", TcpSocket("10.0.0.1", 80)),
            ("unix:/a\\:b\\=c:mode=660", UnixSocket("/a:b=c")),
            ("systemd:domain=INET:index=0", OtherSocket("systemd:domain=INET:index=0")),
        ):
            self.assertEqual(socket_of(description), expected)

    def test_addresses(self) -> None:
        """
        The addresses that ports tell.
        """
        self.assertEqual(socket_at(IPv4Address("TCP", "10.0.0.1", 80)), TcpSocket("10.0.0.1", 80))
        self.assertEqual(socket_at(IPv6Address("TCP", "::", 80)), TcpSocket("::", 80))
        self.assertEqual(
            socket_at(IPv6Address("TCP", "::ffff:10.0.0.1", 80)), TcpSocket("10.0.0.1", 80)
        )
        self.assertIsNone(socket_at(UNIXAddress("a")))

    def test_answers(self) -> None:
        """
        A socket without an interface answers at all addresses of the machine.
        """
        here = {"127.0.0.1", "127.9.9.9", "10.0.0.1", "::1", "2001:db8::1"}.__contains__
        for listening, ip, expected in (
            (ANY_IPV4, "127.0.0.1", True),
            (ANY_IPV4, "127.9.9.9", True),
            (ANY_IPV4, "10.0.0.1", True),
            (ANY_IPV4, "10.0.0.7", False),
            (ANY_IPV4, "::1", False),
            (ANY, "10.0.0.1", True),
            (ANY, "::1", True),
            (ANY, "2001:db8::1", True),
            (ANY, "2001:db8::7", False),
            ("127.0.0.1", "127.0.0.1", True),
            ("127.0.0.1", "127.9.9.9", False),
            ("10.0.0.1", "10.0.0.1", True),
            ("2001:db8::1", "2001:db8::1", True),
        ):
            self.assertIs(TcpSocket(listening, 80).answers(ip, 80, here), expected, (listening, ip))
            self.assertFalse(TcpSocket(listening, 80).answers(ip, 81, here))

    def test_shared_port(self) -> None:
        """
        Beside any IPv4 address of its port, a socket on all addresses takes IPv6 alone.
        """
        both = "tcp6:80"
        for others, expected in (
            ((), False),
            (("tcp:80",), True),
            (("tcp:80:interface=10.0.0.1", "unix:a"), True),
            (("tcp6:80:interface=\\:\\:ffff\\:10.0.0.1",), True),
            (("tcp:81", "tcp6:81"), False),
            (("tcp6:80:interface=\\:\\:1",), False),
        ):
            self.assertIs(both in ipv6_only_of((*others, both)), expected, others)
        self.assertEqual(ipv6_only_of(("tcp:0", "tcp6:0")), frozenset())

    def test_here(self) -> None:
        """
        Loopback addresses and those of the interfaces.
        """
        for ip in ("127.0.0.1", "127.9.9.9", "::1", *_interface_addresses()):
            self.assertTrue(is_here(ip), ip)
        # TEST-NET-1 and the prefix for documentation (RFC 5737, RFC 3849).
        for ip in ("192.0.2.1", "2001:db8::7"):
            self.assertFalse(is_here(ip), ip)


def _interface_addresses() -> set[str]:
    """
    The address from which this machine would reach others, if it would.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return set()
        return {probe.getsockname()[0]}


class NodeTests(SynchronousTestCase):
    """
    A real node.
    """

    def test_own_addresses(self) -> None:
        """
        None of its listeners can be registered, by whatever address of this machine.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        node = Node(
            directory,
            "--proxy=tcp:0:interface=127.0.0.2",
            "--management=unix:api",
            configuration='[cluster]\nlisten = ["tcp:0:interface=127.0.0.1"]\n'
            'advertise = "127.0.0.1:8688"\n',
        )
        self.addCleanup(node.stop, signal.SIGKILL)
        node.started()
        other = int(node.expect(r"proxy listens on 127\.0\.0\.2:(\d+)")[1])
        peers = int(node.expect(r"cluster node \S+ listens on 127\.0\.0\.1:(\d+)")[1])
        for port, ip, own in (
            (node.proxy, None, "proxy"),
            (node.proxy, "127.0.0.1", "proxy"),
            (other, "127.0.0.2", "proxy"),
            (node.management, "127.0.0.1", "management API"),
            (peers, "127.0.0.1", "port for the cluster"),
        ):
            document = {"port": port} if ip is None else {"port": port, "ip": ip}
            answer = call(node.management, "POST", "/servers", document)
            self.assertEqual(answer.status, 409, answer.body)
            self.assertEqual(answer.json()["field"], "port")
            self.assertIn(f"this node's own {own}", answer.json()["detail"])
        self.assertEqual(call(node.management, "GET", "/servers").json(), [])
        # That is another address, where nothing of it listens.
        answer = call(node.management, "POST", "/servers", {"ip": "127.0.0.3", "port": other})
        self.assertEqual(answer.status, 201, json.dumps(answer.json()))

    def test_shared_port(self) -> None:
        """
        An IPv4 and an IPv6 listener of one port, of one role and of two.
        """
        for twistd in ((), ("--reactor=epoll",)):
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::", 0))
                port = probe.getsockname()[1]
            for listen in (
                (f"--proxy=tcp:{port}", f"--proxy=tcp6:{port}"),
                (f"--proxy=tcp6:{port}", f"--proxy=tcp:{port}:interface=127.0.0.1"),
                (f"--proxy=tcp:{port}:interface=127.0.0.1", f"--management=tcp6:{port}"),
            ):
                directory = Path(self.mktemp()).absolute()
                directory.mkdir()
                node = Node(
                    directory,
                    *listen,
                    configuration="[management]\ninsecure = true\n[log]\naccess = 'combined'\n",
                    twistd=twistd,
                )
                self.addCleanup(node.stop, signal.SIGKILL)
                node.started()
                is_api = "--management" in listen[1]
                for host, status in (("127.0.0.1", 503), ("::1", 200 if is_api else 503)):
                    with socket.create_connection((host, port), PATIENCE) as client:
                        client.sendall(b"GET /servers HTTP/1.1\r\nHost: [::1]\r\n\r\n")
                        answer = client.recv(99)
                    self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (listen, host))
                node.stop()
                self.assertNotIn("Traceback", node.log)

    def test_mapped_peers(self) -> None:
        """
        An IPv4 client of an IPv6 listener has its IPv4 address: in the log, and as the address
        of a server that it registers.
        """
        for twistd in ((), ("--reactor=epoll",)):
            directory = Path(self.mktemp()).absolute()
            directory.mkdir()
            node = Node(
                directory,
                "--proxy=tcp6:0",
                "--management=tcp6:0",
                configuration="[management]\ninsecure = true\n[log]\naccess = 'combined'\n",
                twistd=twistd,
            )
            self.addCleanup(node.stop, signal.SIGKILL)
            node.started()
            port = int(node.expect(r"proxy listens on \[::\]:(\d+)")[1])
            api = int(node.expect(r"management listens on \[::\]:(\d+)")[1])
            answer = call(api, "POST", "/servers", {"port": 9})
            self.assertEqual(answer.json()["id"], "127.0.0.1:9")
            self.assertEqual(call(port, "GET", "/").status, 503)
            node.expect(r'127\.0\.0\.1 - - \[.*"GET / ')
            node.stop()
            self.assertNotIn("::ffff", node.log)

    def test_unix(self) -> None:
        """
        The API and the proxy on Unix sockets, which are not open to all users; a name for
        C{Host} does no harm there.
        """
        for number, twistd in enumerate(((), ("--reactor=epoll",))):
            directory = Path(self.mktemp()).absolute()
            directory.mkdir()
            # The path has to fit.
            short = Path(self.enterContext(TemporaryDirectory()))
            node = Node(
                directory,
                f"--management=unix:{short}/api",
                f"--proxy=unix:{short}/proxy",
                f"--proxy=unix:{short}/open:mode=666",
                twistd=twistd,
            )
            self.addCleanup(node.stop, signal.SIGKILL)
            node.started()
            for name, mode, status in (
                ("api", 0o600, 200),
                ("proxy", 0o660, 503),
                ("open", 0o666, 503),
            ):
                path = short / name
                self.assertEqual(path.stat().st_mode & 0o777, mode, (number, name))
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(PATIENCE)
                    client.connect(str(path))
                    client.sendall(b"GET /servers HTTP/1.1\r\nHost: evil.example\r\n\r\n")
                    self.assertTrue(client.recv(99).startswith(b"HTTP/1.1 %d " % status), name)
            node.stop()
            self.assertNotIn("Traceback", node.log)

    def test_without_interface(self) -> None:
        """
        One that listens on all addresses is refused by each of them.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        node = Node(directory, "--proxy=tcp6:0")
        self.addCleanup(node.stop, signal.SIGKILL)
        port = int(node.start().expect(r"proxy listens on \[::\]:(\d+)")[1])
        node.started()
        for ip in ("127.0.0.1", "127.3.2.1", "::1", "0:0::1", *_interface_addresses()):
            answer = call(node.management, "POST", "/servers", {"ip": ip, "port": port})
            self.assertEqual(answer.status, 409, (ip, answer.body))
        answer = call(node.management, "POST", "/servers", {"ip": "192.0.2.1", "port": port})
        self.assertEqual(answer.status, 201, answer.body)

    if not os.path.exists("/proc/net/if_inet6"):
        test_without_interface.skip = "this machine has no IPv6"  # type: ignore[attr-defined]
