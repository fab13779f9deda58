"""
Single HTTP requests to real processes.
"""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from acceptance.lab.waiting import PATIENCE

LOOPBACK = "127.0.0.1"


class Answer:
    """
    A response, read to its end.

    @ivar headers: the header fields, by name in any case.
    """

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> Any:
        """
        The document in the body; L{None} for an empty one.
        """
        return json.loads(self.body) if self.body else None


def ask(connection: HTTPConnection, method: str, path: str, document: object = None) -> Answer:
    """
    Make a request on a connection, which is closed if there is no answer.

    @param document: the body, sent as JSON; L{None}: there is none.
    @raise OSError: there was no answer, or none that is HTTP.
    """
    body = None if document is None else json.dumps(document)
    fields = {} if document is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, path, body, fields)
        return Answer(connection.getresponse())
    except HTTPException as error:
        connection.close()
        raise ConnectionError(f"no proper answer: {error!r}") from error
    except OSError:
        connection.close()
        raise


def call(
    port: int,
    method: str,
    path: str,
    document: object = None,
    *,
    host: str = LOOPBACK,
    timeout: float = PATIENCE,
) -> Answer:
    """
    Make one request, on a connection of its own.

    @param document: the body, sent as JSON; L{None}: there is none.
    @param timeout: seconds to wait for each part of the answer.
    @raise OSError: there was no answer, or none that is HTTP.
    """
    with closing(HTTPConnection(host, port, timeout=timeout)) as connection:
        return ask(connection, method, path, document)
