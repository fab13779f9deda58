"""
The JSON documents that the client sends and reads.

Those that it reads have only the members that are used, and others are ignored: the node
that answers may run another version. L{alacrity.management.documents.schemas} has the
whole documents.
"""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class HttpCheckRequest(Struct, frozen=True, tag_field="type", tag="http"):
    """
    A check that passes when C{GET path} is answered with a status of 2xx.
    """

    path: str


class RegistrationRequest(Struct, frozen=True, kw_only=True):
    """
    A server to be registered.

    @ivar ip: its address; unset: that of the caller.
    @ivar check: how it is checked; unset: by TCP.
    """

    ip: str | UnsetType = UNSET
    port: str
    check: HttpCheckRequest | UnsetType = UNSET


class RegisteredServer(Struct, frozen=True):
    """
    The answer to a registration.
    """

    id: str


class NodeContact(Struct, frozen=True):
    """
    A node of the cluster.

    @ivar address: where the other nodes reach it, C{host:port}.
    """

    name: str
    address: str


class ClusterMembers(Struct, frozen=True):
    """
    The cluster, as one node sees it.
    """

    members: list[NodeContact]


class ProblemReport(Struct, frozen=True):
    """
    A problem document (RFC 9457).
    """

    detail: str
