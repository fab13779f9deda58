"""
Pauses of proxies, as their clients see them.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from http.client import HTTPConnection

from acceptance.lab.nodes import Node


class Probe:
    """
    The slowest answers of proxies that are asked every few milliseconds, by a process.
    """

    EVERY = 0.004

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._slowest = multiprocessing.Array("d", len(nodes))
        self._nodes = nodes

    def run(self) -> None:
        """
        Ask for ever, in the process.
        """
        clients = [HTTPConnection(node.host, node.proxy, timeout=30.0) for node in self._nodes]
        while True:
            for at, client in enumerate(clients):
                began = time.perf_counter()
                try:
                    client.request("GET", "/")
                    client.getresponse().read()
                except Exception:
                    # The node is being restarted.
                    client.close()
                else:
                    took = time.perf_counter() - began
                    self._slowest[at] = max(self._slowest[at], took)
            time.sleep(self.EVERY)

    def slowest(self) -> dict[Node, float]:
        """
        The slowest answer of each node since the last call, in ms.
        """
        time.sleep(0.1)
        values = {node: 1e3 * self._slowest[at] for at, node in enumerate(self._nodes)}
        self._slowest[:] = [0.0] * len(self._nodes)
        return values
