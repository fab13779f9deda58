"""
The management API of a node in this process, over real connections.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest_twisted

from tests.integration.stage import HOST, Stage

TOKEN: Final = "t" * 40
QUIET: Final = {"type": "tcp", "interval": 3600}


@pytest_twisted.ensureDeferred
async def test_life_of_a_server(stage: Stage) -> None:
    """
    A server is registered, read, found among all, registered again and removed.
    """
    node = await stage.node()
    assert (await node.call("GET", "/servers")).document == []
    new = {"ip": "127.0.9.1", "port": 1, "check": QUIET}
    made = await node.call("POST", "/servers", new)
    (location,) = made.headers.getRawHeaders("location")
    assert (made.status, location) == (201, "/servers/127.0.9.1:1")
    assert (await node.call("POST", "/servers", new)).status == 200
    read = await node.call("GET", f"{location}?consistent=1")
    assert (read.status, read.document["weight"]) == (200, 1)
    (listed,) = (await node.call("GET", "/servers")).document
    assert listed["id"] == read.document["id"]
    assert (await node.call("DELETE", location)).status == 204
    assert (await node.call("GET", location)).status == 404


@pytest_twisted.ensureDeferred
async def test_problems(stage: Stage) -> None:
    """
    A fault is answered with a document that says what it is.
    """
    node = await stage.node()
    for method, path, document, status in (
        ("POST", "/servers", {"ip": "nowhere", "port": 1}, 400),
        ("GET", "/nothing", None, 404),
        ("PUT", "/stats", {}, 405),
    ):
        answer = await node.call(method, path, document)
        assert (answer.status, answer.document["status"]) == (status, status), answer.document


@pytest_twisted.ensureDeferred
async def test_token(stage: Stage, tmp_path: Path) -> None:
    """
    With a token, nothing but the two questions after its health is answered without it.
    """
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    node = await stage.node(management=f'token_file = "{path}"')
    assert (await node.call("GET", "/servers")).status == 401
    assert (await node.call("GET", "/servers", Authorization=f"Bearer {TOKEN}")).status == 200
    await stage.until(node.leads, "it leads")


@pytest_twisted.ensureDeferred
async def test_pipelined(stage: Stage) -> None:
    """
    Requests that come at once on one connection are answered in their order.
    """
    node = await stage.node()
    client = await stage.connect(node.management)
    client.transport.write(
        b"".join(
            b"GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (each, HOST.encode())
            for each in (b"servers", b"nothing", b"stats")
        )
    )
    await stage.soon(
        client.until(lambda: client.received.count(b"HTTP/1.1 ") == 3), "three responses"
    )
    statuses = [each[:3] for each in client.received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"200"]
