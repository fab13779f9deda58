"""
The checks of a node in this process, of servers that come and go.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"

from __future__ import annotations

from typing import Any, Final

import pytest_twisted
from klein import Klein
from twisted.web.iweb import IRequest
from twisted.web.server import Site

from tests.integration.stage import Stage

QUICK: Final = "[health]\ninterval = 0.1\nfast_interval = 0.1\nrise = 1\nfall = 2\n"


class _QuietSite(Site):
    def log(self, request: object) -> None:
        """Write no access log."""


class Patient:
    """
    A server that is as healthy as a test says.

    @ivar status: of its answers to checks.
    """

    app = Klein()

    def __init__(self) -> None:
        self.status = 200

    @app.route("/health")
    def health(self, request: IRequest) -> bytes:
        request.setResponseCode(self.status)
        return b""

    @app.route("/")
    def root(self, request: IRequest) -> bytes:
        return b"hello"

    def site(self) -> Any:
        """
        The factory for a listening port.
        """
        site = _QuietSite(self.app.resource())
        site.noisy = False
        return site


@pytest_twisted.ensureDeferred
async def test_http_check(stage: Stage) -> None:
    """
    A server whose check fails gets no traffic, until it passes again.
    """
    patient = Patient()
    port = await stage.listen(patient.site())
    node = await stage.node(more=QUICK + "fail_open = false\n")
    id = await node.register(port, check={"type": "http", "path": "/health"})
    assert await node.get() == (200, b"hello")
    patient.status = 500
    await node.state_of(id, "down")
    assert (await node.get())[0] == 503
    document = (await node.call("GET", f"/servers/{id}")).document
    assert "500" in document["reason"]
    patient.status = 204
    await node.state_of(id, "up")
    assert await node.get() == (200, b"hello")


@pytest_twisted.ensureDeferred
async def test_failing_open(stage: Stage) -> None:
    """
    The last server whose check fails gets traffic, if the check was answered: it is the check that
    is broken.
    """
    patient = Patient()
    port = await stage.listen(patient.site())
    node = await stage.node(more=QUICK)
    id = await node.register(port, check={"type": "http", "path": "/health"})
    patient.status = 500
    await node.state_of(id, "down")
    assert await node.get() == (200, b"hello")


@pytest_twisted.ensureDeferred
async def test_tcp_check(stage: Stage) -> None:
    """
    A server that does not listen any more is down; the others get its traffic.
    """
    node = await stage.node(more=QUICK)
    staying = await stage.listen(Patient().site())
    leaving, port = await stage.listener(Patient().site())
    id = await node.register(port, check={"type": "tcp"})
    await node.register(staying, check={"type": "tcp"})
    await leaving.stopListening()
    await node.state_of(id, "down")
    assert [await node.get() for _ in range(4)] == [(200, b"hello")] * 4
