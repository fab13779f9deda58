"""
The Raft engine: PySyncObj's, with guards.

PySyncObj 0.3.17 loses acknowledged writes when its log is compacted, when members
change and when nodes crash. L{Engine} keeps its elections, its ticks, its commit rule
and its book-keeping, and replaces, one method each, what is not safe. The guards:

  - B{G1}, L{Engine._verified}: commit only what is proved equal to the leader's log.
  - B{G2}, L{Engine._take}: truncate only on conflict, and never what is committed.
  - B{G3}, L{Engine._settled}: one change of the members at a time; the members are a
    function of the log; leaders are followed whatever the pending members are.
  - B{G4}, L{Engine._counts}: replies carry the term they belong to.
  - B{G5}, L{Engine._on_mismatch}: common ground is found in one step, and looked for one
    message at a time.
  - B{G6}, L{Engine._install}: snapshot and log change as one.
  - B{G7}, L{Engine._SyncObj__applyLogEntries}: nothing that is applied raises; what
    cannot be understood halts the node.
  - B{G8}, L{Engine._SyncObj__sendAppendEntries}: nothing is sent in an endless loop;
    snapshots go in slices, each when the one before has arrived.

and beyond those: a pre-vote, so that a node that hears nobody cannot depose a leader;
a new member catches up before it counts.

The guards stand here, each with its reason. What they guard stands in modules of its
own, one class each, that L{Engine} puts together: C{raft}, which all build on,
C{elections}, C{replication}, C{reconfiguration}, C{following} and C{commands}. Each
declares the guards that it asks as abstract methods.

An engine does no I/O. It runs in steps, a message or a tick each, and what a step has
changed must be on disk before anything that it has sent leaves the node.
"""

from __future__ import annotations

from typing import Any

import msgspec

from alacrity.cluster.log.entries import MEMBERSHIP, NO_OP, REGULAR
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.raft.commands import Commands
from alacrity.cluster.raft.environment import CannotApply, Environment, Peer, by_name
from alacrity.cluster.raft.following import Following
from alacrity.cluster.raft.membership import decode_members
from alacrity.cluster.raft.messages import (
    AppendEntries,
    Denial,
    Entry,
    HandOver,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    Propose,
    Reply,
    RequestVote,
    ResponseVote,
    SnapshotReply,
    TimeoutNow,
    parse,
)
from alacrity.cluster.raft.raft import LEADER


class Engine(Following, Commands):
    """
    One node's part in Raft.

    Names with C{_SyncObj__} are PySyncObj's private ones.
    """

    def __init__(self, around: Environment) -> None:
        """
        @raise CannotApply: the storage's snapshot is not understood.
        """
        super().__init__(around)
        self._configure()
        if len(self.configuration) == 1 and self.is_member:
            # It need not wait for anybody.
            self._SyncObj__raftElectionDeadline = float("-inf")

    # What comes in

    def _onTick(self, timeToWait: float = 0.0) -> None:
        if self.halted is not None:
            return
        led = self.role == LEADER
        if not led:
            self._maybe_canvass()
        super()._onTick(timeToWait)
        if self._standing:
            self._postpone()
        if self.role == LEADER:
            self._forget_learners(all_of_them=False)
            self._maybe_hand_over()
        elif led or self._learners:
            self._stepped_down()

    def _SyncObj__onMessageReceived(self, node: Peer, message: dict[str, Any]) -> None:
        if self.halted is not None:
            return
        try:
            parsed = parse(message)
        except msgspec.ValidationError as error:
            self._log.warn(
                "{name} has sent what is no message: {fault}", name=node.id, fault=str(error)
            )
            return
        match parsed:
            case AppendEntries():
                self._on_append_entries(node, parsed)
            case InstallSnapshot():
                self._on_install_snapshot(node, parsed)
            case Reply():
                self._on_reply(node, parsed)
            case SnapshotReply():
                self._on_snapshot_reply(node, parsed)
            case PreVote():
                self._on_pre_vote(node, parsed)
            case PreVoteReply():
                self._on_pre_vote_reply(node, parsed)
            case RequestVote():
                self._on_request_vote(node, message)
            case ResponseVote():
                self._on_response_vote(node, parsed, message)
            case TimeoutNow():
                super()._SyncObj__onMessageReceived(node, message)
            case Propose(request_id, command):
                self._submitted.append((node, request_id, command))
            case Denial(request_id, reason, final):
                self._machine.denied(request_id, reason, final=final)
            case HandOver(target):
                if self.role == LEADER:
                    self.hand_over(target)

    # The guards

    def _verified(self, index: int) -> int:
        """
        G1. Up to where a message has proved this log to equal the leader's: to the last
        entry that it carries, or refers to, and no further.

        PySyncObj takes the whole log for proved by any message, also by one that carries
        a part of a snapshot or nothing: an isolated leader that comes back then applies
        entries that nobody else has.

        @param index: of that entry.
        """
        return index

    def _take(self, message: AppendEntries) -> bool:
        """
        G2. Have a message's entries in the log: those that are there already stay, with
        all that follow. The first one of another term goes, with all that follow.

        PySyncObj truncates at each message, and so forgets what it has acknowledged.

        @return: whether that was possible.
        """
        log = self._SyncObj__raftLog
        changed = False
        for command, index, term in message.entries:
            first, last = log[0][1], log[-1][1]
            if index < first:
                continue
            if index <= last:
                if log[index - first][2] == term:
                    continue
                if index <= self.commit_index:
                    self.halt(f"the leader of term {message.term} contradicts entry {index}")
                    return False
                log.deleteEntriesFrom(index - first)
                changed = True
            log.add(command, index, term)
            changed = changed or command[:1] == MEMBERSHIP
        if changed:
            self._configure()
        return True

    def _settled(self) -> bool:
        """
        G3. Whether the members may be changed: no other change is under way, nor can one
        of an earlier leader come back.

        Two changes at once, by two leaders, can make two majorities that do not meet.
        What is committed in this term stands on all later leaders' logs. (PySyncObj
        never sets what it would tell a pending change by.)
        """
        first = self._SyncObj__noopIDx
        applied = self.applied_index
        return first is not None and applied >= first and applied >= self._change_index

    def _counts(self, peer: Peer, term: int) -> bool:
        """
        G4. Whether a reply is to this leadership, and from whom it asks.

        PySyncObj's replies carry no term: a late one, to an earlier leadership, counts
        in a later one, and commits what no majority has.
        """
        if term > self.term:
            self._see_term(term)
        return term == self.term and self.role == LEADER and peer in self._peers

    def _on_mismatch(self, peer: Peer, message: AppendEntries) -> None:
        """
        G5. What is committed here is in the leader's log, so the next attempt from there
        succeeds, or finds that a snapshot is needed.

        PySyncObj answers with the end of the log or goes back by one entry, and takes
        the last answer of many: under load, the two never meet.
        """
        if message.prev_index <= self.commit_index:
            self.halt(
                f"entry {message.prev_index} is committed here, and {peer.id}, who leads "
                f"term {message.term}, has another"
            )
            return
        self._reply(peer, self.commit_index + 1, message.probe, success=False)

    def _install(self, message: InstallSnapshot, state: bytes) -> bool:
        """
        G6. Take a snapshot, and keep what the log has beyond it, if it does: it may have
        been acknowledged. Both change as one, see L{Storage.replace}.

        PySyncObj writes them to two files, one after the other, and throws the whole log
        away when they disagree after a crash.
        """
        try:
            self._machine.restore(state)
        except CannotApply as error:
            self.halt(f"the leader's snapshot: {error}")
            return False
        log = self._SyncObj__raftLog
        index, term = message.last_index, message.last_term
        at = index - log[0][1]
        entries: list[Entry] = [(NO_OP, index, term)]
        if at < len(log) and log[at][2] == term:
            entries = log[at:]
        log.replace(Snapshot(state, index, term, tuple(message.members)), entries)
        self._SyncObj__raftLastApplied = index
        self._compacted = index
        self._commit(index)
        self._configure()
        return True

    def _SyncObj__applyLogEntries(self) -> bool:
        """
        G7. Apply what is committed, each entry once.

        PySyncObj applies an entry again at each tick if it, or a callback of a caller,
        raises, and shifts all that follow if it skips one. Here nobody is called back but
        the machine, which is total; what it cannot understand halts the node.
        """
        log = self._SyncObj__raftLog
        before = self.applied_index
        size = 0
        for index in range(before + 1, min(self.commit_index, before + self._limits.applied) + 1):
            command = log[index - log[0][1]][0]
            if self._is_enough(size, len(command)):
                break
            size += len(command)
            kind = command[:1]
            try:
                if kind == REGULAR:
                    self._machine.apply(command[1:])
                elif kind not in {NO_OP, MEMBERSHIP}:
                    raise CannotApply(f"it is of kind {command[:1]!r}")
            except CannotApply as error:
                self.halt(f"entry {index} is committed, and not understood: {error}")
                return False
            self._SyncObj__raftLastApplied = index
            if kind == MEMBERSHIP:
                self._configure()
                change = decode_members(command)
                self._machine.members_changed(change.request_id)
        self.allowance = max(0, self.allowance - size)
        return self.role == LEADER and self.applied_index > before

    def _SyncObj__sendAppendEntries(self) -> None:
        """
        G8. Send each follower what it lacks, as far ahead as is good.

        PySyncObj sends until the follower has all, in one go, and turns round and round
        while its snapshot is not ready.
        """
        self._SyncObj__newAppendEntriesTime = self._now() + self._timing.heartbeat
        for peer in sorted(self._peers, key=by_name):
            if peer in self._SyncObj__connectedNodes:
                self._replicate(peer)
