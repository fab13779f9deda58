"""
The credentials with which a node enters into handshakes.
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
    A node's identity and secret, and its rule for whom it lets in.

    @ivar accept: gives the reason to refuse a node that has the secret.
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        secret: bytes,
        accept: AdmissionCheck,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        @param identity: of this node, at present.
        @param random_bytes: nobody may foresee them; deterministic in simulations only.
        """
        self.accept = accept
        self._identity = identity
        self._secret = secret
        self._random_bytes = random_bytes

    def initiate(self, target: str) -> Handshake:
        """
        A handshake with the node of a name, to which this one connects.
        """
        nonce = self._random_bytes(NONCE_SIZE)
        return initiate(self._secret, self._identity(), target, self.accept, nonce)

    def respond(self, accept_too: AdmissionCheck) -> Handshake:
        """
        A handshake with a node that connects to this one.

        @param accept_too: asked where C{accept} finds no reason to refuse the node.
        """

        def accept(peer: Identity) -> str | None:
            return self.accept(peer) or accept_too(peer)

        nonce = self._random_bytes(NONCE_SIZE)
        return respond(self._secret, self._identity(), accept, nonce)
