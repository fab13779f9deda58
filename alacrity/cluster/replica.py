"""
The pool of this node, as the cluster agrees on it.

A L{Replica} runs the engine in steps. A step takes the messages, ticks and proposals
that have come; what it changes goes to disk in a thread; then what it has sent leaves
the node, and what it has applied is seen. Meanwhile the next messages queue, so that
many proposals share one write. Nothing that a crash could take back is ever seen by
anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from pysyncobj.node import Node
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from alacrity.cluster.log.entries import MEMBERSHIP, REGULAR
from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused, Proposals, Route
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import CannotApply, Environment, RaftLimits, RaftTiming
from alacrity.cluster.raft.membership import FIRST_INDEX, MemberChange
from alacrity.cluster.raft.outbox import Outbox
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.pulse import Pulse
from alacrity.cluster.state import (
    Applied,
    Draft,
    Envelope,
    Expired,
    NotReadable,
    RaiseFormat,
    Replicated,
    Unreadable,
    decode_state,
    encode_envelope,
    encode_state,
    envelope_version,
    outcome_of,
    version_of,
)
from alacrity.cluster.wire.handshake import Identity
from alacrity.pool import Command, Outcome, PoolView

__all__ = [
    "ClusterStatus",
    "MemberStatus",
    "OutcomeUnknown",
    "PeerTransport",
    "ProposalRefused",
    "Replica",
    "ReplicaSettings",
]

RunInThread: TypeAlias = Callable[[Callable[[], object]], Deferred[Any]]
"""Calls a function where it may block; fires with what comes of it."""

_LOOK: Final = 1.0
"""Seconds at most that count between two looks for a leader."""

_STALL: Final = 0.1
"""Seconds by which a tick is late when this process did not run meanwhile."""

_EVENTS: Final = 64
"""How many messages one step takes, so that one sync does not wait for endless many."""


class PeerTransport(Protocol):
    """
    What a replica asks of a transport, beside what PySyncObj does.
    """

    def start(self) -> Deferred[None] | None:
        """Begin to listen and connect."""

    def stop(self) -> Deferred[None] | None:
        """Lose all connections, make and take no new ones, until started again."""

    def last_contact(self, name: str) -> float | None:
        """How long ago a peer was heard, in seconds; L{None}: it never was."""


class ReplicaSettings(msgspec.Struct, frozen=True):
    """
    How a replica behaves. Seconds.

    @ivar tick: the engine's clock ticks so often.
    @ivar timeout: a proposal that has no outcome by then fails; where there was no leader
        for so long, it fails at once.
    @ivar member_timeout: likewise for a change of the members; a new one first has to
        be reached, and to catch up.
    @ivar retry: a proposal that was denied is tried again.
    @ivar recovery: after a failed write, a new attempt is made.
    @ivar proposals: how many may wait at a time.
    """

    timing: RaftTiming = RaftTiming()
    limits: RaftLimits = RaftLimits()
    tick: float = 0.05
    timeout: float = 5.0
    member_timeout: float = 15.0
    retry: float = 0.1
    recovery: float = 1.0
    proposals: int = 512


class MemberStatus(msgspec.Struct, frozen=True):
    """
    @ivar role: C{leader}, C{follower}, or C{unknown} where this node cannot tell.
    @ivar last_contact: seconds since it was heard; L{None}: it never was, or it is
        this node.
    @ivar match: up to where its log is known to equal the leader's; known to the
        leader alone.
    @ivar lag: by how many entries it is behind; likewise.
    """

    name: str
    address: str
    role: str
    last_contact: float | None = None
    match: int | None = None
    lag: int | None = None


class ClusterStatus(msgspec.Struct, frozen=True):
    """
    The cluster as one node sees it.

    @ivar role: C{leader}, C{candidate}, C{follower}, C{joining} or C{removed}.
    @ivar has_quorum: whether a leader with a majority was heard of lately.
    @ivar suspended: why it takes no part at present, or for good; L{None}: it does.
    @ivar stale: whether what is read here may be out of date.
    @ivar caught_up: whether it led, or has applied what was committed when it first heard of
        a leader, since it started or became a member.
    @ivar remembers: whether it started with the log of an earlier run.
    """

    name: str
    members: tuple[MemberStatus, ...]
    role: str
    leader: str | None
    term: int
    commit_index: int
    applied_index: int
    has_quorum: bool
    suspended: str | None
    stale: bool
    caught_up: bool = True
    remembers: bool = True


class Replica:
    """
    One node's copy of the pool, and its part in the cluster.

    @ivar is_leader: whether this node is the leader, and has applied all that was
        committed before it was.
    """

    _log = Logger()

    version = NEWEST_FORMAT

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
        engine: type[Engine] = Engine,
    ) -> None:
        """
        @param member: this node.
        @param storage: of this node. If it is empty, the node waits to be taken in by
            a cluster.
        @param transport: a L{PeerTransport} that is a L{Transport} of PySyncObj's.
        @param view: is given the pool.
        @param rng: of request ids and election timeouts.
        @raise CannotApply: the storage's snapshot is of a newer version.
        """
        self.is_leader = False
        self._draft = Draft(Replicated())
        self._member = member
        self._storage = storage
        self._transport = transport
        self._view = view
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._rng = rng
        self._settings = settings = settings or ReplicaSettings()
        self._proposals = Proposals(clock, settings.retry, settings.proposals, self._wake)
        self._events: deque[tuple[str, Peer, Any]] = deque()
        # What is applied and not seen yet: outcomes, or, if there is another pool
        # altogether, that; and who is to be told. None of it holds a state: there may be
        # as many as entries.
        self._outcomes: list[Outcome] = []
        self._replaced = False
        self._publications: list[Callable[[], object]] = []
        self._subscribers: list[Callable[[bool], object]] = []
        self._due = False
        self._busy = False
        self._stopped = True
        self._suspended: str | None = None
        self._compacting = False
        self._recovering = False
        self._raising_format = False
        self._caught_up = False
        self._goal: int | None = None
        self._remembers = False
        # For how long there has been no leader with a majority, and when that was seen.
        self._unled = 0.0
        self._looked_at = 0.0
        self._done: list[Deferred[None]] = []
        self._outbox = Outbox(transport, storage.forget_peer)
        self._engine = engine(
            Environment(member, storage, self._outbox, self, rng, settings.timing, settings.limits)
        )
        if self._engine.halted is None:
            # Those that were about to be members when the node stopped.
            for name in set(storage.peers) - {peer.id for peer in self._engine.peers}:
                storage.forget_peer(name)
        # What came from the disk is no news.
        self._publish()
        transport.setOnMessageReceivedCallback(self._received)
        transport.setOnNodeConnectedCallback(self._connected)
        transport.setOnNodeDisconnectedCallback(self._disconnected)
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = clock
        self._ticked_at = 0.0
        self._pulse = Pulse(self._outbox, settings.timing)

    # From outside

    async def start(self) -> None:
        """
        Take part. What was known to be committed when this node stopped is seen at once.
        """
        self._stopped = False
        self._engine.apply_kept(self._publish)
        if self._engine.halted is not None:
            self._halt()
            return
        self._remembers = self._engine.applied_index > FIRST_INDEX
        self._publish()
        self._outbox.release()
        self._looked_at = self._ticked_at = self._clock.seconds()
        await maybeDeferred(self._transport.start)
        self._ticks.start(self._settings.tick)

    async def stop(self) -> None:
        """
        Take no part any more. Whoever waits for an outcome gets none.
        """
        self._stopped = True
        if self._ticks.running:
            self._ticks.stop()
        self._proposals.fail_all("this node stops")
        self._tell_leading(False)
        await maybeDeferred(self._transport.stop)
        while self._busy or self._compacting or self._recovering:
            done: Deferred[None] = Deferred()
            self._done.append(done)
            await done
        await self._run_in_thread(self._storage.close)

    @property
    def state(self) -> Replicated:
        """
        All that was applied to, on disk or not. Each state that is looked at is a copy.
        """
        return self._draft.state()

    @property
    def format(self) -> int:
        """
        Commands up to this version are understood by all members, for good.
        """
        return self._draft.format

    async def propose_as_leader(self, command: Command) -> Outcome:
        """
        Have a command applied that nobody but the leader may ask for: if this node leads
        no more when it is proposed, the next leader is not asked.

        @return: see L{propose}.
        @raise ProposalRefused: nothing happened.
        @raise OutcomeUnknown: it may have.
        """
        route = self._route()
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
        envelope = Envelope(version_of(command), request_id, self._draft.index, command)
        data = REGULAR + encode_envelope(envelope)
        timeout = self._settings.timeout if timeout is None else timeout
        outcome: Outcome | None = await self._wait(request_id, data, timeout, only_by)
        return outcome

    async def add_member(self, member: Member, *, timeout: float | None = None) -> None:
        """
        Take a node into the cluster. It must run, and wait to be taken in. It counts
        once it has caught up.

        @raise ProposalRefused: it was not taken in.
        @raise OutcomeUnknown: it may have been, or may be yet.
        """
        await self._change(member, None, timeout)

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
        if self._refusal() is not None or self._engine.leader is None:
            raise ProposalRefused(self._refusal() or "there is no leader")
        self._engine.hand_over(target)
        self._wake()

    def on_leadership_change(self, subscriber: Callable[[bool], object]) -> Callable[[], None]:
        """
        Have C{subscriber} called with L{is_leader} whenever it changes.

        @return: ends the subscription.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

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
        Who this node is, to its peers.
        """
        name, incarnation = self._member.name, self._storage.incarnation
        # An entry that is not committed may go again, and another one stay.
        seats = [
            each.seat
            for each in self._engine.settled_configuration
            if (each.name, each.incarnation) == (name, incarnation)
        ]
        seat = seats[0] if seats else (0, 0)
        return Identity(name, incarnation, seat, self.version)

    def status(self) -> ClusterStatus:
        """
        The cluster as this node sees it now.
        """
        engine = self._engine
        suspended = self._suspended or engine.halted
        quorum = suspended is None and engine.has_quorum
        leader = engine.leader.id if engine.leader is not None and suspended is None else None
        matches = engine.matches if engine.role == LEADER else {}
        members = []
        for each in engine.configuration:
            own = each.name == self._member.name
            role = "unknown"
            if leader is not None:
                role = "leader" if each.name == leader else "follower"
            match = engine.last_index if own and engine.role == LEADER else matches.get(each.name)
            members.append(
                MemberStatus(
                    each.name,
                    each.address,
                    role,
                    None if own else self._transport.last_contact(each.name),
                    match,
                    None if match is None else max(0, engine.last_index - match),
                )
            )
        return ClusterStatus(
            self._member.name,
            tuple(members),
            self._role(),
            leader,
            engine.term,
            engine.commit_index,
            engine.applied_index,
            quorum,
            suspended,
            not (quorum and engine.is_member),
            self._caught_up,
            self._remembers,
        )

    @property
    def halted(self) -> str | None:
        """
        Why it takes no part any more until an operator has seen to it; L{None}: it does,
        or will.
        """
        return self._engine.halted

    def _role(self) -> str:
        if not self._engine.configuration:
            return "joining"
        if not self._engine.is_member:
            return "removed"
        return ("follower", "candidate", "leader")[self._engine.role]

    # Proposals

    def _new_id(self) -> str:
        return f"{self._rng.getrandbits(96):024x}"

    def _refusal(self) -> str | None:
        """
        Why nothing can be proposed here; L{None}: it can.
        """
        if self._stopped:
            return "this node is stopped"
        if self._engine.halted is not None:
            return self._engine.halted
        if self._suspended is not None:
            return self._suspended
        if not self._engine.is_member:
            return "this node is not a member of the cluster"
        return None

    async def _wait(
        self, request_id: str, data: bytes, timeout: float, only_by: Route | None = None
    ) -> Any:
        refusal = self._refusal()
        if refusal is None and self._unled > self._settings.timeout:
            refusal = "there has been no leader with a majority for a while"
        if refusal is not None:
            raise ProposalRefused(refusal)
        return await self._proposals.add(request_id, data, timeout, only_by)

    def _route(self) -> Route | None:
        leader = self._engine.leader
        if leader is None:
            return None
        return leader.id, self._engine.term, self._outbox.connection(leader)

    # Steps

    def _received(self, node: Node, message: dict[str, Any]) -> None:
        self._events.append(("message", self._peer(node), message))
        self._wake()

    def _peer(self, node: Node) -> Peer:
        """
        A node that the transport was not told of has no address.
        """
        return node if isinstance(node, Peer) else Peer(Member(node.id, ""))

    def _connected(self, node: Node) -> None:
        node = self._peer(node)
        self._outbox.connection_changed(node)
        self._events.append(("connected", node, None))
        self._wake()

    def _disconnected(self, node: Node) -> None:
        node = self._peer(node)
        self._outbox.connection_changed(node)
        self._events.append(("disconnected", node, None))
        self._wake()

    def _tick(self) -> None:
        """
        Let time pass. Where this process did not run for a while, that was nobody's
        silence: what was said meanwhile has come in, and is heard next.
        """
        now = self._clock.seconds()
        stalled = now - self._ticked_at - self._settings.tick
        self._ticked_at = now
        if stalled > _STALL:
            self._engine.excuse(stalled)
        self._pulse.beat(now)
        self._wake()

    def _wake(self) -> None:
        self._due = True
        if not self._busy and not self._stopped and self._suspended is None:
            self._busy = True
            Deferred.fromCoroutine(self._run()).addErrback(self._broken)

    async def _run(self) -> None:
        try:
            while self._due and not self._stopped and self._engine.halted is None:
                self._due = False
                self._step()
                if self._engine.halted is not None:
                    self._halt()
                    break
                if self._storage.dirty:
                    self._pulse.begin(self._clock.seconds())
                    try:
                        await self._run_in_thread(self._storage.sync)
                    except OSError as error:
                        self._suspend(error)
                        break
                    finally:
                        self._pulse.end()
                self._release()
                self._look_for_leader()
                if self._engine.applied_index < self._engine.commit_index or self._events:
                    # There is more to do. Others come first.
                    self._due = True
                    await deferLater(self._clock, 0)
        finally:
            self._busy = False
            self._ended()

    def _look_for_leader(self) -> None:
        """
        Count the time without a leader that was heard. While this process was stopped, or
        its disk was slow, it could hear nobody.
        """
        now = self._clock.seconds()
        passed = min(now - self._looked_at, _LOOK)
        self._unled = 0.0 if self._engine.has_quorum else self._unled + passed
        self._looked_at = now

    def _ended(self) -> None:
        """
        Something is over that L{stop} may wait for.
        """
        done, self._done = self._done, []
        for each in done:
            each.callback(None)

    def _step(self) -> None:
        outbox, engine = self._outbox, self._engine
        for _ in range(min(_EVENTS, len(self._events))):
            kind, node, message = self._events.popleft()
            if kind == "message":
                engine.receive(node, message)
            elif kind == "connected":
                outbox.handle_change(node)
                engine.connected(node)
            elif kind == "adopt":
                self._storage.adopt(message)
            else:
                outbox.handle_change(node)
                engine.disconnected(node)
        engine.begin_step()
        for request_id, data in self._proposals.due(self._route()):
            engine.submit(request_id, data)
        # An engine that is alone commits in the tick after the one that appends.
        before = None
        now = engine.progress
        while engine.halted is None and before != now:
            before = now
            engine.tick()
            now = engine.progress

    def _release(self) -> None:
        self._outbox.release()
        self._pulse.signs = self._engine.replication.heartbeats()
        self._publish()
        self._look_whether_caught_up()
        self._tell_leading(self._engine.is_leader and not self._stopped)
        self._raise_format()

    def _look_whether_caught_up(self) -> None:
        """
        See L{ClusterStatus.caught_up}. A new leader does not know yet how far the log is
        committed, but with an entry of its own term, all before that is.
        """
        engine = self._engine
        if not engine.is_member:
            self._caught_up, self._goal = False, None
        elif not self._caught_up:
            if self._goal is None and engine.leader is not None:
                self._goal = engine.raft.told_commit_index
            reached = self._goal is not None and engine.applied_index >= self._goal
            self._caught_up = engine.is_leader or (
                reached and engine.raft.applied_term == engine.term
            )

    def _raise_format(self) -> None:
        """
        As the leader, once all members are known to speak as this program does, have the
        log say so: from then on it need not be known of each, and whoever does not is kept
        out (see L{alacrity.cluster.wire.transport.Acquaintances}).
        """
        wanted = self.is_leader and self.format < NEWEST_FORMAT <= self._engine.version_of_all
        if wanted and not self._raising_format:
            self._raising_format = True
            Deferred.fromCoroutine(self._propose_format()).addErrback(self._broken)

    async def _propose_format(self) -> None:
        try:
            await self._propose(
                RaiseFormat(NEWEST_FORMAT), None, f"format {NEWEST_FORMAT}", self._route()
            )
        except (ProposalRefused, OutcomeUnknown):
            pass  # It is proposed again when it is still wanted.
        else:
            self._log.info(
                "all nodes understand commands of version {version}", version=NEWEST_FORMAT
            )
        finally:
            self._raising_format = False

    def _publish(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        replaced, self._replaced = self._replaced, False
        if replaced:
            self._view.replace(self.state.pool)
        elif outcomes:
            self._view.advance(self.state.pool, *outcomes)
        publications, self._publications = self._publications, []
        for publication in publications:
            publication()

    def _tell_leading(self, leading: bool) -> None:
        if leading == self.is_leader:
            return
        self.is_leader = leading
        for subscriber in list(self._subscribers):
            try:
                subscriber(leading)
            except Exception:
                self._log.failure("a subscriber to the leadership failed")

    # Faults

    def _suspend(self, error: OSError) -> None:
        """
        Take no part until the disk can be written again. What is in memory may not be
        on disk, so none of it may be told.
        """
        self._suspended = f"this node cannot write its log: {error.strerror or error}"
        self._log.error("{reason}; it takes no part in the cluster", reason=self._suspended)
        self._outbox.discard()
        self._proposals.fail_all(self._suspended)
        self._tell_leading(False)
        self._recovering = True
        Deferred.fromCoroutine(self._recover()).addErrback(self._broken)

    async def _recover(self) -> None:
        try:
            await maybeDeferred(self._transport.stop)
            await self._rewrite()
        finally:
            self._recovering = False
            self._ended()
        if self._stopped:
            return
        self._suspended = None
        self._log.info("this node can write its log again, and takes part in the cluster")
        self._release()
        self._proposals.send_again()
        await maybeDeferred(self._transport.start)
        self._wake()

    async def _rewrite(self) -> None:
        while not self._stopped:
            await deferLater(self._clock, self._settings.recovery)
            try:
                await self._run_in_thread(self._storage.rewrite)
            except OSError:
                continue
            return

    def _halt(self) -> None:
        """
        Take no part until an operator has seen to it.
        """
        self._log.error(
            "this node stops serving the cluster, and goes on with the pool it has: {reason}",
            reason=self._engine.halted,
        )
        self._outbox.discard()
        self._publish()
        self._proposals.fail_all(str(self._engine.halted))
        self._tell_leading(False)
        if self._ticks.running:
            self._ticks.stop()
        maybeDeferred(self._transport.stop).addErrback(self._broken)

    def _broken(self, failure: Any) -> None:
        """
        A fault of the program. Better no part than a wrong one.
        """
        self._log.failure("the replica has failed", failure=failure)
        if self._engine.halted is None:
            self._engine.halt(f"it has failed: {failure.getErrorMessage()}")
            self._halt()

    # The engine's machine

    def apply(self, command: bytes) -> None:
        """See L{StateMachine <alacrity.cluster.raft.environment.StateMachine>}."""
        match self._draft.apply(command):
            case Unreadable(reason):
                raise CannotApply(reason)
            case Expired(request_id):
                self._publications.append(partial(self._proposals.expire, request_id))
            case Applied(request_id, outcome, repeated):
                if outcome is not None and not repeated and not self._replaced:
                    self._outcomes.append(outcome)
                self._publications.append(partial(self._proposals.resolve, request_id, outcome))

    def encode(self) -> bytes:
        """See L{StateMachine <alacrity.cluster.raft.environment.StateMachine>}."""
        return encode_state(self.state)

    def restore(self, state: bytes) -> None:
        """See L{StateMachine <alacrity.cluster.raft.environment.StateMachine>}."""
        try:
            restored = decode_state(state)
        except NotReadable as error:
            raise CannotApply(str(error)) from error
        self._draft = Draft(restored)
        self._replaced = True
        self._outcomes.clear()
        self._publications.append(self._resolve_restored)

    def _resolve_restored(self) -> None:
        """
        End the proposals that a snapshot contains.
        """
        for request_id in self._proposals.ids:
            outcome = outcome_of(self.state, request_id)
            if outcome is not None:
                self._proposals.resolve(request_id, outcome)
        # The others may be in the snapshot as well, where they leave no trace.
        self._proposals.send_again()

    def readable(self, command: bytes, version: int) -> bool:
        """See L{StateMachine <alacrity.cluster.raft.environment.StateMachine>}."""
        own = envelope_version(command)
        return own is not None and 1 <= own <= min(max(version, self.format), self.version)

    def members_changed(self, request_id: str) -> None:
        """See L{StateMachine <alacrity.cluster.raft.environment.StateMachine>}."""
        self._publications.append(partial(self._proposals.resolve, request_id, None))

    def denied(self, request_id: str, reason: str, *, final: bool) -> None:
        """See L{StateMachine <alacrity.cluster.raft.environment.StateMachine>}."""
        self._publications.append(partial(self._proposals.denied, request_id, reason, final=final))

    def compact(self, snapshot: Snapshot) -> None:
        """See L{StateMachine <alacrity.cluster.raft.environment.StateMachine>}."""
        if not self._compacting:
            self._compacting = True
            Deferred.fromCoroutine(self._compact(snapshot)).addErrback(self._broken)

    async def _compact(self, snapshot: Snapshot) -> None:
        try:
            rewrite = self._storage.prepare(snapshot)
            await self._run_in_thread(rewrite.write)
        except OSError as error:
            self._log.warn(
                "the log cannot be compacted: {fault}", fault=error.strerror or str(error)
            )
        else:
            if not self._stopped:
                self._events.append(("adopt", Peer(self._member), rewrite))
                self._wake()
        finally:
            self._compacting = False
            self._ended()
