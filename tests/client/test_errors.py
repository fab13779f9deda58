"""
L{alacrity.client.errors}: success, refusal and failure, told apart by the status.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.client.errors import CallFailed, CallRefused, error_of
from alacrity.client.messages import ApiResponse


class ErrorTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        for status, kind in (
            (200, None),
            (201, None),
            (204, None),
            (307, CallRefused),
            (401, CallRefused),
            (404, CallRefused),
            (421, CallRefused),
            (408, CallFailed),
            (429, CallFailed),
            (500, CallFailed),
            (503, CallFailed),
            (504, CallFailed),
        ):
            error = error_of(ApiResponse(status, b""))
            self.assertIs(None if error is None else type(error), kind, status)

    def test_the_reasons_of_a_refusal(self) -> None:
        body = b'{"detail": "not yet", "field": "lease", "nodes": ["b", "c"]}'
        refusal = error_of(ApiResponse(409, body))
        assert isinstance(refusal, CallRefused)
        self.assertEqual((refusal.status, refusal.field, refusal.nodes), (409, "lease", ("b", "c")))

    def test_messages_are_one_line(self) -> None:
        """
        The detail of a problem document, else what there is.
        """
        for body, message in (
            (
                b'{"type": "about:blank", "detail": "port is 0;\\nallowed: 1"}\n',
                "503 port is 0; allowed: 1",
            ),
            (b"", "503"),
            (b"no servers\r\n", "503 no servers"),
            (b'{"title": "Busy"}', '503 {"title": "Busy"}'),
            (b"[1,\n2]", "503 [1, 2]"),
            (b"\xff", "503 \N{REPLACEMENT CHARACTER}"),
        ):
            self.assertEqual(str(error_of(ApiResponse(503, body))), message)
