"""
The configuration of Envoy for the comparison.
"""

from __future__ import annotations

from acceptance.lab.calls import LOOPBACK
from benchmarks.setups import Certificate, Setup


def envoy_config(port: int, setup: Setup, pem: Certificate | None) -> dict[str, object]:
    """
    The configuration of an Envoy.

    @param port: where it listens.
    @param pem: with it, clients speak TLS.
    """

    def address(host: str, port: int) -> dict[str, object]:
        return {"socket_address": {"address": host, "port_value": port}}

    extensions = "type.googleapis.com/envoy.extensions"
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{extensions}.filters.http.router.v3.Router"},
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}
    manager = {
        "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    chain: dict[str, object] = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if pem is not None:
        files = {
            "certificate_chain": {"filename": str(pem.public)},
            "private_key": {"filename": str(pem.key)},
        }
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{extensions}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [files]},
            },
        }
    endpoints = [{"endpoint": {"address": address(host, setup.port)}} for host in setup.hosts]
    cluster = {
        "name": "origin",
        "connect_timeout": "5s",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "origin",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }
    listener = {"address": address(LOOPBACK, port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
