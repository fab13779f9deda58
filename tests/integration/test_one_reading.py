"""
Checks and requests read a server alike: a check over HTTP passes exactly where a client gets the
server's answer.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest_twisted
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock

from alacrity.config import parse
from alacrity.health import standard_checks
from alacrity.health.checks import Verdict, http_check
from alacrity.http1.messages import MessageLimits
from alacrity.net.connecting import client_endpoint
from alacrity.node.data_path import response_limits
from alacrity.pool import HttpCheck
from tests.health.checks.fake_servers import Network, server_at
from tests.integration.stage import Stage
from tests.support import wire
from tests.support.bad_inputs import R200, R200_TE, RESPONSES, lines
from tests.support.recorder import OK, Answer, RecordingServer

ANY: Final = (100, 999)
"""The statuses that pass the checks here: it is the answer's form that counts."""

LIMITS: Final = "[limits]\nheader_bytes = 8192\nheader_count = 40\n"

PATIENT: Final = "[ejection]\nfailures = 0\n[health]\ninterval = 86400.0\n"


def more_answers() -> Iterator[Answer]:
    """
    Answers beyond those in the table of bad input.
    """
    for head in (
        # Of any status (RFC 9110 15), and 426 with its Upgrade (15.5.22).
        *(f"HTTP/1.1 {status} X|Content-Length: 5" for status in (404, 500, 599, 600, 799, 999)),
        "HTTP/1.1 426 X|Upgrade: h2c|Connection: Upgrade|Content-Length: 5",
        "HTTP/1.1 200|Content-Length: 5",
        "HTTP/1.1 200 |Content-Length: 5",
        "HTTP/1.1 200 \xe9|Content-Length: 5",
        "HTTP/1.0 200 OK|Content-Length: 5",
        "HTTP/1.2 200 OK|Content-Length: 5",
        "http/1.1 200 OK|Content-Length: 5",
        "HTTP/1.1  200 OK|Content-Length: 5",
        "|HTTP/1.1 200 OK|Content-Length: 5",
        R200 + "Content-Length: 05",
        R200 + "content-length:5",
        R200 + "Content-Length: 0x5",
        R200 + "Content-Length: 5\nX: y",
        R200 + "X:|Content-Length: 5",
        R200 + "X: \xe9|Content-Length: 5",
        R200 + "X\xe9: y|Content-Length: 5",
        R200 + "no colon|Content-Length: 5",
        R200 + " X: y|Content-Length: 5",
        R200 + "X: y|\tz|Content-Length: 5",
        R200 + "X: y|\r|Content-Length: 5",
        # Over the limits of this node, and not over them.
        R200 + "X: " + "x" * 8000 + "|Content-Length: 5",
        R200 + "X: " + "x" * 8192 + "|Content-Length: 5",
        R200 + "X: y|" * 39 + "Content-Length: 5",
        R200 + "X: y|" * 40 + "Content-Length: 5",
    ):
        yield Answer(lines(head, b"hello"))
    for body in (
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0  \r\n\r\n",
        b"5\t\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX y: z\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\n\r\n",
        b"\r\n",
    ):
        yield Answer(lines(R200_TE, body))
    yield Answer(lines(R200[:-1], b"until the end"), "close")
    yield Answer(lines("HTTP/1.0 200 OK", b"until the end"), "close")
    yield Answer(lines("HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 2", b"ok"), "close")
    yield Answer(OK, "close")
    early = lines("HTTP/1.1 103 Early Hints|Link: " + "x" * 600)
    yield Answer(early * 16 + OK)
    yield Answer(early * 17 + OK)
    for garbage in (b"\x15\x03\x01\x00\x02\x02\x46", b"<html></html>", b"\0", b"\r\n\r\n", b"\n"):
        yield Answer(garbage, "close")


def answers() -> list[Answer]:
    """
    All answers, with a connection that ends where the server does nothing more.
    """
    table = [each for row in RESPONSES.values() for each in row if each.method == "GET"]
    return [*(each.answer for each in table), *more_answers(), Answer(OK)]


async def relayed(stage: Stage, port: int, target: str) -> int:
    """
    The status of the answer that a client gets whole; 0: it gets none, or the proxy's 502.
    """
    client = await stage.connect(port)
    client.transport.write(
        f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    await stage.soon(client.lost(), f"the end of {target}")
    if not client.reason.check(ConnectionDone):
        return 0
    found = re.match(
        rb"(?:HTTP/1\.1 1(?:[^\r]|\r\n[^\r])*\r\n\r\n)*HTTP/1\.1 (\d{3}) ", client.received
    )
    assert found is not None, client.received
    status = int(found[1])
    return 0 if status == 502 and b"\r\nContent-Type: text/plain" in client.received else status


@pytest_twisted.ensureDeferred
async def test_over_sockets(stage: Stage) -> None:
    """
    Every answer of the table, from a real server, to a node's checks and to a client of it.
    """
    server = RecordingServer()
    try:
        node = await stage.node(more=PATIENT + LIMITS)
        await node.register(server.port)
        checks = standard_checks(
            lambda *address: client_endpoint(stage.reactor, *address),
            stage.reactor,
            response_limits(parse(LIMITS, "alacrity.toml").limits),
        )
        wrong: list[Any] = []
        outcomes = set()
        for number, answer in enumerate(answers()):
            target = f"/{number}"
            server.answers[target.encode("ascii")] = answer
            before = len(stage.log)
            status = await relayed(stage, node.proxy, target)
            check = HttpCheck(path=target, status=ANY)
            verdict = await stage.soon(
                checks.check(server_at("127.0.0.1", server.port, check), 10.0), target
            )
            outcomes.add(verdict.passed)
            if verdict.passed != (status != 0) or (
                verdict.passed and verdict.reason != f"status {status}"
            ):
                wrong.append((answer, status, verdict))
            # The fault of what is no HTTP is told in the same words.
            fault = verdict.reason.removeprefix("bad response: ")
            if fault != verdict.reason:
                logged = stage.log[before:]
                if not any(fault in line for line in logged):
                    wrong.append((answer, logged, verdict))
        assert wrong == []
        assert outcomes == {True, False}
    finally:
        server.stop()


def request_outcome(pieces: list[bytes]) -> tuple[int, str]:
    """
    The status of the answer that a client of a proxy in memory gets whole, 0: it gets none;
    and the fault of the answer.
    """
    proxy = wire.Proxy()
    client = proxy.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    connection = proxy.servers[0]
    for piece in pieces:
        proxy.turn()
        if connection.lost or connection.closing or not connection.reading:
            break
        connection.receive(piece)
    proxy.turn()
    if not connection.lost and not connection.closing:
        connection.end()
    proxy.wait(5)
    ended = proxy.attempts[0].outcome
    cause = getattr(ended, "cause", None)
    return (0, cause.text) if cause is not None else (ended.status, "")  # type: ignore[union-attr]


def check_outcome(pieces: list[bytes]) -> Verdict:
    """
    The verdict on a server that sends these.
    """
    network, clock = Network(), Clock()
    check = HttpCheck(status=ANY)
    verdicts: list[Verdict] = []
    http_check(network, clock, MessageLimits())(
        server_at("10.0.0.7", 80, check), check, 2.0
    ).addCallback(verdicts.append)
    connection = network.accept()
    for piece in pieces:
        connection.send(piece)
    connection.lost(ConnectionDone())
    assert len(verdicts) == 1
    return verdicts[0]


def test_as_the_server_accepts() -> None:
    """
    A server that speaks, or ends the connection, before it has the request.
    """
    spoken, ended, reset = "spoken", "ended", "reset"
    for happens in (spoken, ended, reset):
        proxy = wire.Proxy()
        proxy.automatic = False
        proxy.client().receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        upstream, connected = proxy.connecting.pop(0)
        link = proxy.made(upstream)
        network, clock = Network(), Clock()
        verdicts: list[Verdict] = []
        http_check(network, clock, MessageLimits())(
            server_at("10.0.0.7", 80, HttpCheck()), HttpCheck(), 2.0
        ).addCallback(verdicts.append)
        checked = network.make()
        if happens is spoken:
            link.receive(OK)
            checked.send(OK)
        elif happens is ended:
            link.end()
            checked.lost(ConnectionDone())
        else:
            link.lose()
            checked.lost(ConnectionLost())
        connected.callback(link.protocol)
        network.tell(checked)
        outcome: Any = proxy.attempts[0].outcome
        assert [each.reason for each in verdicts] == [outcome.cause.text]


def _often(*usual: bytes) -> st.SearchStrategy[bytes]:
    """
    Usual bytes, and some that might be read as these.
    """
    return st.sampled_from(usual)


_ENDS: Final = _often(*(b"\r\n",) * 12, b"\n", b"\r", b"\r\r\n", b" \r\n", b"\n\r\n", b"\0\r\n")
_LINES: Final = _often(
    *(b"HTTP/1.1 200 OK",) * 8, b"HTTP/1.0 200 OK", b"HTTP/1.1 204 X", b"HTTP/1.1 103 X",
    b"HTTP/1.1 101 X", b"HTTP/1.1 999 X", b"HTTP/1.1 20 X", b"HTTP/2 200 OK", b"HTTP/1.1 200",
)  # fmt: skip
_FIELDS: Final = _often(
    b"Content-Length: 2", b"Content-Length: 2", b"Content-Length: 0", b"Content-Length: 2,2",
    b"content-length:2", b"Content-Length: +2", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: x, chunked", b"X: y", b"X : y", b" x",
    b"no colon", b"X:", b"X: \xff\x7f", b"Connection: close", b"Connection: Upgrade",
    b"Upgrade: h2c",
)  # fmt: skip
_BODIES: Final = _often(
    b"", b"ok", b"ok", b"o", b"okk", b"2\r\nok\r\n0\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n",
    b"2 \r\nok\r\n0\r\n\r\n", b"2\nok\r\n0\r\n\r\n", b"2\r\nokk\r\n0\r\n\r\n", b"2\r\nok\r\n0\r\n",
    b"0\r\nX y\r\n\r\n",
)  # fmt: skip


@st.composite
def answers_of_any_kind(draw: st.DrawFn) -> list[bytes]:
    """
    Responses that are nearly in order, in pieces.
    """
    data = b""
    for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
        for line in (draw(_LINES), *draw(st.lists(_FIELDS, max_size=4))):
            data += line + draw(_ENDS)
        data += draw(_ENDS) + draw(_BODIES)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    return [
        piece
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
        if (piece := data[begin:end])
    ]


@examples(deadline=None, max_examples=400)
@given(answers_of_any_kind())
def test_in_memory(pieces: list[bytes]) -> None:
    """
    Generated answers, in pieces.
    """
    status, fault = request_outcome(pieces)
    verdict = check_outcome(pieces)
    assert verdict.passed == (status != 0), (pieces, status, fault, verdict)
    if status:
        assert verdict.reason == f"status {status}"
    elif verdict.reason.startswith("bad response"):
        assert verdict.reason == f"bad response: {fault}"
