"""
Raft's own promises, checked on each node as a run goes on: against its simulated disk
when something leaves it, and against what all other nodes did before.

L{INVARIANTS <tests.simulation.promises.INVARIANTS>} names them. A violation begins
with the name of the one that is broken.
"""

from __future__ import annotations

from typing import Any

from alacrity.cluster.log.entries import MEMBERSHIP
from alacrity.cluster.log.members import Member
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.membership import FIRST_INDEX
from tests.simulation.disk_ledger import DiskLedger, Observed
from tests.simulation.durable import Durable, Names


class RaftLedger(DiskLedger):
    """
    A L{DiskLedger} that sees terms, votes, logs and commits.
    """

    def __init__(self, world: Any) -> None:
        super().__init__(world)
        # The last index that was committed in each term by its leader.
        self._committed_in: dict[int, int] = {}
        self._votes: dict[tuple[str, str, int], str] = {}
        self._voters: dict[tuple[int, str], set[str]] = {}
        self._granted: dict[tuple[int, str], set[str]] = {}
        self._asked_to_stand: set[str] = set()
        self._led: set[tuple[str, int]] = set()
        self._seen: dict[str, int] = {}
        # The id of the cluster, by its members.
        self._ids: dict[tuple[Member, ...], str] = {}
        # The leaders, and their terms, of a cluster that had no id yet.
        self._unnamed: set[tuple[str, int]] = set()

    # What leaves a node

    def sent(self, name: str, to: str, message: dict[str, Any]) -> None:
        """
        A message leaves a node.
        """
        node = self.nodes.get(name)
        if node is None:
            return
        kind = message["type"]
        if node.replica is not None:
            self._on_its_connection(node, to, message)
        term = message.get("current", message.get("term"))
        if kind == "pre_vote":
            self._counts(name, self.disk(name), kind)
        if term is None or kind == "pre_vote":
            return
        disk = self.disk(name)
        if disk.term < term:
            self.break_(
                "term on disk", f"{name} sends {kind} of term {term}, its disk has {disk.term}"
            )
        if kind == "append_entries":
            if message["commit_index"] > self.last_committed:
                self.break_("commit told", f"{name} tells of commit {message['commit_index']}")
        elif kind == "next_node_idx":
            if message["success"]:
                self._confirmed(name, disk, message)
        elif kind == "request_vote":
            self._counts(name, disk, kind)
            self._stands(name, disk, term)
            self._voted(name, disk, term, name)
        elif kind == "response_vote":
            self._counts(name, disk, kind)
            self._voted(name, disk, term, to)
        elif kind == "pre_vote_reply":
            if message["granted"]:
                self._granted.setdefault((message["term"], to), set()).add(name)
        elif kind == "timeout_now":
            self._asked_to_stand.add(to)

    def _counts(self, name: str, disk: Durable, kind: str) -> None:
        if disk.last_index <= FIRST_INDEX and self._lost_disks.get(name):
            self.break_("lost files are silent", f"{name} sends a {kind}")

    def led(self, name: str, term: int, members: tuple[Member, ...], id: str) -> None:
        """
        A node leads a cluster, and shows what was committed before it was elected.

        @param id: of the cluster, as the node has it.
        """
        known = self._ids.setdefault(members, id) or id
        self._ids[members] = known
        if not known:
            self._unnamed.add((name, term))
        # One that is cut off does not hear of an id, nor of the leader that proposed it.
        if known != id and (id or (name, term) not in self._unnamed):
            names = sorted(each.name for each in members)
            self.break_("one cluster id", f"{name} leads {names} as {id!r}, they were {known!r}")

    def _on_its_connection(self, node: Observed, to: str, message: dict[str, Any]) -> None:
        made = getattr(node.replica._engine, "made", {}).get(id(message))
        changes = getattr(node.transport, "changes", None)
        if made is not None and changes is not None and made[1] != changes[to]:
            self.break_(
                "own connection",
                f"{node.name} sends {message['type']} to {to}, made {changes[to] - made[1]} "
                f"changes of the connection before",
            )

    def _voted(self, name: str, disk: Durable, term: int, candidate: str) -> None:
        if disk.term == term and disk.vote != candidate:
            self.break_(
                "vote on disk",
                f"{name} votes for {candidate} in term {term}, its disk has {disk.vote}",
            )
        known = self._votes.setdefault((name, disk.incarnation, term), candidate)
        if known != candidate:
            self.break_(
                "one vote a term", f"{name} votes for {known} and for {candidate} in term {term}"
            )
        self._voters.setdefault((term, candidate), {candidate}).add(name)

    def _stands(self, name: str, disk: Durable, term: int) -> None:
        members = disk.members_at(disk.last_index)
        granted = self._granted.get((term, name), set()) | {name}
        if self._is_majority(granted, members):
            return
        if name in self._asked_to_stand:
            # It may ask many, with as many messages.
            self._granted.setdefault((term, name), set()).update(members)
            self._asked_to_stand.discard(name)
            return
        self.break_(
            "pre-votes of a majority",
            f"{name} stands in term {term} by {sorted(granted)} of {sorted(members)}",
        )

    @staticmethod
    def _is_majority(names: set[str], members: Names) -> bool:
        return 2 * len(names.intersection(members)) > len(members)

    def _confirmed(self, name: str, disk: Durable, message: dict[str, Any]) -> None:
        term, index = message["term"], message["next_node_idx"] - 1
        if disk.term > term:
            # It follows a later leader by now, and may have other entries for that.
            return
        if index > disk.last_index:
            self.break_(
                "match on disk", f"{name} confirms {index}, its disk ends at {disk.last_index}"
            )

    # Steps

    def started(self, name: str) -> None:
        """
        A node begins to run, before it takes part.
        """
        engine = self.nodes[name].replica._engine
        disk = self.disk(name)
        vote = engine.raft.vote
        if engine.term < disk.term or (engine.term == disk.term and vote != disk.vote):
            self.break_(
                "restart keeps",
                f"{name} starts in term {engine.term} with vote {vote}, "
                f"its disk has {disk.term}, {disk.vote}",
            )
        # A crash may have come between the disk and the end of the step that committed this.
        self._commits(name, engine, disk)
        self._seen[name] = engine.commit_index

    def released(self, name: str) -> None:
        """
        A step is over and synced: what it has sent leaves, what it has applied is seen.
        """
        engine = self.nodes[name].replica._engine
        disk = self.disk(name)
        if engine.commit_index > self._seen.get(name, 0):
            self._commits(name, engine, disk)
            self._seen[name] = engine.commit_index
        if engine.last_index > disk.last_index or engine.term > disk.term:
            self.break_(
                "seen on disk",
                f"{name} goes on at {engine.last_index} in term {engine.term}, its disk ends at "
                f"{disk.last_index} in term {disk.term}",
            )
        counted = {each.name for each in engine.configuration}
        others = {each.id for each in engine.raft.others}
        members = set(disk.members_at(disk.last_index))
        if engine.halted is None and (counted != members or others != members - {name}):
            self.break_(
                "members by the log",
                f"{name} counts {sorted(counted)}, and {sorted(others)}, its log ends with "
                f"{disk.members_at(disk.last_index)}",
            )
        if engine.role == LEADER:
            self._leads(name, engine, disk)
        waiting = len(self.nodes[name].replica._proposals._waiting)
        if waiting > self.nodes[name].replica._settings.proposals:
            self.break_("bounded", f"{waiting} proposals wait on {name}")

    def applied(self, node: str, index: int, request_id: str, digest: int) -> None:
        super().applied(node, index, request_id, digest)
        watched = self.nodes.get(node)
        if watched is None or watched.replica is None:
            return
        applied, disk = watched.replica._engine.applied_index, self.disk(node)
        if applied > disk.last_index:
            self.break_(
                "seen on disk",
                f"{node} shows {applied}, its disk ends at {disk.last_index}",
            )

    def told_leading(self, name: str) -> None:
        """
        A step is over, and a node has said whether it leads.
        """
        replica = self.nodes[name].replica
        if replica is None or not replica.is_leader:
            return
        engine = replica._engine
        index = self._committed_before(engine.term)
        if engine.applied_index < index:
            self.break_(
                "leads once applied",
                f"{name} says that it leads term {engine.term}, has applied "
                f"{engine.applied_index} and {index} was committed before",
            )

    def bounded(self, node: Any) -> None:
        """
        In the end: a member's log is compacted, as far as it may be.
        """
        replica = getattr(node, "replica", None)
        if replica is not None:
            limits, length = replica._settings.limits, len(replica._storage)
            if length > 5 * limits.log + 64:
                self.break_("bounded", f"the log of {node.name} has {length} entries")

    def _committed_before(self, term: int) -> int:
        return max((at for each, at in self._committed_in.items() if each < term), default=0)

    def _commits(self, name: str, engine: Any, disk: Durable) -> None:
        index = engine.commit_index
        term = disk.term_at(index)
        known = min(index, self.last_committed)
        mine = disk.term_at(known)
        if mine is not None and known in self.committed and mine != self.committed[known]:
            self.break_(
                "state machine safety",
                f"{name} commits entry {known} of term {mine}, "
                f"another node has one of term {self.committed[known]}",
            )
        if index <= self.last_committed:
            return
        if term is None:
            self.break_("seen on disk", f"{name} commits {index}, which is not on its disk")
            return
        leads = engine.role == LEADER
        if leads and term != engine.term:
            self.break_(
                "commit of its term",
                f"{name} commits entry {index} of term {term} in term {engine.term}",
            )
        having = {each for each in self.nodes if self._has(each, index, term)}
        # A leader counts by the end of its log; both majorities meet all later ones.
        then, now = disk.members_at(index), disk.members_at(disk.last_index)
        if not (self._is_majority(having, then) or self._is_majority(having, now)):
            self.break_(
                "commit of a majority",
                f"{name} commits entry {index} of term {term}, "
                f"{sorted(having)} have it on disk, members are {sorted(then)}",
            )
        for each in range(self.last_committed + 1, index + 1):
            at = disk.term_at(each)
            if at is not None:
                self.committed[each] = at
                self._committed_during[each] = engine.term
        self._committed_members += disk.changes_between(self.last_committed, index)
        self.last_committed = index
        self._committed_in[engine.term] = index

    def _leads(self, name: str, engine: Any, disk: Durable) -> None:
        term = engine.term
        if (name, term) not in self._led:
            self._led.add((name, term))
            self._elected(name, term, disk)
        if disk.term != term:
            return
        for peer, match in engine.raft.match_index.items():
            if match <= 2 or peer.id not in self.nodes:
                continue
            theirs = self.disk(peer.id)
            mine = disk.term_at(match)
            if mine is None or theirs.term > term:
                continue
            if not self._has(peer.id, match, mine):
                self.break_(
                    "match on disk",
                    f"{name} takes {peer.id} to have entry {match} of term {mine}, which it has "
                    f"not: its disk ends at {theirs.last_index}",
                )

    def _elected(self, name: str, term: int, disk: Durable) -> None:
        if disk.term == term and disk.vote != name:
            self.break_("vote on disk", f"{name} leads term {term}, its disk has {disk.vote}")
        members = disk.members_at(disk.last_index)
        voters = self._voters.get((term, name), set()) | {name}
        if not self._is_majority(voters, members):
            self.break_(
                "votes of a majority",
                f"{name} leads term {term} by {sorted(voters)} of {sorted(members)}",
            )
        index = self._committed_before(term)
        if index and not disk.has(index, self.committed[index]):
            self.break_(
                "leader completeness",
                f"{name} leads term {term} without entry {index}, which is committed",
            )

    def met(self, name: str, other: str, member: Any) -> None:
        """
        A node has let another one in.

        @param member: by what is known; L{None}: it is unknown.
        """
        peers = self.nodes[name].replica._storage.peers
        if member is not None and member.address and not (member.incarnation or other in peers):
            self.break_(
                "met is kept", f"{name} lets {other} in, and does not keep with which files"
            )

    def read(self, name: str, committed: int) -> None:
        """
        A node has answered a consistent read.

        @param committed: the highest committed index when it was asked for.
        """
        replica = self.nodes[name].replica
        if replica is not None and replica._engine.applied_index < committed:
            self.break_(
                "read index",
                f"{name} reads at {replica._engine.applied_index}, {committed} was committed",
            )

    # The members

    def members_change(
        self, name: str, index: int, before: int, log: Any, confirmed: set[str]
    ) -> None:
        """
        A leader has appended an entry about the members.

        @param before: the index of the last one before; 0: there is none in the log.
        @param log: the engine's.
        @param confirmed: who has confirmed entries since it was connected last.
        """
        engine = self.nodes[name].replica._engine
        if before > engine.commit_index:
            self.break_(
                "one change at a time",
                f"{name} changes the members at {index}, the change at {before} is open",
            )
        first = log[0][1]
        if log[engine.commit_index - first][2] != engine.term:
            self.break_(
                "change after commit",
                f"{name} changes the members at {index}, with nothing committed in {engine.term}",
            )
        own = [each for each in engine.configuration if each.name == name]
        if any(each.incarnation != self.disk(name).incarnation for each in own):
            self.break_("incarnations told", f"{name} appends {own} at {index}")
        now = {each.name for each in engine.configuration}
        was = set(self.disk(name).members_at(index - 1))
        for each in sorted((now - was) & set(self.nodes)):
            if each not in confirmed or self.disk(each).last_index < max(first, 2):
                self.break_("caught up", f"{each} is taken in at {index} without the log")


def kinds(log: Any, start: int) -> list[int]:
    """
    The indices of a log's entries about the members, from one on.
    """
    first = log[0][1]
    return [entry[1] for entry in log[max(0, start - first) :] if entry[0][:1] == MEMBERSHIP]
