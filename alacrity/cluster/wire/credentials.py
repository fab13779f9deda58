"""
The credentials of a node for handshakes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from alacrity.cluster.wire.handshake import (
    NONCE_SIZE,
    AdmissionCheck,
    Handshake,
    Identity,
    initiate,
    respond,
)


class Credentials:
    """
    A node's identity and secret, and the rule that decides which nodes it accepts.

    @ivar accept: gives the reason to refuse a node that has the secret; L{None}: there is none.
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        secret: bytes,
        accept: AdmissionCheck,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        @param identity: gives the present identity of this node.
        @param random_bytes: makes unpredictable bytes; deterministic in simulations only.
        """
        self.accept = accept
        self._identity = identity
        self._secret = secret
        self._random_bytes = random_bytes

    def initiate(self, target: str) -> Handshake:
        """
        Begin a handshake as the initiator.

        @param target: the name of the node that this node connects to.
        """
        nonce = self._random_bytes(NONCE_SIZE)
        return initiate(self._secret, self._identity(), target, self.accept, nonce)

    def respond(self, accept_too: AdmissionCheck) -> Handshake:
        """
        Begin a handshake as the responder.

        @param accept_too: called if C{accept} gives no reason to refuse the node.
        """

        def accept(peer: Identity) -> str | None:
            return self.accept(peer) or accept_too(peer)

        nonce = self._random_bytes(NONCE_SIZE)
        return respond(self._secret, self._identity(), accept, nonce)
