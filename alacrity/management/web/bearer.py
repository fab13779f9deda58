"""
Access by a bearer token (RFC 6750).
"""

from __future__ import annotations

from hmac import compare_digest

from twisted.web.http_headers import Headers

from alacrity.management.documents.problems import Problem


def token_problem(headers: Headers, token: bytes) -> Problem | None:
    """
    Check that a request has the token.

    @param headers: the fields of the request.
    @return: the problem to answer with; L{None}: the request has the token.
    """
    fields = headers.getRawHeaders(b"Authorization", [])
    given = b""
    if len(fields) == 1:
        scheme, _, credentials = fields[0].partition(b" ")
        if scheme.lower() == b"bearer":
            given = credentials.strip(b" ")
    # RFC 6750 3.1: no error code if the request has no token at all.
    challenge = 'Bearer realm="alacrity"'
    if given:
        # The time of this comparison reveals only the length of the token.
        if compare_digest(given, token):
            return None
        challenge += ', error="invalid_token"'
    return Problem(
        401,
        "the call requires the token of this API; allowed: Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": challenge},
    )
