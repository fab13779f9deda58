"""
The cluster's settings, made from the configuration, and the secrets in the file that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

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


def load_secrets(cluster: ClusterSettings) -> tuple[bytes, ...]:
    """
    The secrets that the nodes share, the one to prove first; one that is empty: none is
    configured.

    @raise secret.SecretError: they cannot be used.
    """
    return secret.load(Path(cluster.secret_file)) if cluster.secret_file else (b"",)


class SecretReloading:
    """
    Reads the file of the cluster's secret again, while the node runs.
    """

    _log = Logger()

    def __init__(
        self, cluster: ClusterSettings, use: Callable[[tuple[bytes, ...]], object]
    ) -> None:
        """
        @param use: called with the secrets to use from now on.
        """
        self._cluster = cluster
        self._use = use

    def reload(self) -> None:
        """
        Read the file. If it cannot be used, the secrets that are in use stay.
        """
        if not self._cluster.secret_file:
            return
        try:
            secrets = load_secrets(self._cluster)
        except secret.SecretError as error:
            self._log.error(
                "cluster.secret_file cannot be read again, and what it had before stays in use: "
                "{fault}",
                fault=str(error),
            )
            return
        self._use(secrets)
        self._log.info(
            "cluster.secret_file was read again: {found}",
            found="one secret"
            if len(secrets) == 1
            else "two secrets, of which other nodes may have either, and this one proves the first",
        )


def require_secret(settings: Settings, *, name: str = "configuration") -> None:
    """
    Check that the secret of the cluster can be used, where one is configured.

    @param name: the configuration file's, for faults.
    @raise ConfigurationError: it cannot.
    """
    try:
        load_secrets(settings.cluster)
    except secret.SecretError as error:
        raise ConfigurationError(f"{name}: cluster.secret_file: {error}") from None
