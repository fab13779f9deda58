"""
The pool of this node, as the cluster agrees on it.

A L{Replica} is the interface for the rest of the program: it proposes commands, reads, changes
the members, and describes the cluster. L{Steps} runs the engine; L{Publisher} makes the results
visible.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from alacrity.cluster.authority import Authority, EngineFollowing
from alacrity.cluster.format_raise import FormatRaise
from alacrity.cluster.log.entries import MEMBERSHIP, REGULAR
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.moving import AddressWatch
from alacrity.cluster.naming import ClusterNaming
from alacrity.cluster.notes import Notes
from alacrity.cluster.proposals import ProposalRefused, Proposals, Route
from alacrity.cluster.publisher import Publisher
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.mail import Connections
from alacrity.cluster.raft.membership import FIRST_INDEX, MemberChange
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.step import Stepper
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.cluster.state import ClusterCommand, Replicated
from alacrity.cluster.status import ClusterStatus, describe
from alacrity.cluster.steps import RunInThread, StepPhase, Steps
from alacrity.cluster.wire.greeting import Greeting
from alacrity.cluster.wire.handshake import Identity
from alacrity.net.addresses import NodeAddress
from alacrity.pool import Command, Outcome, PoolView


class Replica:
    """
    One node's copy of the pool, and its part in the cluster.

    This class is longer than others, since it is all that the rest of the program calls; most of
    its methods are one line.

    @ivar machine: the replicated state.
    @ivar notes: the messages with other members that are not of the engine's.
    @ivar authority: proves that this node is the leader, for promises that are not in the log.
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
        @param storage: the storage of this node. If it is empty, the node waits to be added to
            a cluster.
        @param transport: a L{NodeTransport <alacrity.cluster.steps.NodeTransport>} that is a
            L{Transport} of PySyncObj's.
        @param view: receives the pool.
        @param rng: the random numbers for request ids and election timeouts.
        @raise CannotApply: the snapshot in the storage is of a newer version.
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
            engine, member, storage, self.machine, connections, rng, settings, transport.fault
        )
        self._engine = stepper.engine
        if self._engine.halted is None:
            # Learners that were not members yet when the node stopped.
            for name in set(storage.peers) - {peer.id for peer in self._engine.peers}:
                storage.forget_peer(name)
        raising = FormatRaise(self.machine, self._propose_format, self._fail)
        naming = ClusterNaming(
            self.machine, self._propose_format, rng, transport.greet_again, self._fail
        )
        self._publisher = Publisher(
            self.machine,
            view,
            self._proposals,
            stepper,
            raising,
            naming,
            AddressWatch(member, self._greeted_from, self.move_member, self._fail),
            clock,
            lambda: self.status().advice,
        )
        if storage.snapshot is not None:
            self._publisher.replace()
        self.notes = notes = Notes(
            member.name, self._send_note, connections.current, lambda: self.format, clock
        )
        self.authority = Authority(notes, EngineFollowing(self._engine), clock)
        self._steps = Steps(
            stepper,
            storage,
            transport,
            connections,
            notes,
            self._publisher,
            clock,
            run_in_thread,
            settings,
        )

    def _send_note(self, name: str, message: dict[str, Any]) -> bool:
        return bool(self._transport.send(Peer(Member(name, "")), message))

    def __repr__(self) -> str:
        return f"<Replica {self._member.name} {self._steps}>"

    # Life

    async def start(self) -> None:
        """
        Take part in the cluster. The entries that were known to be committed when this node
        stopped are visible at once.
        """
        await self._steps.start()

    async def stop(self) -> None:
        """
        Take no part in the cluster any more. All waiting proposals and asks fail.
        """
        self.notes.stop()
        await self._steps.stop()

    # The pool

    @property
    def state(self) -> Replicated:
        """
        The state after all applied commands, on disk or not. Each read makes a copy.
        """
        return self.machine.state

    @property
    def format(self) -> int:
        """
        The format: all members understand commands up to this version.
        """
        return self.machine.format

    async def propose_as_leader(self, command: Command) -> Outcome:
        """
        Propose a command that only the leader may propose. If this node is no longer the
        leader when the command is sent, the command is not sent to the next leader.

        @return: see L{propose}.
        @raise ProposalRefused: nothing happened.
        @raise OutcomeUnknown: the command may have been applied, or may be applied later.
        """
        route = self._stepper.route
        # A step that is not on disk yet may have deposed this node.
        if not self.is_leader or self._engine.role != LEADER or route is None:
            raise ProposalRefused("this node is not the leader")
        outcome = await self._propose(command, None, None, route)
        assert outcome is not None
        return outcome

    async def propose(
        self, command: Command, *, timeout: float | None = None, request_id: str | None = None
    ) -> Outcome:
        """
        Propose a command, which all nodes apply.

        @param timeout: seconds, after which the proposal fails; L{None}: as in the settings.
        @param request_id: the id of the request. A command that is proposed again with the
            same id, on any node, within the next 2048 commands, is applied once. L{None}: a
            new id.
        @return: the outcome, once the command is committed and applied on this node.
        @raise ProposalRefused: nothing happened.
        @raise OutcomeUnknown: the command may have been applied, or may be applied later.
        """
        outcome = await self._propose(command, timeout, request_id)
        assert outcome is not None
        return outcome

    async def barrier(self, *, timeout: float | None = None) -> None:
        """
        Wait until this node has applied all entries that were committed before the call, on
        any node. Reads after that are consistent.

        @raise ProposalRefused: there is no majority.
        @raise OutcomeUnknown: there may be no majority.
        """
        await self._propose(None, timeout, None)

    async def _propose(
        self,
        command: Command | ClusterCommand | None,
        timeout: float | None,
        request_id: str | None,
        only_by: Route | None = None,
    ) -> Outcome | None:
        request_id = request_id or self._new_id()
        data = REGULAR + self.machine.envelope(request_id, command)
        timeout = self._settings.timeout if timeout is None else timeout
        outcome: Outcome | None = await self._wait(request_id, data, timeout, only_by)
        return outcome

    async def _propose_format(self, command: ClusterCommand, request_id: str) -> None:
        await self._propose(command, None, request_id, self._stepper.route)

    # The members

    async def add_member(self, node: NodeAddress, *, timeout: float | None = None) -> None:
        """
        Add a node to the cluster. The node must be running, and wait to be added. It becomes a
        member once it has caught up.

        @raise ProposalRefused: the node was not added.
        @raise OutcomeUnknown: the node may have been added, or may be added later.
        """
        await self._change(Member(node.name, node.address), None, timeout)

    async def remove_member(self, name: str, *, timeout: float | None = None) -> None:
        """
        Remove a node from the cluster, whether it is running or not. If the node is the leader,
        it hands over first. If there is no such member, nothing happens.

        @raise ProposalRefused: the node was not removed.
        @raise OutcomeUnknown: the node may have been removed, or may be removed later.
        """
        await self._change(None, name, timeout)

    async def _change(self, add: Member | None, remove: str | None, timeout: float | None) -> None:
        request_id = self._new_id()
        change = MemberChange(request_id, add, remove)
        data = MEMBERSHIP + msgspec.msgpack.encode(change)
        await self._wait(
            request_id, data, self._settings.member_timeout if timeout is None else timeout
        )

    async def move_member(self, name: str, address: str, *, timeout: float | None = None) -> None:
        """
        Change the address of a member.

        @raise ProposalRefused: the address was not changed.
        @raise OutcomeUnknown: the address may have been changed, or may be later.
        """
        await self._change(Member(name, address), name, timeout)

    def _greeted_from(self, name: str) -> str:
        greeting = self._transport.greeting(name)
        return "" if greeting is None else greeting.address

    def hand_over(self, target: str | None = None) -> None:
        """
        Begin a leadership transfer. Its result shows in L{status} after a while.

        @param target: the member to transfer to; L{None}: any.
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
        Whether this node is the leader, and has applied all entries that were committed before
        it was elected.
        """
        return self._publisher.leadership.is_leader

    def members_below(self, format: int) -> tuple[str, ...]:
        """
        The names of the other members that are not known to understand commands of a format:
        they are not connected with this node, or run an older program. They hold the format up.
        """
        return tuple(
            each.name
            for each in self._engine.configuration
            if each.name != self._member.name and self._transport.understood(each.name) < format
        )

    def on_leadership_change(self, subscriber: Callable[[bool], object]) -> Callable[[], None]:
        """
        Add a subscriber, which is called with L{is_leader} whenever that changes.

        @return: a function that ends the subscription.
        """
        return self._publisher.leadership.subscribe(subscriber)

    @property
    def leader_name(self) -> str | None:
        """
        The name of the leader that this node follows, or its own if it is the leader; L{None}:
        it knows none. The leader may have been replaced, which this node does not know yet.
        """
        engine = self._engine
        if self._refusal() is not None or not engine.has_quorum or engine.leader is None:
            return None
        return engine.leader.id

    @property
    def member_names(self) -> tuple[str, ...]:
        """
        The names of all members, as this node knows them, with its own if it is one.
        """
        return tuple(each.name for each in self._engine.configuration)

    def known(self, name: str) -> Member | None:
        """
        The member or learner of a name; L{None}: there is none.

        While this node follows no leader, any name counts as a member without an address: the
        node may be a member that was added meanwhile, and the only one that can become the
        leader. A connection with a node that is no member does no harm, see the guards.
        """
        for peer in self._engine.peers:
            if peer.id == name:
                return peer.member
        return None if self._engine.has_quorum else Member(name, "")

    @property
    def identity(self) -> Identity:
        """
        The identity by which this node introduces itself to its peers.
        """
        name, incarnation = self._member.name, self._storage.incarnation
        # Settled members only: an entry that is not committed may still be replaced by another.
        seats = [
            each.seat
            for each in self._engine.settled_configuration
            if (each.name, each.incarnation) == (name, incarnation)
        ]
        seat = seats[0] if seats else (0, 0)
        return Identity(name, incarnation, seat, self.machine.version)

    @property
    def greeting(self) -> Greeting:
        """
        The words about its cluster with which this node greets its peers.
        """
        members = self._engine.configuration
        return Greeting(
            self._member.name,
            self.machine.cluster_id,
            self._engine.last_index > FIRST_INDEX,
            not members,
            tuple(sorted(map(str, members))),
            self._member.address,
        )

    def status(self) -> ClusterStatus:
        """
        The cluster as this node sees it now.
        """
        return describe(
            self._member,
            self._engine,
            self._steps.suspension or self._engine.halted,
            self._transport.last_contact,
            self._transport.fault,
            refused=self._transport.refused(),
            cluster_id=self.machine.cluster_id,
            caught_up=self._publisher.catch_up.is_done,
            remembers=self._publisher.remembers,
        )

    @property
    def halted(self) -> str | None:
        """
        The reason why this node has halted, until an operator repairs it; L{None}: it has not.
        """
        return self._engine.halted

    # Proposals

    def _new_id(self) -> str:
        return f"{self._rng.getrandbits(96):024x}"

    def _refusal(self) -> str | None:
        """
        The reason why this node cannot propose; L{None}: it can.
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
