"""
Three nodes in this process that make up a cluster over real connections.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"

from __future__ import annotations

import json
from pathlib import Path

import pytest_twisted

from acceptance.lab.clusters import ADDRESS, QUIET, free_ports
from alacrity.cluster import secret
from tests.integration.stage import InProcessNode, Stage


async def three(stage: Stage, directory: Path) -> list[InProcessNode]:
    """
    Start three nodes, and wait until all follow one leader.
    """
    secret.create(directory / "secret")
    ports = free_ports(3)
    members = json.dumps([f"{ADDRESS}:{port}" for port in ports])
    nodes = [
        await stage.node(
            more=f'[cluster]\nlisten = ["tcp:{port}:interface={ADDRESS}"]\nmembers = {members}\n'
            f'secret_file = "{directory / "secret"}"\n'
        )
        for port in ports
    ]
    await leader(stage, nodes)
    return nodes


async def leader(stage: Stage, nodes: list[InProcessNode]) -> InProcessNode:
    """
    Wait until nodes follow the same one of them, and it leads.
    """
    found: list[InProcessNode] = []

    async def agreed() -> bool:
        views = [(await node.call("GET", "/cluster")).document for node in nodes]
        named = {view["leader"] for view in views}
        found[:] = [
            node for node, view in zip(nodes, views, strict=True) if {view["name"]} == named
        ]
        return len(found) == 1 and await found[0].leads()

    await stage.until(agreed, "one leader")
    return found[0]


async def knows(stage: Stage, node: InProcessNode, ids: set[str]) -> None:
    """
    Wait until a node knows just these servers.
    """

    async def does() -> bool:
        return {each["id"] for each in (await node.call("GET", "/servers")).document} == ids

    await stage.until(does, f"it knows {ids}")


@pytest_twisted.ensureDeferred
async def test_each_node_takes_writes(stage: Stage, tmp_path: Path) -> None:
    """
    A server that is registered with any node is known to all, and a consistent read shows it
    at once.
    """
    nodes = await three(stage, tmp_path)
    ids = set()
    for number, node in enumerate(nodes):
        new = {"ip": "127.0.9.1", "port": 1 + number, "check": QUIET}
        answer = await node.call("POST", "/servers", new)
        assert answer.status == 201, answer.document
        ids.add(answer.document["id"])
        for other in nodes:
            path = f"/servers/{answer.document['id']}?consistent=1"
            assert (await other.call("GET", path)).status == 200
    for node in nodes:
        await knows(stage, node, ids)


@pytest_twisted.ensureDeferred
async def test_leader_stops(stage: Stage, tmp_path: Path) -> None:
    """
    The two others go on when the leader stops, with all that was acknowledged.
    """
    nodes = await three(stage, tmp_path)
    first = await leader(stage, nodes)
    new = {"ip": "127.0.9.1", "port": 1, "check": QUIET}
    assert (await first.call("POST", "/servers", new)).status == 201
    await first.stop()
    rest = [node for node in nodes if node is not first]
    second = await leader(stage, rest)
    new = {"ip": "127.0.9.1", "port": 2, "check": QUIET}
    assert (await second.call("POST", "/servers", new)).status == 201
    for node in rest:
        await knows(stage, node, {"127.0.9.1:1", "127.0.9.1:2"})


@pytest_twisted.ensureDeferred
async def test_leadership_is_handed_over(stage: Stage, tmp_path: Path) -> None:
    """
    The node that is asked for leads, and the former leader follows it.
    """
    nodes = await three(stage, tmp_path)
    first = await leader(stage, nodes)
    wanted = next(node for node in nodes if node is not first)
    name = (await wanted.call("GET", "/cluster")).document["name"]
    assert (await first.call("POST", "/cluster/leader", {"name": name})).status == 202
    await stage.until(wanted.leads, "the one that was asked for leads")
    assert await leader(stage, nodes) is wanted


@pytest_twisted.ensureDeferred
async def test_secret_is_changed(stage: Stage, tmp_path: Path) -> None:
    """
    The three steps of a change of the secret, each read again by all nodes before the next. Each
    write is acknowledged, and no other node leads in the end.
    """
    nodes = await three(stage, tmp_path)
    first = await leader(stage, nodes)
    ids = set()
    port = 0
    for step in (secret.add, secret.swap, secret.remove):
        step(tmp_path / "secret")
        for node in nodes:
            node.reload()
            for other in nodes:
                port += 1
                new = {"ip": "127.0.9.1", "port": port, "check": QUIET}
                answer = await other.call("POST", "/servers", new)
                assert answer.status == 201, answer.document
                ids.add(answer.document["id"])
    for node in nodes:
        await knows(stage, node, ids)
    await stage.until(lambda: _renewed(stage, 3), "all connections are made anew")
    assert await leader(stage, nodes) is first


async def _renewed(stage: Stage, count: int) -> bool:
    """
    Whether so many connections are made anew.
    """
    return sum("is made anew" in line for line in stage.log) >= count
