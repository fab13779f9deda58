"""
L{alacrity.http1.parser} compared with another parser, and the invariants of
L{tests.support.invariants}.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fuzz import seeds
from tests.http1.differential import (
    REQUESTS,
    RESPONSES,
    others_requests,
    requests_disagreement,
    response_disagreement,
)
from tests.support.invariants import Requests, check_registration, check_requests, check_response

bounded = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
briefly = settings(bounded, max_examples=150)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class DifferentialTests(SynchronousTestCase):
    """
    Our parser and h11 agree about the end of each message, and its content.
    """

    @bounded
    @given(REQUESTS)
    @example(CHUNKED + b"000000000000000000000001\r\nx\r\n0\r\n\r\n" + GET)
    def test_requests(self, data: bytes) -> None:
        """
        Requests in a row.
        """
        self.assertIsNone(requests_disagreement(data))

    @bounded
    @given(RESPONSES)
    @example((b"HTTP/1.1 200 \x00OK\r\nContent-Length: 0\r\n\r\n", b"GET"))
    @example((CHUNKED_RESPONSE + b"0" * 20 + b"1 \t\r\nx\r\n0\r\n\r\n", b"GET"))
    @example((CHUNKED_RESPONSE + b"1 ;a\r\nx\r\n0\r\n\r\n", b"GET"))
    def test_responses(self, response: tuple[bytes, bytes]) -> None:
        """
        A response.
        """
        self.assertIsNone(response_disagreement(*response))

    def test_disagreements_are_seen(self) -> None:
        """
        The comparison fails for two different messages.
        """
        ours = Requests([GET])
        [message] = ours.messages
        self.assertEqual(message.end, len(GET))
        other = others_requests(CHUNKED + b"1\r\nx\r\n0\r\n\r\n" + GET)
        self.assertEqual([m.start for m in other.messages], [(b"POST", b"/"), (b"GET", b"/")])
        self.assertEqual(other.messages[0].body, b"x")
        self.assertEqual(other.messages[0].end, len(CHUNKED) + 11)


class InvariantTests(SynchronousTestCase):
    """
    The checks of the fuzzers, on random messages.
    """

    @briefly
    @given(REQUESTS, st.integers(0, 1 << 16))
    def test_requests(self, data: bytes, seed: int) -> None:
        """
        Requests are the same in any pieces, and forwarded as they were read.
        """
        check_requests(data, seed)

    @briefly
    @given(RESPONSES, st.integers(0, 1 << 16))
    def test_responses(self, response: tuple[bytes, bytes], seed: int) -> None:
        """
        Responses are, too.
        """
        check_response(*response, seed)

    def test_seeds(self) -> None:
        """
        The invariants hold for the seeds of the fuzzers.
        """
        for kind, check in (
            ("request", check_requests),
            ("response", check_response),
            ("document", lambda body: check_registration(body, "10.0.0.7")),
        ):
            place = Path(self.mktemp())
            place.mkdir()
            arguments = seeds.arguments(["", "-runs=1", str(place)], kind)
            self.assertEqual(arguments[:3], ["", "-runs=1", str(place)])
            self.assertTrue(Path(arguments[3].removeprefix("-dict=")).is_file())
            lead = 1 if kind == "document" else 2
            found = [path.read_bytes()[lead:] for path in sorted(place.iterdir())]
            self.assertGreater(len(found), 3)
            for data in found:
                check(data)
