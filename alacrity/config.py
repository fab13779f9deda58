from __future__ import annotations
import msgspec
class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    request_line: int = 16384
    header_bytes: int = 32768
    header_count: int = 100
    body_bytes: int = 0
    client_connections: int = 10000
    idle_per_server: int = 32
    requests_per_connection: int = 0
class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    connect: float = 3.0
    server_response: float = 60.0
    client_header: float = 10.0
    client_idle: float = 60.0
    server_idle: float = 30.0
    drain: float = 30.0
