"""
L{benchmarks.pacer}: when requests are due, and what their latencies are.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.calls import LOOPBACK
from benchmarks.pacer import Pacer, Pacing, Schedule, percentile

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
BODY = bytes(4)


class ArithmeticTests(SynchronousTestCase):
    def test_due(self) -> None:
        schedule = Schedule(begin=100.0, rate=4.0, count=8)
        self.assertEqual([schedule.due(number) for number in (0, 1, 4)], [100.0, 100.25, 101.0])

    def test_times_do_not_drift(self) -> None:
        schedule = Schedule(begin=0.0, rate=3.0, count=3_000_001)
        self.assertEqual(schedule.due(3_000_000), 1_000_000.0)

    def test_percentile(self) -> None:
        values = [float(number) for number in range(1, 1001)]
        self.assertEqual(percentile(values, 50), 500.0)
        self.assertEqual(percentile(values, 99), 990.0)
        self.assertEqual(percentile(values, 99.9), 999.0)
        self.assertEqual(percentile(values, 100), 1000.0)

    def test_percentile_of_few(self) -> None:
        self.assertEqual(percentile([7.0], 50), 7.0)
        self.assertEqual(percentile([7.0], 99.9), 7.0)
        self.assertEqual(percentile([1.0, 2.0], 50), 1.0)
        self.assertEqual(percentile([1.0, 2.0], 51), 2.0)


class Server:
    """
    A server with one connection at a time, in a thread, that is ended in the end.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._serve(client)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


class PacerTests(SynchronousTestCase):
    def pace(self, serve: Callable[[socket.socket], None], rate: float, count: int) -> Pacing:
        """Send so many requests on one connection to a server."""
        server = Server(serve)
        self.addCleanup(server.close)
        pacer = Pacer(server.port, REQUEST, len(BODY), 1)
        self.addCleanup(pacer.close)
        return pacer.run(rate, count / rate)

    def test_all_are_answered(self) -> None:
        def serve(client: socket.socket) -> None:
            while client.recv(65536):
                client.sendall(HEAD + BODY)

        done = self.pace(serve, 1000.0, 50)
        self.assertEqual((done.answered, done.faults), (50, {}))
        self.assertLessEqual(done.p50, done.p99)
        self.assertLessEqual(done.p99, done.p999)

    def test_answers_in_pieces(self) -> None:
        def serve(client: socket.socket) -> None:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while client.recv(65536):
                for piece in (HEAD[:9] + HEAD[9:], BODY[:1], BODY[1:]):
                    client.sendall(piece)

        done = self.pace(serve, 1000.0, 20)
        self.assertEqual((done.answered, done.faults), (20, {}))

    def test_latency_counts_from_when_a_request_was_due(self) -> None:
        """
        A server that answers once all are due, delays those behind the first one, too.
        """
        waiting = threading.Event()

        def serve(client: socket.socket) -> None:
            while client.recv(65536):
                waiting.wait(0.2)
                waiting.set()
                client.sendall(HEAD + BODY)

        done = self.pace(serve, 1000.0, 50)
        self.assertEqual(done.answered, 50)
        # A load that waits would have one latency of 200 ms, and 49 of next to nothing.
        self.assertGreater(done.p50, 0.1)
        # That they had to wait for their connection is not the load's fault.
        self.assertLess(done.late, done.p50)

    def test_other_statuses_are_counted(self) -> None:
        def serve(client: socket.socket) -> None:
            while client.recv(65536):
                client.sendall(HEAD.replace(b"200 OK", b"503 No") + BODY)

        self.assertEqual(self.pace(serve, 1000.0, 5).faults, {"other status": 5})

    def test_closed_connections_are_replaced(self) -> None:
        answers = iter(range(100))

        def serve(client: socket.socket) -> None:
            while client.recv(65536):
                if next(answers) == 2:
                    return
                client.sendall(HEAD + BODY)

        done = self.pace(serve, 1000.0, 10)
        self.assertEqual((done.answered, done.faults), (9, {"closed": 1, "unanswered": 1}))
