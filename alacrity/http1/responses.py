"""
The proxy's own responses: short, plain, and without details of the proxy or its servers.
"""

from __future__ import annotations

from http import HTTPStatus

ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
"""C{Allow} of a 405 response: the common methods that the proxy passes on."""


def own_response(
    status: int, *, date: bytes, via: bytes, keep_alive: bool = False, bodiless: bool = False
) -> bytes:
    """
    A whole response that tells its status and nothing else.

    @param bodiless: leave the body out, as in a response to HEAD.
    """
    text = b"%d %b\n" % (status, HTTPStatus(status).phrase.encode("ascii"))
    lines = [
        b"HTTP/1.1 " + text[:-1],
        b"Date: " + date,
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(text),
        b"Cache-Control: no-store",
    ]
    if status == 405:
        lines.append(b"Allow: " + ALLOW)
    if status == 503:
        lines.append(b"Retry-After: 1")
    if not keep_alive:
        lines.append(b"Connection: close")
    lines.append(b"Via: " + via)
    return b"\r\n".join([*lines, b"", b"" if bodiless else text])
