"""
The credentials of a node for handshakes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from alacrity.cluster.wire.handshake import (
    AdmissionCheck,
    Handshake,
    Identity,
    Session,
    initiate,
    respond,
)
from alacrity.cluster.wire.keys import KEY_SIZE
from alacrity.cluster.wire.openings import VERSIONS, Versions


class Credentials:
    """
    A node's identity and secrets, and the rule that decides which nodes it accepts.

    @ivar accept: gives the reason to refuse a node that has the secret; L{None}: there is none.
    @ivar secrets: the secrets that other nodes may prove, which are never none. This node proves
        the first one to nodes that it connects to, and to others the one that they have proven.
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        secrets: tuple[bytes, ...],
        accept: AdmissionCheck,
        random_bytes: Callable[[int], bytes] = os.urandom,
        versions: Callable[[], Versions] = lambda: VERSIONS,
    ) -> None:
        """
        @param identity: gives the present identity of this node.
        @param random_bytes: makes unpredictable bytes; deterministic in simulations only.
        @param versions: gives the versions of the protocol that this node speaks at present.
        """
        self.accept = accept
        self.secrets = secrets
        self._identity = identity
        self._random_bytes = random_bytes
        self._versions = versions

    def initiate(self, target: str) -> Handshake:
        """
        Begin a handshake as the initiator.

        @param target: the name of the node that this node connects to.
        """
        return initiate(
            self.secrets[0],
            self._identity(),
            target,
            self.accept,
            self._random_bytes(KEY_SIZE),
            self._versions(),
        )

    def respond(self, accept_too: AdmissionCheck) -> Handshake:
        """
        Begin a handshake as the responder.

        @param accept_too: called if C{accept} gives no reason to refuse the node.
        """

        def accept(peer: Identity) -> str | None:
            return self.accept(peer) or accept_too(peer)

        return respond(
            self.secrets,
            self._identity(),
            accept,
            self._random_bytes(KEY_SIZE),
            self._versions(),
        )

    def replace_secrets(self, secrets: tuple[bytes, ...]) -> None:
        """
        Use other secrets from now on, for handshakes that begin.
        """
        self.secrets = secrets

    def is_outdated(self, session: Session) -> bool:
        """
        Whether a connection must be made anew: its secret is no longer one of the secrets, or
        its version of the protocol is no longer spoken.
        """
        return session.secret not in self.secrets or session.version < self._versions()[0]
