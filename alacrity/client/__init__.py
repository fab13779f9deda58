"""
A client of the management API.

L{alacrity.client.api} has a method for each call. Requests and answers are plain values
(L{alacrity.client.messages}); what sends them is passed in, and L{alacrity.client.over_treq}
is one way to send them. Nothing else here does I/O, and nothing here imports another part
of Alacrity.

To add a call: give L{ApiClient} a method, and L{alacrity.client.documents} the documents
that it sends and reads.
"""

from alacrity.client.api import ApiClient
from alacrity.client.documents import (
    HttpCheckRequest,
    NoCheckRequest,
    RegistrationRequest,
    TcpCheckRequest,
)
from alacrity.client.errors import CallError, CallFailed, CallRefused
from alacrity.client.kept import KeptRegistration
from alacrity.client.over_treq import treq_sender
from alacrity.client.removal import Removal, Remover
from alacrity.client.retrying import persist
from alacrity.client.several import NodeApi, SeveralApis

__all__ = [
    "ApiClient",
    "CallError",
    "CallFailed",
    "CallRefused",
    "HttpCheckRequest",
    "KeptRegistration",
    "NoCheckRequest",
    "NodeApi",
    "RegistrationRequest",
    "Removal",
    "Remover",
    "SeveralApis",
    "TcpCheckRequest",
    "persist",
    "treq_sender",
]
