"""
The pool of this node, as the cluster agrees on it.

A L{Replica} is what the rest of the program calls: it proposes commands, reads, and says
who the members are. It runs the engine by L{Steps}, and lets others see what they bring
forth.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from alacrity.cluster.format_raise import FormatRaise
from alacrity.cluster.log.entries import MEMBERSHIP, REGULAR
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.proposals import ProposalRefused, Proposals, Route
from alacrity.cluster.publisher import Publisher
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.mail import Connections
from alacrity.cluster.raft.membership import MemberChange
from alacrity.cluster.raft.step import Stepper
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.cluster.state import RaiseFormat, Replicated
from alacrity.cluster.status import ClusterStatus, describe
from alacrity.cluster.steps import RunInThread, StepPhase, Steps
from alacrity.cluster.wire.handshake import Identity
from alacrity.net.addresses import NodeAddress
from alacrity.pool import Command, Outcome, PoolView


class Replica:
    """
    One node's copy of the pool, and its part in the cluster.
    """

    def __init__(
        self,
        member: Member,
        storage: Storage,
        transport: Any,
        view: PoolView,
        clock: IReactorTime,
        run_in_thread: RunInThread,
        rng: Random,
        settings: ReplicaSettings | None = None,
        engine: Callable[[Environment], Engine] = Engine,
        machine: PoolMachine | None = None,
    ) -> None:
        """
        @param member: this node.
        @param storage: of this node. If it is empty, the node waits to be taken in by
            a cluster.
        @param transport: a L{NodeTransport <alacrity.cluster.steps.NodeTransport>} that is a
            L{Transport} of PySyncObj's.
        @param view: is given the pool.
        @param rng: of request ids and election timeouts.
        @raise CannotApply: the storage's snapshot is of a newer version.
        """
        self.machine = machine or PoolMachine()
        self._member = member
        self._storage = storage
        self._transport = transport
        self._rng = rng
        self._settings = settings = settings or ReplicaSettings()
        self._proposals = Proposals(clock, settings.retry, settings.proposals, self._wake)
        connections = Connections()
        self._stepper = stepper = Stepper(
            engine, member, storage, self.machine, connections, rng, settings
        )
        self._engine = stepper.engine
        if self._engine.halted is None:
            # Those that were about to be members when the node stopped.
            for name in set(storage.peers) - {peer.id for peer in self._engine.peers}:
                storage.forget_peer(name)
        raising = FormatRaise(self.machine, self._propose_format, self._fail)
        self._publisher = Publisher(self.machine, view, self._proposals, stepper, raising, clock)
        if storage.snapshot is not None:
            self._publisher.replace()
        self._steps = Steps(
            stepper,
            storage,
            transport,
            connections,
            self._publisher,
            clock,
            run_in_thread,
            settings,
        )

    def __repr__(self) -> str:
        return f"<Replica {self._member.name} {self._steps}>"

    # Life

    async def start(self) -> None:
        """
        Take part. What was known to be committed when this node stopped is seen at once.
        """
        await self._steps.start()

    async def stop(self) -> None:
        """
        Take no part any more. Whoever waits for an outcome gets none.
        """
        await self._steps.stop()

    # The pool

    @property
    def state(self) -> Replicated:
        """
        All that was applied to, on disk or not. Each state that is looked at is a copy.
        """
        return self.machine.state

    @property
    def format(self) -> int:
        """
        Commands up to this version are understood by all members, for good.
        """
        return self.machine.format

    async def propose_as_leader(self, command: Command) -> Outcome:
        """
        Have a command applied that nobody but the leader may ask for: if this node leads
        no more when it is proposed, the next leader is not asked.

        @return: see L{propose}.
        @raise ProposalRefused: nothing happened.
        @raise OutcomeUnknown: it may have.
        """
        route = self._stepper.route
        # A step may have deposed it that is not on disk yet.
        if not self.is_leader or self._engine.role != LEADER or route is None:
            raise ProposalRefused("this node does not lead")
        outcome = await self._propose(command, None, None, route)
        assert outcome is not None
        return outcome

    async def propose(
        self, command: Command, *, timeout: float | None = None, request_id: str | None = None
    ) -> Outcome:
        """
        Have a command applied, by all.

        @param timeout: seconds, after which it fails; L{None}: as set.
        @param request_id: the same when the same is proposed again, on whatever node,
            within the next 2048 commands; it is applied once then. L{None}: a new one.
        @return: its outcome, once it is committed, and applied on this node.
        @raise ProposalRefused: nothing happened.
        @raise OutcomeUnknown: it may have.
        """
        outcome = await self._propose(command, timeout, request_id)
        assert outcome is not None
        return outcome

    async def barrier(self, *, timeout: float | None = None) -> None:
        """
        Wait until this node has applied all that was committed before the call, by any
        node. What is read then is consistent.

        @raise ProposalRefused: there is no majority.
        @raise OutcomeUnknown: there may be none.
        """
        await self._propose(None, timeout, None)

    async def _propose(
        self,
        command: Command | RaiseFormat | None,
        timeout: float | None,
        request_id: str | None,
        only_by: Route | None = None,
    ) -> Outcome | None:
        request_id = request_id or self._new_id()
        data = REGULAR + self.machine.envelope(request_id, command)
        timeout = self._settings.timeout if timeout is None else timeout
        outcome: Outcome | None = await self._wait(request_id, data, timeout, only_by)
        return outcome

    async def _propose_format(self, command: RaiseFormat, request_id: str) -> None:
        await self._propose(command, None, request_id, self._stepper.route)

    # The members

    async def add_member(self, node: NodeAddress, *, timeout: float | None = None) -> None:
        """
        Take a node into the cluster. It must run, and wait to be taken in. It counts
        once it has caught up.

        @raise ProposalRefused: it was not taken in.
        @raise OutcomeUnknown: it may have been, or may be yet.
        """
        await self._change(Member(node.name, node.address), None, timeout)

    async def remove_member(self, name: str, *, timeout: float | None = None) -> None:
        """
        Remove a node from the cluster, whether it runs or not. The leader hands over
        before it is removed. If there is no such member, nothing happens.

        @raise ProposalRefused: it was not removed.
        @raise OutcomeUnknown: it may have been, or may be yet.
        """
        await self._change(None, name, timeout)

    async def _change(self, add: Member | None, remove: str | None, timeout: float | None) -> None:
        request_id = self._new_id()
        change = MemberChange(request_id, add, remove)
        data = MEMBERSHIP + msgspec.msgpack.encode(change)
        await self._wait(
            request_id, data, self._settings.member_timeout if timeout is None else timeout
        )

    def hand_over(self, target: str | None = None) -> None:
        """
        Have the leader hand over, to a member or to whom it likes. Whether it did,
        L{status} says after a while.

        @raise ProposalRefused: there is no such member, or no leader is known.
        """
        if target is not None and all(each.name != target for each in self._engine.configuration):
            raise ProposalRefused(f"there is no member {target}")
        refusal = self._refusal()
        if refusal is not None or self._engine.leader is None:
            raise ProposalRefused(refusal or "there is no leader")
        self._engine.hand_over(target)
        self._wake()

    @property
    def is_leader(self) -> bool:
        """
        Whether this node is the leader, and has applied all that was committed before it
        was.
        """
        return self._publisher.leadership.is_leader

    def on_leadership_change(self, subscriber: Callable[[bool], object]) -> Callable[[], None]:
        """
        Have C{subscriber} called with L{is_leader} whenever it changes.

        @return: ends the subscription.
        """
        return self._publisher.leadership.subscribe(subscriber)

    def known(self, name: str) -> Member | None:
        """
        The member of a name, or the node about to be one; L{None}: there is none.

        A node that follows no leader takes anybody for one, without an address: it may
        be a member that was added since, and the only one that can lead. To talk with
        somebody else does no harm, see the guards.
        """
        for peer in self._engine.peers:
            if peer.id == name:
                return peer.member
        return None if self._engine.has_quorum else Member(name, "")

    @property
    def identity(self) -> Identity:
        """
        The identity that this node tells its peers.
        """
        name, incarnation = self._member.name, self._storage.incarnation
        # An entry that is not committed may go again, and another one stay.
        seats = [
            each.seat
            for each in self._engine.settled_configuration
            if (each.name, each.incarnation) == (name, incarnation)
        ]
        seat = seats[0] if seats else (0, 0)
        return Identity(name, incarnation, seat, self.machine.version)

    def status(self) -> ClusterStatus:
        """
        The cluster as this node sees it now.
        """
        return describe(
            self._member,
            self._engine,
            self._steps.suspension or self._engine.halted,
            self._transport.last_contact,
            caught_up=self._publisher.catch_up.is_done,
            remembers=self._publisher.remembers,
        )

    @property
    def halted(self) -> str | None:
        """
        Why it takes no part any more until an operator has seen to it; L{None}: it does,
        or will.
        """
        return self._engine.halted

    # Proposals

    def _new_id(self) -> str:
        return f"{self._rng.getrandbits(96):024x}"

    def _refusal(self) -> str | None:
        """
        Why nothing can be proposed here; L{None}: it can.
        """
        if self._steps.phase in {StepPhase.NEW, StepPhase.STOPPED}:
            return "this node is stopped"
        if self._engine.halted is not None:
            return self._engine.halted
        if self._steps.suspension is not None:
            return self._steps.suspension
        if not self._engine.is_member:
            return "this node is not a member of the cluster"
        return None

    async def _wait(
        self, request_id: str, data: bytes, timeout: float, only_by: Route | None = None
    ) -> Any:
        refusal = self._refusal()
        if refusal is None and self._publisher.leaderless.seconds > self._settings.timeout:
            refusal = "there has been no leader with a majority for a while"
        if refusal is not None:
            raise ProposalRefused(refusal)
        return await self._proposals.add(request_id, data, timeout, only_by)

    def _wake(self) -> None:
        self._steps.wake()

    def _fail(self, failure: Failure) -> None:
        self._steps.fail(failure)
