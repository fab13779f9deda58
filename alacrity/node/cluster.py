"""
The cluster's settings, made from the configuration, and the secret that it names.
"""

from __future__ import annotations

from pathlib import Path

from alacrity.cluster import secret
from alacrity.cluster.log.members import Member
from alacrity.cluster.settings import NodeSettings
from alacrity.config import ClusterSettings, ConfigurationError, Settings
from alacrity.net.addresses import NodeAddress


def node_settings(
    cluster: ClusterSettings, ipv6_only: frozenset[str] = frozenset()
) -> NodeSettings:
    """
    The settings of a node's part in the cluster.

    @param ipv6_only: see L{NodeSettings}.
    """
    return NodeSettings(
        me=_member(cluster.me),
        members=tuple(map(_member, cluster.members)),
        listen=cluster.listen,
        fsync=cluster.fsync,
        ipv6_only=ipv6_only,
    )


def _member(node: NodeAddress) -> Member:
    return Member(node.name, node.address)


def load_secret(cluster: ClusterSettings) -> bytes:
    """
    The secret that the nodes share; empty: none is configured.

    @raise secret.SecretError: it cannot be used.
    """
    return secret.load(Path(cluster.secret_file)) if cluster.secret_file else b""


def require_secret(settings: Settings, *, name: str = "configuration") -> None:
    """
    Check that the secret of the cluster can be used, where one is configured.

    @param name: the configuration file's, for faults.
    @raise ConfigurationError: it cannot.
    """
    try:
        load_secret(settings.cluster)
    except secret.SecretError as error:
        raise ConfigurationError(f"{name}: cluster.secret_file: {error}") from None
