"""
Twisted's own reverse proxy on its default reactor, as a script to compare with:
C{python -m benchmarks.twisted_web_proxy PORT ORIGIN_PORT}.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.web.proxy import ProxyClientFactory, ReverseProxyResource
from twisted.web.server import Site


class QuietSite(Site):
    """
    Without an access log, as its peers are.
    """

    def log(self, request: object) -> None:
        """
        Write nothing.
        """


def main() -> None:
    """
    Proxy until stopped.
    """
    port, origin = map(int, sys.argv[1:])
    reactor: Any = default_reactor
    ProxyClientFactory.noisy = False
    resource = ReverseProxyResource("127.0.0.1", origin, b"")
    site = QuietSite(resource)
    reactor.listenTCP(port, site, backlog=4096, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
