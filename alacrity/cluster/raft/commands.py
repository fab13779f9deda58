"""
Commands that are about to enter the leader's log, and the version of commands that all
members understand.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from alacrity.cluster.log.entries import MEMBERSHIP, REGULAR
from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.membership import MemberChange
from alacrity.cluster.raft.messages import Denial, Propose
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.reconfiguration import Reconfiguration
from alacrity.cluster.raft.replication import Replication

_NOT_ALL_UNDERSTAND: Final = "not all members understand this command"
_NOT_ALL_HEARD: Final = "not all members have reported yet whether they understand this command"


class Commands:
    """
    The commands that wait to be appended, or to be sent to the leader.
    """

    def __init__(
        self,
        raft: RaftAdapter,
        environment: Environment,
        replication: Replication,
        reconfiguration: Reconfiguration,
    ) -> None:
        self._raft = raft
        self._machine = environment.machine
        self._results = environment.results
        self._limits = environment.limits
        self._replication = replication
        self._reconfiguration = reconfiguration
        # The proposing peer (None: this node), the request id, and the command.
        self._waiting: deque[tuple[Peer | None, str, bytes]] = deque()

    def submit(self, origin: Peer | None, request_id: str, command: bytes) -> None:
        """
        Queue a command: the next tick appends it, or sends it to the leader. Success shows
        when the command is applied. A failure may be reported by L{Results.command_denied}.

        @param origin: the peer that has proposed the command; L{None}: this node.
        """
        self._waiting.append((origin, request_id, command))

    def take_waiting(self) -> None:
        """
        Append the waiting commands, send them to the leader, or deny them.
        """
        raft = self._raft
        appended = raft.last_index
        while self._waiting:
            origin, request_id, command = self._waiting.popleft()
            if raft.role == LEADER:
                self._append(origin, request_id, command)
            elif origin is not None:
                self._deny(origin, Denial(request_id, "this node is not the leader", final=False))
            elif raft.leader is not None and raft.leader in raft.connected:
                raft.send(raft.leader, Propose(request_id, command))
            else:
                self._deny(None, Denial(request_id, "there is no leader", final=False))
        if raft.last_index > appended:
            self._replication.send_to_all()

    def _append(self, origin: Peer | None, request_id: str, command: bytes) -> None:
        kind = command[:1]
        if self._raft.last_index - self._raft.commit_index > self._limits.backlog:
            self._deny(origin, Denial(request_id, "too many commands wait", final=False))
        elif kind == MEMBERSHIP:
            self._change_members(origin, request_id, command)
        elif kind != REGULAR or not self._machine.readable(command[1:], self._common_version()):
            self._deny(origin, Denial(request_id, _NOT_ALL_UNDERSTAND, final=True))
        elif not (self.all_heard() or self._machine.readable(command[1:], 1)):
            self._deny(origin, Denial(request_id, _NOT_ALL_HEARD, final=False))
        else:
            self._raft.append(command)

    def _change_members(self, origin: Peer | None, request_id: str, command: bytes) -> None:
        denial: Denial | None
        try:
            change = msgspec.msgpack.decode(command[1:], type=MemberChange)
        except msgspec.MsgspecError:
            denial = Denial(request_id, "the membership change cannot be decoded", final=True)
        else:
            denial = self._reconfiguration.change_members(change)
        if denial is not None:
            self._deny(origin, denial)

    def _deny(self, origin: Peer | None, denial: Denial) -> None:
        if origin is None:
            self.on_denial(denial)
        else:
            self._raft.send(origin, denial)

    def on_denial(self, denial: Denial) -> None:
        """
        Report that a command of this node was not appended.
        """
        self._results.command_denied(denial.request_id, denial.reason, final=denial.final)

    def _common_version(self) -> int:
        """
        The newest version of commands that all members understand, as far as they have
        reported.
        """
        versions = self._replication.versions
        return min(
            (versions[peer] for peer in self._raft.others if peer in versions),
            default=self._machine.version,
        )

    def all_heard(self) -> bool:
        """
        Whether all other members have replied to this leader, each on its present connection.
        """
        return self._raft.others <= self._replication.versions.keys()

    def version_of_all(self) -> int:
        """
        The newest version of commands that all members are known to understand.
        """
        return self._common_version() if self.all_heard() else 1
