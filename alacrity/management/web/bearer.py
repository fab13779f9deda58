"""
Who may call: those who know the token (RFC 6750).
"""

from __future__ import annotations

from hmac import compare_digest

from twisted.web.http_headers import Headers

from alacrity.management.documents.problems import Problem


def refusal(headers: Headers, token: bytes) -> Problem | None:
    """
    Why a call may not be made; L{None}: it may.

    @param headers: of the request.
    """
    fields = headers.getRawHeaders(b"Authorization", [])
    said = b""
    if len(fields) == 1:
        scheme, _, credentials = fields[0].partition(b" ")
        if scheme.lower() == b"bearer":
            said = credentials.strip(b" ")
    # RFC 6750 3.1: no code where there was no token at all.
    challenge = 'Bearer realm="alacrity"'
    if said:
        # The time that this takes tells nothing about the token but its length.
        if compare_digest(said, token):
            return None
        challenge += ', error="invalid_token"'
    return Problem(
        401,
        "the call needs the token of this API; allowed: Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": challenge},
    )
