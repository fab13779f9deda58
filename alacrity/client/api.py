"""
The calls of the management API, one method each.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

import msgspec

from alacrity.client.documents import (
    ClusterMembers,
    Drain,
    NodeContact,
    RegisteredServer,
    RegistrationRequest,
    Renewal,
)
from alacrity.client.errors import CallFailed, error_of
from alacrity.client.messages import ApiRequest, Send

_Document = TypeVar("_Document")


def server_path(id: str) -> str:
    """
    The path of a server's resource.
    """
    return f"/servers/{quote(id, safe=':')}"


class ApiClient:
    """
    Calls the API of one node.

    Each method raises L{CallRefused<alacrity.client.errors.CallRefused>} or
    L{CallFailed<alacrity.client.errors.CallFailed>} where the call does not succeed.
    """

    def __init__(self, send: Send) -> None:
        """
        @param send: sends the requests to the node.
        """
        self._send = send

    async def register(self, registration: RegistrationRequest) -> RegisteredServer:
        """
        Register a server. Registering it again replaces its check.
        """
        answer = await self._call("POST", "/servers", registration)
        return _read(answer, RegisteredServer)

    async def deregister(self, id: str) -> None:
        """
        Remove a server from the pool.
        """
        await self._call("DELETE", server_path(id))

    async def drain(self, id: str, wait: float) -> Drain | None:
        """
        Remove a server from the pool, and wait until no node has a request of it any more.
        It may be repeated, and then goes on waiting.

        @param wait: the seconds to wait at most.
        @return: L{None}: it is removed, but the node is of a version that does not wait.
        """
        path = f"{server_path(id)}?wait={wait:g}"
        answer = await self._call("DELETE", path, wait=wait)
        return _read(answer, Drain) if answer else None

    async def show_server(self, id: str) -> RegisteredServer:
        """
        Fetch a server that is registered, or was removed and still has requests of this node.
        """
        return _read(await self._call("GET", server_path(id)), RegisteredServer)

    async def renew(self, id: str) -> Renewal:
        """
        Renew the lease of a server.
        """
        return _read(await self._call("PUT", f"{server_path(id)}/lease"), Renewal)

    async def show_cluster(self) -> ClusterMembers:
        """
        Fetch the members of the cluster, as the node knows them now.
        """
        return _read(await self._call("GET", "/cluster"), ClusterMembers)

    async def add_node(self, node: NodeContact) -> None:
        """
        Add a node to the cluster.

        @return: once it is a member and has caught up.
        """
        await self._call("POST", "/cluster/nodes", node)

    async def _call(
        self, method: str, path: str, document: object = None, *, wait: float = 0.0
    ) -> bytes:
        body = b"" if document is None else msgspec.json.encode(document)
        response = await self._send(ApiRequest(method, path, body, wait))
        error = error_of(response)
        if error is not None:
            raise error
        return response.body


def _read(body: bytes, kind: type[_Document]) -> _Document:
    """
    Decode an answer.

    @raise CallFailed: it is not the document of this API. Something in front of it may
        have answered, so a repeat may succeed.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallFailed(f"the answer is not one of Alacrity's management API: {error}") from None
