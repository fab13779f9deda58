"""
Errors in messages.
"""

from __future__ import annotations

from typing import Final


class ProtocolError(Exception):
    """
    A message that is malformed, ambiguous or over a limit.

    @ivar status: of the response to a client that sent it. (If a server sent it, its
        client is answered 502, whatever this is.)
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


# The beginnings of a TLS alert and handshake (RFC 8446 5.1).
_TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")

# Texts of llhttp on responses, and the same for whoever runs the server.
_RESPONSE_FAULTS: Final = {
    "Pause on CONNECT/Upgrade": "there is an upgrade that nobody asked for",
    "Expected HTTP/": "it does not begin with HTTP/",
    "Expected HTTP/, RTSP/ or ICE/": "it does not begin with HTTP/",
    "Expected LF after CR": "the status line has a bare carriage return",
    "Expected LF after headers": "the head has a bare carriage return",
    "Expected dot": "the status line is malformed",
    "Invalid major version": "the status line is malformed",
    "Invalid minor version": "the status line is malformed",
    "Invalid HTTP version": "the HTTP version is not supported",
    "Invalid status code": "the status line is malformed",
    "Invalid response status": "the status line is malformed",
    "Expected space after version": "the status line is malformed",
    "Missing expected CR after response line": "the status line ends with a bare line feed",
    "Missing expected CR after header value": "a header line ends with a bare line feed",
    "Missing expected LF after header value": "a header line has a bare carriage return",
    "Unexpected whitespace after header value": "a header line is folded",
    "Unexpected space after start line": "a header line begins with a space",
    "Invalid header token": "a header line has an invalid name, or no colon",
    "Invalid header field char": "a header line has an invalid name, or no colon",
    "Invalid header value char": "a header line has a control character",
    "Duplicate Content-Length": "there is more than one Content-Length",
    "Invalid character in Content-Length": "the Content-Length is not a number",
    "Empty Content-Length": "the Content-Length is not a number",
    "Content-Length overflow": "the Content-Length is not a number",
    "Empty Transfer-Encoding": "the Transfer-Encoding is not chunked",
    "Content-Length can't be present with Transfer-Encoding": (
        "there is a Content-Length beside a Transfer-Encoding"
    ),
    "Transfer-Encoding can't be present with Content-Length": (
        "there is a Content-Length beside a Transfer-Encoding"
    ),
}


def response_fault(text: str, head: bytes) -> str:
    """
    The fault of a response, for whoever runs the server.

    @param text: of llhttp.
    @param head: the part of the head that has come.
    """
    if head.startswith(_TLS_RECORDS):
        return "it is TLS, not HTTP"
    return _RESPONSE_FAULTS.get(text, text)
