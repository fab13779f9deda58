"""
An engine whose every transition is checked against Raft's rules, as it is made.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.mail import Send
from alacrity.cluster.raft.messages import AppendEntries, Message, PreVote, TimeoutNow
from alacrity.cluster.raft.peer import Peer
from tests.simulation.raft_ledger import RaftLedger, kinds

_FROM_LEADER = {"append_entries", "install_snapshot"}
_REPLIES = {"next_node_idx", "snapshot_reply"}


class Watching(Engine):
    """
    An L{Engine} that tells a ledger what it does. Reads, and changes nothing.
    """

    ledger: RaftLedger | None = None

    def __init__(self, environment: Environment) -> None:
        self._leader_heard: tuple[Peer | None, float] = (None, float("-inf"))
        self._answered: dict[str, float] = {}
        self._answered_in = 0
        self._excused = 0.0
        # Who has confirmed something to this leadership, on the present connection.
        self._confirmed: set[str] = set()
        # Who has told its version, likewise.
        self._told: set[str] = set()
        # How often a connection has come or gone, and how often it had when a message was
        # made, by the message's identity.
        self._changes: Counter[str] = Counter()
        self.made: dict[int, tuple[dict[str, Any], int]] = {}
        super().__init__(environment)
        self._name = environment.member.name
        self._transport: Any = environment.transport
        self._timing = environment.timing
        self._limits = environment.limits
        # What the rooms do is looked at too.
        rooms: Any = self
        self._send = self.raft.send
        self._configure = self.reconfiguration.configure
        self._track = self.replication.track
        rooms.raft.send = self._sends
        rooms.reconfiguration.configure = self._configures
        rooms.replication.track = self._tracks

    def _facts(self) -> tuple[int, str | None, int, int, int, int]:
        return (
            self.term,
            self.raft.vote,
            self.commit_index,
            self.applied_index,
            self.role,
            self.last_index,
        )

    def _broken(self, invariant: str, text: str) -> None:
        assert self.ledger is not None
        self.ledger.break_(invariant, f"{self._name} {text}")

    # Transitions

    def receive(self, peer: Peer, message: dict[str, Any]) -> None:
        if self.ledger is None or self.halted is not None:
            super().receive(peer, message)
            return
        before = self._facts()
        log = self.raft.log
        last = log[-1][2], log[-1][1]
        kind = message["type"]
        term = message.get("term", 0)
        foreign = kind in _REPLIES and (
            term != before[0] or peer not in self.replication.peers or before[4] != LEADER
        )
        matches = dict(self.raft.match_index) if foreign else {}
        leader = self.leader
        # An answer to an attempt that was given up.
        stale = kind == "next_node_idx" and message["probe"] != self.replication.probes.get(peer)
        upcoming = self.raft.next_index.get(peer)
        sent = len(self._transport.traffic)
        super().receive(peer, message)
        self._mark(sent)
        self._compare(before)
        if foreign and self.term == before[0] and matches != self.raft.match_index:
            self._broken("reply of this term", f"counts a reply of {peer.id} of term {term}")
        misled = upcoming != self.raft.next_index.get(peer)
        if stale and not message["success"] and not foreign and misled:
            self._broken("reply of this attempt", f"goes by an old answer of {peer.id}")
        if kind in _FROM_LEADER:
            if term < before[0]:
                if self._facts() != before or self.leader != leader:
                    self._broken("message of this term", f"follows {peer.id} of term {term}")
            else:
                self._leader_heard = peer, self.raft.now()
        elif kind == "request_vote":
            self._check_vote(peer, message, before, last)
        elif kind in _REPLIES and not foreign:
            self._answer(peer)
            if kind == "next_node_idx":
                self._told.add(peer.id)
            if message.get("success"):
                self._confirmed.add(peer.id)
        self._check_term(kind, message)
        if kind == "append_entries":
            proved = message["prev_index"] + len(message["entries"])
            if self.commit_index > max(before[2], proved):
                self._broken(
                    "confirmed what came",
                    f"commits {self.commit_index} by {peer.id}, {proved} is proved",
                )
        for each in self._transport.traffic[sent:]:
            if isinstance(each, Send) and each.peer == peer:
                self._check_reply(peer, message, each.message, before, last)

    def _compare(self, before: tuple[int, str | None, int, int, int, int]) -> None:
        term, vote, commit, applied, role, last_index = before
        now = self._facts()
        if now == before:
            return
        if now[0] < term or now[2] < commit or now[3] < applied or now[3] > now[2]:
            self._broken("nothing back", f"goes from {before} to {now}")
        if now[0] == term and vote is not None and now[1] != vote:
            self._broken("nothing back", f"forgets in term {term} that it voted for {vote}")
        if now[4] == LEADER and (role != LEADER or now[0] != term):
            known = sorted(peer.id for peer, at in self.raft.match_index.items() if at)
            if known:
                self._broken("nothing known", f"begins to lead with matches of {known}")
        if role == now[4] == LEADER and now[0] == term and now[5] < last_index:
            self._broken("leader appends", f"truncates its log from {last_index} to {now[5]}")

    def _check_term(self, kind: str, message: dict[str, Any]) -> None:
        if kind in _FROM_LEADER or kind in _REPLIES or (kind == "request_vote" and self._may_vote):
            term = message["term"]
        elif kind == "pre_vote_reply":
            term = message["current"]
        else:
            return
        if self.term < term and self.halted is None:
            self._broken("later term", f"stays in term {self.term} after {kind} of {term}")

    @property
    def _may_vote(self) -> bool:
        return self.configuration != () and self.elections.beginning.is_over

    def _sends(self, peer: Peer, message: Message) -> None:
        self._send(peer, message)
        if self.ledger is None:
            return
        if isinstance(message, PreVote):
            heard = self._leader_heard[1] + self._timing.election[0]
            if heard > self.raft.now() and not self.raft.is_asked_to_lead:
                self._broken("pre-vote in silence", "asks for pre-votes beside a leader")
        elif isinstance(message, TimeoutNow):
            log = self.raft.log
            theirs = self.ledger.disk(peer.id)
            # It may follow a later leader by now.
            if theirs.term <= self.term and not theirs.has(log[-1][1], log[-1][2]):
                self._broken("whole log handed over", f"asks {peer.id} to lead without its log")
        elif isinstance(message, AppendEntries) and message.entries:
            ahead = message.prev_index + 1 - self.raft.match_index[peer]
            size = sum(len(entry[0]) for entry in message.entries[:-1])
            if peer not in self.replication.probing and ahead > self._limits.ahead:
                self._broken("bounded", f"sends {peer.id} entries {ahead} ahead")
            if size >= self._limits.batch:
                self._broken("bounded", f"sends {peer.id} {size} bytes and more")

    def _configures(self) -> None:
        before = self.replication.peers & self.raft.connected
        self._configure()
        gone = before - self.replication.peers
        if self.ledger is None or self.role != LEADER or not gone:
            return
        told = {each.peer for each in self._transport.traffic if isinstance(each, Send)}
        if gone - told:
            self._broken("removed are told", f"drops {sorted(each.id for each in gone - told)}")

    def _check_vote(
        self,
        node: Peer,
        message: dict[str, Any],
        before: tuple[int, str | None, int, int, int, int],
        last: tuple[int, int],
    ) -> None:
        if self.raft.vote != node.id or before[:2] == (self.term, node.id):
            return
        theirs = message["last_log_term"], message["last_log_index"]
        if message["term"] < before[0] or theirs < last or not self.configuration:
            self._broken(
                "vote up to date",
                f"with {last} votes for {node.id} in term {message['term']} with {theirs}, "
                f"members are {self.configuration}",
            )

    def _check_reply(
        self,
        node: Peer,
        message: dict[str, Any],
        reply: Any,
        before: tuple[int, str | None, int, int, int, int],
        last: tuple[int, int],
    ) -> None:
        if reply["type"] == "pre_vote_reply" and reply["granted"]:
            theirs = message["last_log_term"], message["last_log_index"]
            leader, heard = self._leader_heard
            followed = before[4] == LEADER or (
                leader is not None
                and leader in self.raft.connected
                and heard + self._timing.election[0] > self.raft.now()
                # A leader that was asked to hand over, or was found silent, leads no more.
                and self.leader == leader
            )
            if message["term"] <= before[0] or theirs < last or followed or not self.configuration:
                self._broken(
                    "pre-vote in silence",
                    f"with {last} in term {before[0]} encourages {node.id} for term "
                    f"{message['term']} with {theirs}",
                )
        elif reply["type"] == "next_node_idx" and reply["success"]:
            proved = self.commit_index
            if message["type"] == "append_entries":
                proved = max(proved, message["prev_index"] + len(message["entries"]))
            if reply["next_node_idx"] - 1 > proved:
                self._broken(
                    "confirmed what came",
                    f"confirms {reply['next_node_idx'] - 1} to {node.id}, {proved} is proved",
                )

    def disconnected(self, peer: Peer) -> None:
        self._changes[peer.id] += 1
        super().disconnected(peer)
        if self._leader_heard[0] == peer:
            self._leader_heard = None, float("-inf")
        self._confirmed.discard(peer.id)

    def _mark(self, start: int) -> None:
        if not start:
            self.made.clear()
        for each in self._transport.traffic[start:]:
            if isinstance(each, Send):
                self.made[id(each.message)] = each.message, self._changes[each.peer.id]

    def connected(self, peer: Peer, *, has_entries: bool = False) -> None:
        self._changes[peer.id] += 1
        self._told.discard(peer.id)
        super().connected(peer, has_entries=has_entries)

    # Ticks

    def discount_stall(self, stalled: float) -> None:
        super().discount_stall(stalled)
        if self.ledger is None:
            return
        # Silence counts while this process runs; of a long stall, a part is excused.
        now, seconds = self.raft.now(), min(stalled, self._timing.fallback)
        self._answered = {name: min(now, at + seconds) for name, at in self._answered.items()}
        self._excused += stalled
        rested = self.ledger.nodes[self._name].time.rested
        if self._excused > rested + 0.01:
            self._broken("leader heard", f"excuses {self._excused:.3f} s, did not run {rested:.3f}")

    def tick(self) -> None:
        if self.ledger is None or self.halted is not None:
            super().tick()
            return
        before = self._facts()
        # The members may change in the same tick, once it has looked who has answered.
        others = self.raft.others
        sent = len(self._transport.traffic)
        super().tick()
        self._mark(sent)
        self._compare(before)
        if self.role == LEADER:
            self._check_answers(others)
            self._check_appended(before)

    def _check_answers(self, others: set[Peer]) -> None:
        now = self.raft.now()
        if self._answered_in != self.term:
            self._answered_in = self.term
            self._answered = {}
            self._confirmed.clear()
            self._told.clear()
        untold = {peer.id for peer in self.replication.versions} - self._told
        if untold:
            self._broken("version told", f"goes by what {sorted(untold)} said before")
        heard = 1
        for peer in others:
            at = self._answered.setdefault(peer.id, now)
            heard += at + self._timing.fallback + 0.01 > now
        if 2 * heard <= len(others) + 1:
            self._broken("leader heard", f"leads term {self.term}, and {heard} are heard")

    def _check_appended(self, before: tuple[int, str | None, int, int, int, int]) -> None:
        assert self.ledger is not None
        if self.last_index == before[5]:
            return
        log = self.raft.log
        first = log[0][1]
        start = before[5] + 1
        for index in kinds(log, start):
            earlier = [each for each in kinds(log, first) if each < index]
            self.ledger.members_change(
                self._name, index, earlier[-1] if earlier else 0, log, self._confirmed
            )
        commands = any(entry[0][:1] == REGULAR for entry in log[start - first :])
        if commands and self.last_index - self.commit_index > self._limits.backlog + 1:
            self._broken("bounded", f"has {self.last_index - self.commit_index} open entries")

    def _tracks(self, peer: Peer) -> None:
        self._track(peer)
        # Taken in anew, it is given time to answer.
        self._answered[peer.id] = self.raft.now()

    def _answer(self, node: Peer) -> None:
        if self._answered_in == self.term:
            self._answered[node.id] = self.raft.now()


def watching(engine: type[Engine]) -> type[Engine]:
    """
    An engine's class, watched.
    """
    return type(f"Watching{engine.__name__}", (Watching, engine), {})
