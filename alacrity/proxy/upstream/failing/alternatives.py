"""
Other servers that could take a request.
"""

from __future__ import annotations

from collections.abc import Collection

from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing


def can_take(upstream: UpstreamServer) -> bool:
    """
    Whether a server may take a request of any client now, whatever its standing.
    """
    return upstream.may_serve and upstream.pooled.eligible and not upstream.full


def another_can_take(balancer: Balancer, upstream: UpstreamServer) -> bool:
    """
    Whether a server other than this one may take a request.
    """
    return any(each is not upstream and can_take(each) for each in balancer.upstreams())


def another_is_good(
    balancer: Balancer, upstream: UpstreamServer, tried: Collection[UpstreamServer]
) -> bool:
    """
    Whether a server other than this one, and those tried, answers and may take a request.
    """
    return any(
        each is not upstream
        and each.standing is Standing.GOOD
        and can_take(each)
        and each not in tried
        for each in balancer.upstreams()
    )
