"""
Tests for L{alacrity.net.acknowledgements}: hosts that are gone.
"""

from __future__ import annotations

import socket
from unittest import TestCase

from alacrity.net.acknowledgements import PROBE_INTERVAL, set_acknowledgement_timeout


class _Transport:
    """
    A transport with a socket, or with none any more.
    """

    def __init__(self, sock: socket.socket | None) -> None:
        self._socket = sock

    def getHandle(self) -> socket.socket | None:
        return self._socket


class TimeoutTests(TestCase):
    """
    The options of a socket.
    """

    def options(self, sock: socket.socket) -> tuple[int, ...]:
        """
        Those that are set here.
        """
        tcp = socket.IPPROTO_TCP
        return (
            sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT),
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            sock.getsockopt(tcp, socket.TCP_KEEPIDLE),
            sock.getsockopt(tcp, socket.TCP_KEEPINTVL),
        )

    def test_set(self) -> None:
        """
        The time limit, less the lateness of the system's timers, and probes while nothing is sent.
        """
        with socket.socket() as sock:
            set_acknowledgement_timeout(_Transport(sock), 2.5)
            self.assertEqual(self.options(sock), (1750, 1, PROBE_INTERVAL, PROBE_INTERVAL))

    def test_left(self) -> None:
        """
        No limit, no socket, a closed one, or one that is not of TCP: nothing happens.
        """
        with socket.socket() as sock:
            before = self.options(sock)
            set_acknowledgement_timeout(_Transport(sock), 0.0)
            self.assertEqual(self.options(sock), before)
        set_acknowledgement_timeout(_Transport(sock), 1.0)
        set_acknowledgement_timeout(_Transport(None), 1.0)
        set_acknowledgement_timeout(object(), 1.0)
        with socket.socket(socket.AF_UNIX) as unix:
            set_acknowledgement_timeout(_Transport(unix), 1.0)
