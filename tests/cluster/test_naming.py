"""
L{alacrity.cluster.naming}: the id of a cluster.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.formats import NAMING_FORMAT
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.naming import ClusterNaming, new_cluster_id
from alacrity.cluster.proposals import ProposalRefused
from alacrity.cluster.state import (
    ClusterCommand,
    Envelope,
    NameCluster,
    RaiseFormat,
    decode_state,
    encode_envelope,
)


class NamingTests(SynchronousTestCase):
    """
    A leader that has a machine, and proposals whose outcomes the test decides.
    """

    def setUp(self) -> None:
        self.machine = PoolMachine()
        self.asked: list[tuple[NameCluster, str]] = []
        self.pending: Deferred[None] = Deferred()
        self.renamed = 0
        self.naming = ClusterNaming(self.machine, self._propose, Random(1), self._rename, self.fail)

    async def _propose(self, command: NameCluster, request_id: str) -> None:
        self.asked.append((command, request_id))
        await self.pending

    def _rename(self) -> None:
        self.renamed += 1

    def apply(self, command: ClusterCommand) -> None:
        version = NAMING_FORMAT
        self.machine.apply(encode_envelope(Envelope(version, "x", 0, command)))

    def test_once_all_are_heard(self) -> None:
        """
        The format comes first; then all members are to be heard.
        """
        self.naming.maybe_propose(lambda: True)
        self.assertEqual(self.asked, [])
        self.apply(RaiseFormat(NAMING_FORMAT))
        self.naming.maybe_propose(lambda: False)
        self.assertEqual(self.asked, [])
        self.naming.maybe_propose(lambda: True)
        self.naming.maybe_propose(lambda: True)
        ((command, request_id),) = self.asked
        self.assertRegex(command.id, "^[0-9a-f]{16}$")
        self.assertEqual((command.anew, request_id), (False, f"name {command.id}"))

    def test_refused(self) -> None:
        """
        A proposal that fails is made again, with another id.
        """
        self.apply(RaiseFormat(NAMING_FORMAT))
        self.naming.maybe_propose(lambda: True)
        pending, self.pending = self.pending, Deferred()
        pending.errback(ProposalRefused("no"))
        self.naming.maybe_propose(lambda: True)
        self.assertEqual(len({command.id for command, _ in self.asked}), 2)

    def test_named(self) -> None:
        """
        A cluster with an id gets no other. That it has one is told once, and logged.
        """
        with capturedLogs() as logs:
            self.naming.look()
            self.apply(NameCluster("1" * 16))
            self.naming.look()
            self.naming.look()
        self.assertEqual(self.renamed, 1)
        self.assertEqual([formatEvent(e) for e in logs], [f"the id of this cluster is {'1' * 16}"])
        self.naming.maybe_propose(lambda: True)
        self.assertEqual(self.asked, [])

    def test_the_first_name_stays(self) -> None:
        """
        Unless a cluster begins anew.
        """
        self.apply(NameCluster("1" * 16))
        self.apply(NameCluster("2" * 16))
        self.assertEqual((self.machine.cluster_id, self.machine.format), ("1" * 16, NAMING_FORMAT))
        self.apply(NameCluster("3" * 16, anew=True))
        self.assertEqual(self.machine.cluster_id, "3" * 16)

    def test_in_snapshots(self) -> None:
        """
        A snapshot has the id.
        """
        self.apply(NameCluster("1" * 16))
        encoded = self.machine.encode()
        self.assertEqual(decode_state(encoded).cluster_id, "1" * 16)
        other = PoolMachine()
        other.restore(encoded)
        self.assertEqual(other.cluster_id, "1" * 16)

    def test_random(self) -> None:
        """
        Ids are drawn.
        """
        rng = Random(1)
        self.assertEqual(len({new_cluster_id(rng) for _ in range(100)}), 100)
