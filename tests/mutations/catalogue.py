"""
The mutants. The texts that they replace are short, so that they outlast other changes.
"""

from __future__ import annotations

from typing import Final

from tests.mutations.patching import Edit, Mutant

_MUTANTS: Final = (
    Mutant(
        "vote-forgotten",
        "elections",
        "A node forgets at restart whom it voted for",
        (Edit("alacrity.cluster.raft.adapter", "storage.getVotedForNodeId()", "None"),),
        seed=2,
        scenario="crashes",
    ),
    Mutant(
        "term-forgotten",
        "elections",
        "A node forgets its term at restart",
        (
            Edit(
                "alacrity.cluster.raft.adapter",
                "max(storage.getCurrentTerm(), storage[-1][2])",
                "storage[-1][2]",
            ),
        ),
        seed=2,
        scenario="crashes",
    ),
    Mutant(
        "empty-log-counts",
        "elections",
        "A node that may have lost its files takes part in elections at once",
        (
            Edit("alacrity.cluster.raft.beginning", "if not self._is_over:", "if True:"),
            Edit(
                "alacrity.cluster.raft.beginning",
                "self._is_over = has_entries or (",
                "self._is_over = True or (",
            ),
        ),
        seed=0,
        scenario="lost_directories",
    ),
    Mutant(
        "majority-begins",
        "elections",
        "A node with an empty log begins a cluster with whoever is there",
        (
            Edit(
                "alacrity.cluster.raft.beginning",
                "self._raft.others <= self._heard",
                "self._heard",
            ),
        ),
        seed=0,
        scenario="lost_directories",
    ),
    Mutant(
        "empty-log-stands",
        "elections",
        "A node that may have lost its files does not vote, but stands",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "if not (self._reconfiguration.is_member and self.beginning.is_over):",
                "if not self._reconfiguration.is_member:",
            ),
        ),
        seed=0,
        scenario="lost_directories",
    ),
    Mutant(
        "named-anew",
        "elections",
        "Each name that is committed replaces the one before",
        (Edit("alacrity.cluster.state", "(command.anew or not self.cluster_id)", "True"),),
    ),
    Mutant(
        "name-not-in-snapshot",
        "storage",
        "A snapshot does not have the id of the cluster",
        (
            Edit(
                "alacrity.cluster.state",
                "self._older, self.format, self.cluster_id",
                "self._older, self.format",
            ),
        ),
        seed=2,
        scenario="compaction",
    ),
    Mutant(
        "moved-is-new",
        "reconfiguration",
        "A member whose address changes loses its seat and its incarnation",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "msgspec.structs.replace(each, address=moved.address)",
                "moved",
            ),
        ),
    ),
    Mutant(
        "move-at-once",
        "reconfiguration",
        "An address is changed while another change is pending",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "if not self.is_settled():",
                "if not (self.is_settled() or (change.add and change.remove)):",
            ),
        ),
    ),
    Mutant(
        "vote-twice",
        "elections",
        "A node votes for whoever asks",
        (Edit("pysyncobj.syncobj", "if self.__votedForNodeId is not None:", "if False:"),),
        seed=5,
        scenario="five",
    ),
    Mutant(
        "vote-for-old-log",
        "elections",
        "A vote goes to whose last entry is of an earlier term",
        (Edit("pysyncobj.syncobj", "if lastLogTerm < self.__getCurrentLogTerm():", "if False:"),),
        seed=21,
        scenario="forged",
    ),
    Mutant(
        "vote-for-short-log",
        "elections",
        "A vote goes to whose log is shorter",
        (
            Edit(
                "pysyncobj.syncobj", "lastLogIdx < self.__getCurrentLogIndex():", "lastLogIdx < 0:"
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "vote-unsaved",
        "elections",
        "Votes are not on disk before they leave",
        (
            Edit(
                "alacrity.cluster.log.journal",
                "self._change(Term(term, votedForNodeId))",
                "self._change(Term(term, votedForNodeId), urgent=False)",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "duplicate-votes",
        "elections",
        "A vote that comes twice counts twice",
        (Edit("alacrity.cluster.raft.elections", "self._voters.add(peer)", "pass"),),
        seed=0,
        scenario="late",
    ),
    Mutant(
        "strangers-votes",
        "elections",
        "Votes of those that are no members count",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "in raft.others - self._voters",
                "not in self._voters",
            ),
        ),
        seed=21,
        scenario="forged",
    ),
    Mutant(
        "votes-of-earlier-terms",
        "elections",
        "A vote of an earlier term counts",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "if vote.term == raft.term and peer",
                "vote = ResponseVote(raft.term)\n        if peer",
            ),
        ),
        seed=21,
        scenario="forged",
    ),
    Mutant(
        "half-elects",
        "elections",
        "A vote counts for two",
        (Edit("pysyncobj.syncobj", "self.__votesCount += 1", "self.__votesCount += 2"),),
        seed=5,
        scenario="five",
    ),
    Mutant(
        "votes-kept",
        "elections",
        "Who voted in an earlier term is not counted in this one",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "        self._voters = set()\n        self._pre_voters = set()",
                "        self._pre_voters = set()",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "no-pre-vote",
        "elections",
        "A node stands without asking before",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "if len(self._pre_voters) + 1 > (len(self._raft.others) + 1) / 2:",
                "if True:",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "half-encourages",
        "elections",
        "Half of the members are enough in a pre-vote",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "if len(self._pre_voters) + 1 > (",
                "if len(self._pre_voters) + 1 >= (",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "strangers-pre-votes",
        "elections",
        "Pre-votes of those that are no members count",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "            and raft.role != LEADER\n            and peer in raft.others",
                "            and raft.role != LEADER",
            ),
        ),
        seed=21,
        scenario="forged",
    ),
    Mutant(
        "pre-vote-despite-leader",
        "elections",
        "A pre-vote is granted while a leader is heard",
        (Edit("alacrity.cluster.raft.elections", "            and not followed\n", ""),),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "pre-vote-for-short-log",
        "elections",
        "A pre-vote is granted to whose log is behind",
        (Edit("alacrity.cluster.raft.elections", ">= (log[-1][2], log[-1][1])", ">= (0, 0)"),),
        seed=2,
        scenario="crashes",
    ),
    Mutant(
        "pre-vote-of-earlier-term",
        "elections",
        "An answer to an earlier canvass counts",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "message.term == self._pre_vote_term == raft.term + 1",
                "True",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "waiting-node-votes",
        "elections",
        "A node that waits to be taken in votes",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "return self._reconfiguration.configuration != ()",
                "return True",
            ),
        ),
        seed=96,
        scenario="forged",
    ),
    Mutant(
        "leads-for-ever",
        "elections",
        "A leader that nobody answers leads on",
        (
            Edit(
                "pysyncobj.syncobj",
                "deadline = monotonicTime() - self.__conf.leaderFallbackTimeout",
                "deadline = float('-inf')",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "later-term-ignored",
        "elections",
        "A reply of a later term does not depose a leader",
        (
            Edit(
                "alacrity.cluster.raft.engine",
                "            self.elections.enter_later_term(term)",
                "            pass",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "later-pre-vote-ignored",
        "elections",
        "A reply of a later term to a pre-vote is passed over",
        (
            Edit(
                "alacrity.cluster.raft.elections", "self.enter_later_term(message.current)", "pass"
            ),
        ),
        seed=2,
        scenario="crashes",
    ),
    Mutant(
        "hand-over-too-early",
        "elections",
        "A leader hands over to who has not the whole log",
        (
            Edit(
                "alacrity.cluster.raft.transfer",
                "            and raft.match_index[peer] == raft.last_index\n",
                "",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "hand-over-never",
        "elections",
        "A leader that is asked to hand over does not",
        (
            Edit(
                "alacrity.cluster.raft.transfer",
                "raft.send(able[0], TimeoutNow(raft.term))",
                "pass",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "hand-over-unforwarded",
        "elections",
        "A follower does not pass on that the leader shall hand over",
        (Edit("alacrity.cluster.raft.transfer", "raft.send(leader, HandOver(target))", "pass"),),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "member-stands-not",
        "elections",
        "A node that is no member asks for pre-votes",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "if not (self._reconfiguration.is_member and self.beginning.is_over):",
                "if not self.beginning.is_over:",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "figure-8",
        "replication",
        "Entries of earlier terms are committed by counting",
        (Edit("pysyncobj.syncobj", "if commitTerm != self.__raftCurrentTerm:", "if False:"),),
        seed=1,
        scenario="disorder",
    ),
    Mutant(
        "half-commits",
        "replication",
        "Half of the members commit",
        (
            Edit(
                "pysyncobj.syncobj",
                "if count <= (len(self.__otherNodes) + 1) / 2:\n                    break",
                "if count < (len(self.__otherNodes) + 1) / 2:\n                    break",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "late-reply",
        "replication",
        "A reply to an earlier leadership counts",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "return term == raft.term and raft.role == LEADER",
                "return raft.role == LEADER",
            ),
        ),
        seed=0,
        scenario="late",
    ),
    Mutant(
        "strangers-reply",
        "replication",
        "A reply of a stranger is taken",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                " and raft.role == LEADER and peer in self.peers",
                " and raft.role == LEADER",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "match-too-high",
        "replication",
        "A follower is taken to have one entry more",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "max(match, message.next_node_idx - 1)",
                "max(match, message.next_node_idx)",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "denial-confirms",
        "replication",
        "What a follower lacks is taken for confirmed",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "        if message.success:",
                "        if True:",
            ),
        ),
        seed=8,
        scenario="hasty",
    ),
    Mutant(
        "match-kept",
        "replication",
        "A new leader goes by what followers confirmed to it before",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "            self._raft.match_index[peer] = 0\n            self.probe(peer, self._raft.last_index + 1)\n        self.transfers",
                "            self.probe(peer, self._raft.last_index + 1)\n        self.transfers",
            ),
            Edit(
                "pysyncobj.syncobj",
                "self.__raftMatchIndex[node] = 0\n            self.__lastResponseTime[node] = monotonicTime()\n\n        # No-op",
                "self.__lastResponseTime[node] = monotonicTime()\n\n        # No-op",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "old-probe",
        "replication",
        "An answer to an earlier attempt says where to go on",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "current = message.probe == self.probes[peer]",
                "current = True",
            ),
        ),
        seed=7,
        scenario="disorder",
    ),
    Mutant(
        "prev-term-wrong",
        "replication",
        "Messages tell the leader's term as that of the entry before",
        (Edit("alacrity.cluster.raft.replication", "log[upcoming - 1 - first][2]", "raft.term"),),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "commit-told-too-far",
        "replication",
        "A leader tells followers that all is committed",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "                    raft.term,\n                    raft.commit_index,",
                "                    raft.term,\n                    raft.last_index,",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "first-slice-only",
        "replication",
        "Each slice of a snapshot is the first",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "transfer.offset : transfer.offset + self._limits.slice",
                ": self._limits.slice",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "snapshot-without-members",
        "replication",
        "A snapshot goes to a follower without the members",
        (Edit("alacrity.cluster.raft.replication", "list(snapshot.members)", "[]"),),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "ahead-unbounded",
        "replication",
        "A follower is sent any number of entries ahead",
        (Edit("alacrity.cluster.raft.replication", "+ self._limits.ahead", "+ (1 << 40)"),),
        seed=6,
        scenario="small_batches",
    ),
    Mutant(
        "batch-unbounded",
        "replication",
        "A message has any number of entries",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "raft.entries_from(upcoming, self._limits.batch)",
                "raft.entries_from(upcoming, 1 << 40)",
            ),
        ),
        seed=6,
        scenario="small_batches",
    ),
    Mutant(
        "no-op-missing",
        "replication",
        "A new leader begins without an entry of its own term",
        (
            Edit(
                "pysyncobj.syncobj",
                "self.__raftLog.add(_bchr(_COMMAND_TYPE.NO_OP), idx, term)",
                "idx -= 1",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "versions-outlive-leadership",
        "replication",
        "A new leader goes by versions that it was told before",
        (Edit("alacrity.cluster.raft.replication", "self.versions.clear()", "pass"),),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "versions-outlive-connection",
        "replication",
        "A leader goes by the version of a member before its restart",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "        # The peer may have been restarted with another version of its program.\n        self.versions.pop(peer, None)",
                "",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "transfer-outlives-connection",
        "replication",
        "A snapshot goes on where the lost connection was",
        (
            Edit(
                "alacrity.cluster.raft.replication",
                "        self.transfers.pop(peer, None)\n        # The peer may",
                "        # The peer may",
            ),
        ),
        equivalent="the follower answers with how much it has, and the leader goes on from there",
    ),
    Mutant(
        "verified-all",
        "following",
        "Any message proves the whole log",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "        return index\n\n    def take",
                "        return self._raft.last_index\n\n    def take",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "truncate-always",
        "following",
        "Each message truncates",
        (
            Edit(
                "alacrity.cluster.raft.following", "if log[index - first][2] == term:", "if False:"
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "truncate-never",
        "following",
        "Entries that contradict the leader's stay",
        (Edit("alacrity.cluster.raft.following", "if log[index - first][2] == term:", "if True:"),),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "commit-unverified",
        "following",
        "A follower commits what no message has proved",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "raft.commit(min(message.commit_index, verified))",
                "raft.commit(min(message.commit_index, raft.last_index))",
            ),
        ),
        seed=7,
        scenario="disorder",
    ),
    Mutant(
        "prev-unchecked",
        "following",
        "Entries are taken whatever stands before them",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "(prev > last or log[prev - first][2] != message.prev_term)",
                "prev > last",
            ),
        ),
        seed=46,
        scenario="forged",
    ),
    Mutant(
        "confirm-all",
        "following",
        "A follower confirms its whole log",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "max(verified, raft.commit_index) + 1",
                "raft.last_index + 1",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "old-leader-followed",
        "following",
        "A leader of an earlier term is followed",
        (Edit("alacrity.cluster.raft.following", "if term < raft.term:", "if False:"),),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "term-not-taken",
        "following",
        "A follower does not keep a later leader's term",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "            raft.set_term(term)",
                "            raft._SyncObj__raftCurrentTerm = term",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "deadline-not-put-off",
        "following",
        "A follower stands though it hears the leader",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "        if not self._raft.is_asked_to_lead:\n            self.postpone()",
                "",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "leader-unheard",
        "following",
        "A follower does not note when it heard the leader",
        (
            Edit(
                "alacrity.cluster.raft.elections",
                "self._leader_heard_at = self._raft.now()",
                "pass",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "members-after-truncation",
        "following",
        "Members by an entry that was truncated go on to count",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "log.deleteEntriesFrom(index - first)\n                changed = True",
                "log.deleteEntriesFrom(index - first)",
            ),
        ),
        seed=8,
        scenario="hasty",
    ),
    Mutant(
        "members-once-applied-here",
        "following",
        "On a follower, members count once they are applied",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "changed = changed or command[:1] == MEMBERSHIP",
                "changed = bool(changed)",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "install-drops-tail",
        "following",
        "A snapshot throws away what the log has beyond",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "if at < len(log) and log[at][2] == term:",
                "if False:",
            ),
        ),
        seed=84,
        scenario="late",
    ),
    Mutant(
        "install-keeps-other-tail",
        "following",
        "A snapshot keeps what contradicts the leader's log",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "if at < len(log) and log[at][2] == term:\n            entries = log[at:]",
                "if at < len(log):\n            entries = [(log[at][0], index, term), *log[at + 1 :]]",
            ),
        ),
        seed=9,
        scenario="late",
    ),
    Mutant(
        "old-snapshot-installed",
        "following",
        "A snapshot takes a node back",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "if message.last_index <= raft.commit_index:",
                "if False:",
            ),
        ),
        seed=9,
        scenario="late",
    ),
    Mutant(
        "slices-mixed",
        "following",
        "Slices of two snapshots make one",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "if self._arrival is None or self._arrival.key != key:",
                "if self._arrival is None:",
            ),
        ),
        seed=7,
        scenario="disorder",
    ),
    Mutant(
        "slice-anywhere",
        "following",
        "A slice is taken wherever it begins",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "if message.offset == len(data) and len(data)",
                "if len(data)",
            ),
        ),
        seed=7,
        scenario="disorder",
    ),
    Mutant(
        "confirm-before-install",
        "following",
        "A follower confirms a snapshot of which it has a part",
        (
            Edit(
                "alacrity.cluster.raft.following",
                "if len(data) < message.size:\n            raft.send",
                "if len(data) < message.size:\n            self.reply(peer, message.last_index + 1, message.probe, success=True)\n            raft.send",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "no-fsync",
        "storage",
        "Frames are written and not synced",
        (
            Edit(
                "alacrity.cluster.log.writer",
                "        if self._fsync:\n",
                "        if False:\n",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "entries-unsaved",
        "storage",
        "Entries are not on disk before they are confirmed",
        (
            Edit(
                "alacrity.cluster.log.journal",
                "self._change(Append(idx, term, bytes(command)))",
                "self._change(Append(idx, term, bytes(command)), urgent=False)",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "nothing-urgent",
        "storage",
        "Only whole files are waited for",
        (
            Edit(
                "alacrity.cluster.log.unsynced",
                "return self.anew or self.urgent or self.adopted is not None",
                "return self.anew or self.adopted is not None",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "vote-lost-by-compaction",
        "storage",
        "A new file has no vote",
        (
            Edit(
                "alacrity.cluster.log.persistent",
                "records.append(Term(self.term, self.vote))",
                "records.append(Term(self.term, None))",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "term-lost-by-compaction",
        "storage",
        "A new file has no term",
        (
            Edit(
                "alacrity.cluster.log.persistent",
                "        records.append(Term(self.term, self.vote))\n",
                "",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "compaction-loses-since",
        "storage",
        "A new file has not what changed while it was written",
        (
            Edit(
                "alacrity.cluster.log.storage",
                "            if self._compaction is not None:\n                self._compaction.add(record)",
                "",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "adopted-loses-since",
        "storage",
        "A new file has not what changed before it took the old one's place",
        (
            Edit(
                "alacrity.cluster.log.unsynced",
                "        if self.adopted is not None:\n            self.adopted.add(record)",
                "",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "since-unsynced",
        "storage",
        "What changed while a file was written is not synced",
        (
            Edit(
                "alacrity.cluster.log.compaction",
                "self._later))\n                file.sync()",
                "self._later))",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "name-unsynced",
        "storage",
        "A new file's name is not synced",
        (Edit("alacrity.cluster.log.newfile", "    files.sync_names()\n", ""),),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "whole-file-unsynced",
        "storage",
        "A new file is not synced before it takes the old one's place",
        (
            Edit(
                "alacrity.cluster.log.newfile",
                "        file.sync()\n    except BaseException:\n        file.close()\n        _try",
                "    except BaseException:\n        file.close()\n        _try",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "snapshot-of-truncated",
        "storage",
        "A snapshot of entries that were truncated meanwhile is taken",
        (
            Edit(
                "alacrity.cluster.log.storage",
                "if not taken or not fits(compaction.snapshot, self._state.entries):",
                "if not taken:",
            ),
            Edit(
                "alacrity.cluster.log.compaction",
                "            self._discarded = True\n\n    def finish",
                "            pass\n\n    def finish",
            ),
        ),
    ),
    Mutant(
        "overtaken-compaction",
        "storage",
        "A snapshot is taken that another one has overtaken",
        (
            Edit(
                "alacrity.cluster.log.storage",
                "current = self._compaction is compaction",
                "current = True",
            ),
            Edit(
                "alacrity.cluster.log.storage",
                "                self._compaction.discard()\n                self._compaction = None",
                "                self._compaction = None",
            ),
        ),
        equivalent="a replica compacts once at a time, and a log that the leader's snapshot has replaced does not fit an older one, which is looked at too",
    ),
    Mutant(
        "goes-on-after-failed-write",
        "storage",
        "After a failed write, what follows is appended to what that left",
        (
            Edit(
                "alacrity.cluster.log.storage",
                "            with self._lock:\n                self._unsynced.require_new_file()\n            raise",
                "            raise",
            ),
        ),
    ),
    Mutant(
        "compaction-drops-too-much",
        "storage",
        "Compaction drops an entry too many",
        (
            Edit(
                "alacrity.cluster.log.persistent",
                "self.drop_before(snapshot.first_kept)",
                "self.drop_before(snapshot.first_kept + 1)",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "replay-without-truncation",
        "storage",
        "What was truncated is there again after a restart",
        (
            Edit(
                "alacrity.cluster.log.persistent",
                "                self._drop(slice(max(0, index - entries[0][1]) if entries else 0, None))",
                "                return",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "snapshot-not-kept",
        "storage",
        "A new file has no snapshot",
        (
            Edit(
                "alacrity.cluster.log.persistent",
                "if snapshot is None else [snapshot]",
                "if True else [snapshot]",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "commit-beyond-log",
        "storage",
        "A node starts with a commit index beyond its log",
        (
            Edit(
                "alacrity.cluster.log.journal",
                "return min(self._state.commit, entries[-1][1]) if entries else 1",
                "return self._state.commit",
            ),
        ),
        equivalent="what is committed is never truncated, and a frame has both or neither, so the log on disk reaches to the commit index beside it",
    ),
    Mutant(
        "truncation-unsaved",
        "storage",
        "Truncations do not ask for the disk",
        (
            Edit(
                "alacrity.cluster.log.journal",
                "self._change(TruncateFrom(entries[entryFrom][1]))",
                "self._change(TruncateFrom(entries[entryFrom][1]), urgent=False)",
            ),
        ),
        equivalent="the engine truncates only to append in the same step, and that asks for it",
    ),
    Mutant(
        "two-changes",
        "reconfiguration",
        "Two changes of the members are under way at once",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "and applied >= first and applied >= self._change_index",
                "and applied >= first",
            ),
        ),
        seed=0,
        scenario="members",
    ),
    Mutant(
        "change-before-commit",
        "reconfiguration",
        "The members change before the leader has committed in its term",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "and applied >= first and applied >= self._change_index",
                "and applied >= self._change_index",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "learners-count",
        "reconfiguration",
        "Learners count in majorities",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "raft.set_others({Peer(each) for each in self.configuration} - {own})",
                "raft.set_others(({Peer(each) for each in self.configuration} | set(self._learners)) - {own})",
            ),
        ),
        seed=8,
        scenario="hasty",
    ),
    Mutant(
        "members-once-applied",
        "reconfiguration",
        "Members count only once they are applied",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "members_at(raft.log, raft.last_index)",
                "members_at(raft.log, raft.applied_index)",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "leader-counts-old-members",
        "reconfiguration",
        "A leader counts new members only once they are applied",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "self._change_index = self._raft.last_index\n        self.configure()",
                "self._change_index = self._raft.last_index",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "taken-in-behind",
        "reconfiguration",
        "A node is taken in before it has the log",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "        return match >= max(",
                "        return True or match >= max(",
            ),
        ),
        seed=8,
        scenario="hasty",
    ),
    Mutant(
        "leader-removes-itself",
        "reconfiguration",
        "A leader removes itself, and leads on",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "if change.remove == self._member.name:",
                "if False:",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "last-member-removed",
        "reconfiguration",
        "The last member is removed",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "            if not left:",
                "            if False:",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "learner-outlives-connection",
        "reconfiguration",
        "What a learner confirmed counts after it has lost its disk",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "if self._learners.pop(peer, None) is not None:",
                "if False:",
            ),
        ),
        seed=21,
        scenario="forged",
    ),
    Mutant(
        "seat-passed-over",
        "reconfiguration",
        "A member that was removed and added again is taken for the former one",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "if seats.get(peer, seat) != seat}",
                "if False}",
            ),
        ),
    ),
    Mutant(
        "incarnation-unknown",
        "reconfiguration",
        "An entry about the members has no incarnations",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "return msgspec.structs.replace(member, incarnation=incarnation)",
                "return member",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "snapshot-of-pending-members",
        "reconfiguration",
        "A snapshot has members that are not committed",
        (
            Edit(
                "alacrity.cluster.raft.compaction",
                "members_at(log, applied)",
                "members_at(log, raft.last_index)",
            ),
        ),
        seed=8,
        scenario="hasty",
    ),
    Mutant(
        "removed-untold",
        "reconfiguration",
        "A removed node does not learn of it",
        (
            Edit(
                "alacrity.cluster.raft.reconfiguration",
                "                # This message tells the peer that it was removed.\n                replication.send_to(peer)",
                "                pass",
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "empty-disk-let-in",
        "reconfiguration",
        "A member is let in without its files",
        (
            Edit(
                "alacrity.cluster.wire.admission",
                "elif expected != peer.incarnation and peer.seat <= member.seat:",
                "elif False:",
            ),
        ),
        seed=45,
        scenario="storms",
    ),
    Mutant(
        "peer-not-remembered",
        "reconfiguration",
        "Under which incarnation a member was met is not kept",
        (
            Edit(
                "alacrity.cluster.wire.admission",
                "self._storage.remember_peer(peer.name, peer.incarnation)",
                "pass",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "strangers-refused",
        "reconfiguration",
        "A node that follows nobody talks with no member that it does not know",
        (
            Edit(
                "alacrity.cluster.replica",
                'return None if self._engine.has_quorum else Member(name, "")',
                "return None",
            ),
        ),
    ),
    Mutant(
        "older-half-forgotten",
        "proposals",
        "A repeat is not found in the older half of the ids",
        (
            Edit(
                "alacrity.cluster.state",
                "outcome = self._recent.get(request_id) or self._older",
                "outcome = self._recent.get(request_id) or {}",
            ),
        ),
        seed=22,
        scenario="busy",
    ),
    Mutant(
        "repeats-count",
        "proposals",
        "A repeat counts twice",
        (
            Edit(
                "alacrity.cluster.state",
                "        if outcome is not None:\n            return Applied(request_id, outcome, repeated=True)",
                "",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "generation-lost",
        "proposals",
        "The latest ids are forgotten all at once",
        (
            Edit(
                "alacrity.cluster.state",
                "self._older, self._recent = self._recent, {}",
                "self._older, self._recent = {}, {}",
            ),
        ),
        seed=22,
        scenario="busy",
    ),
    Mutant(
        "late-repeats-count",
        "proposals",
        "A repeat counts that comes when its id may be forgotten",
        (
            Edit(
                "alacrity.cluster.state",
                "if self._pool.index - envelope.since >= GENERATION:",
                "if False:",
            ),
        ),
        seed=47,
        scenario="busy",
    ),
    Mutant(
        "refused-in-doubt",
        "proposals",
        "What may have happened is called refused",
        (
            Edit(
                "alacrity.cluster.proposals", "if waiting.attempts > 0:", "if waiting.attempts > 1:"
            ),
        ),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "attempts-uncounted",
        "proposals",
        "What was sent is called refused when the time is over",
        (
            Edit(
                "alacrity.cluster.proposals",
                "            waiting.attempts += 1\n            due",
                "            due",
            ),
        ),
        seed=3,
        scenario="everything",
    ),
    Mutant(
        "denial-ends-all",
        "proposals",
        "One denial is taken for that of all attempts",
        (Edit("alacrity.cluster.proposals", "waiting.attempts -= 1", "waiting.attempts = 0"),),
        seed=4,
        scenario="members",
    ),
    Mutant(
        "sent-once",
        "proposals",
        "A proposal is not sent again to the next leader",
        (
            Edit(
                "alacrity.cluster.proposals",
                "self._unsent.update(dict.fromkeys(self._waiting))",
                "pass",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "denied-not-again",
        "proposals",
        "A proposal that was denied for now is not sent again",
        (
            Edit(
                "alacrity.cluster.proposals",
                "self._clock.callLater(self._retry, self._again, request_id)",
                "pass",
            ),
        ),
        seed=14,
        scenario="replaced",
    ),
    Mutant(
        "no-deadline",
        "proposals",
        "A proposal waits for ever",
        (
            Edit(
                "alacrity.cluster.proposals",
                "deadline = self._clock.callLater(timeout, self._expire, request_id)",
                "deadline = self._clock.callLater(1e6, self._expire, request_id)",
            ),
        ),
        seed=10,
        scenario="long_cuts",
    ),
    Mutant(
        "expired-refused",
        "proposals",
        "What came too late is called refused",
        (
            Edit(
                "alacrity.cluster.proposals",
                "            waiting.attempts += 1\n            self._fail(request_id)",
                "            waiting.attempts = 0\n            self._fail(request_id)",
            ),
        ),
    ),
    Mutant(
        "waiting-unbounded",
        "proposals",
        "Any number of proposals wait",
        (Edit("alacrity.cluster.proposals", "if len(self._waiting) >= self._limit:", "if False:"),),
        seed=19,
        scenario="tails",
    ),
    Mutant(
        "backlog-unbounded",
        "proposals",
        "Any number of entries is open",
        (Edit("alacrity.cluster.raft.commands", "> self._limits.backlog", "> (1 << 40)"),),
        seed=19,
        scenario="tails",
    ),
    Mutant(
        "denied-and-appended",
        "proposals",
        "What is appended is denied",
        (
            Edit(
                "alacrity.cluster.raft.commands",
                "            self._raft.append(command)",
                '            self._raft.append(command)\n            self._deny(origin, Denial(request_id, "no", final=True))',
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "newer-let-in",
        "proposals",
        "A command is appended that a member does not understand",
        (
            Edit(
                "alacrity.cluster.raft.commands",
                "not self._machine.readable(command[1:], self._common_version())",
                "False",
            ),
        ),
        seed=15,
        scenario="mixed",
    ),
    Mutant(
        "unheard-counted",
        "proposals",
        "A command is appended before the members have said their versions",
        (
            Edit(
                "alacrity.cluster.raft.commands",
                "elif not (self.all_heard() or",
                "elif not (True or",
            ),
        ),
        seed=65,
        scenario="mixed",
    ),
    Mutant(
        "log-not-compacted",
        "proposals",
        "The log grows for ever",
        (
            Edit(
                "alacrity.cluster.raft.compaction",
                "if not many and not self._is_large(patience):",
                "if True:",
            ),
        ),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "out-before-sync",
        "replica",
        "Messages and outcomes are out before the sync",
        (
            Edit(
                "alacrity.cluster.steps",
                "                if effects.persist and not await self._persist(effects):\n                    break\n                self._release(effects)\n",
                "                self._release(effects)\n                if effects.persist and not await self._persist(effects):\n                    break\n",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "seen-before-sync",
        "replica",
        "Outcomes are out before the sync",
        (
            Edit(
                "alacrity.cluster.steps",
                "                if effects.persist and",
                "                effects = StepEffects(\n                    effects.persist,\n                    effects.traffic,\n                    self._client.show(effects.results) or (),\n                    effects.heartbeats,\n                )\n                if effects.persist and",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "acknowledged-before-seen",
        "replica",
        "An acknowledgement comes before the view has it",
        (
            Edit(
                "alacrity.cluster.publisher",
                "self._view.advance(self._machine.state.pool, *outcomes)",
                "self._proposals._clock.callLater(0.01, self._view.advance, self._machine.state.pool, *outcomes)",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "barrier-local",
        "replica",
        "A consistent read needs no commit",
        (
            Edit(
                "alacrity.cluster.replica",
                "        await self._propose(None, timeout, None)",
                "        return",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "barrier-of-leader",
        "replica",
        "A leader answers consistent reads by itself",
        (
            Edit(
                "alacrity.cluster.replica",
                "        await self._propose(None, timeout, None)",
                "        if not self._engine.is_leader:\n            await self._propose(None, timeout, None)",
            ),
        ),
        seed=9,
        scenario="late",
    ),
    Mutant(
        "message-of-old-connection",
        "replica",
        "What was sent on one connection leaves on a later one",
        (
            Edit(
                "alacrity.cluster.outbox",
                "if connection == self._connections.current(peer.id):",
                "if True:",
            ),
        ),
        seed=0,
        scenario="partitions",
    ),
    Mutant(
        "failed-write-passed-over",
        "replica",
        "A node goes on though its disk does not take what it writes",
        (
            Edit(
                "alacrity.cluster.steps",
                "            self._suspend(error, effects)\n            return False",
                "            pass",
            ),
        ),
        seed=3,
        scenario="everything",
    ),
    Mutant(
        "recovery-without-rewrite",
        "replica",
        "A node comes back from a failed write without having written",
        (
            Edit(
                "alacrity.cluster.steps",
                "await self._run_in_thread(self._storage.rewrite)",
                "pass",
            ),
        ),
        seed=3,
        scenario="everything",
    ),
    Mutant(
        "applied-again",
        "replica",
        "A node applies again what its snapshot contains",
        (
            Edit(
                "alacrity.cluster.raft.adapter",
                "self._SyncObj__raftLastApplied = snapshot.last_index",
                "pass",
            ),
        ),
        seed=2,
        scenario="crashes",
    ),
    Mutant(
        "snapshot-unseen",
        "replica",
        "A snapshot's pool is not seen",
        (
            Edit(
                "alacrity.cluster.publisher", "self._view.replace(self._machine.state.pool)", "pass"
            ),
        ),
        seed=7,
        scenario="disorder",
    ),
    Mutant(
        "snapshot-tells-nothing",
        "replica",
        "Outcomes that come in a snapshot are not told",
        (
            Edit(
                "alacrity.cluster.publisher",
                "            if outcome is not None:\n                self._proposals.resolve",
                "            if False:\n                self._proposals.resolve",
            ),
        ),
    ),
    Mutant(
        "leads-too-early",
        "replica",
        "A node says that it leads before it has applied what was committed before",
        (
            Edit(
                "alacrity.cluster.raft.engine",
                "return raft.role == LEADER and first is not None and raft.applied_index >= first",
                "return raft.role == LEADER",
            ),
        ),
        seed=2,
        scenario="crashes",
    ),
    Mutant(
        "adopts-never",
        "replica",
        "A compacted log is not taken",
        (Edit("alacrity.cluster.steps", "self.inbox.put(LogCompacted(rewrite))", "pass"),),
        seed=1,
        scenario="compaction",
    ),
    Mutant(
        "decision-lost-by-registration",
        "pool",
        "A registration ends the operators' decisions",
        (
            Edit(
                "alacrity.pool.draft",
                "AS_REGISTERED if known is None else known.administration",
                "AS_REGISTERED",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "decision-lost-by-removal",
        "pool",
        "Checks remove a server in maintenance, which comes back without it",
        (
            Edit(
                "alacrity.pool.draft",
                "if found.state is not State.DOWN or not is_ready:",
                "if found.state is not State.DOWN:",
            ),
        ),
    ),
    Mutant(
        "removal-of-what-is-up",
        "pool",
        "Checks remove a server that is up again",
        (
            Edit(
                "alacrity.pool.draft",
                "if found.state is not State.DOWN or not is_ready:",
                "if not is_ready:",
            ),
        ),
    ),
    Mutant(
        "until-kept",
        "pool",
        "A new state inherits the end of the one before",
        (
            Edit(
                "alacrity.pool.draft",
                "until = before.until if command.state is unset else None",
                "until = before.until",
            ),
        ),
        seed=3,
        scenario="decisions",
    ),
    Mutant(
        "until-of-a-ready-server",
        "pool",
        "A server that is ready has an end",
        (
            Edit(
                "alacrity.pool.draft",
                "        if state is AdminState.READY:\n            until = None\n        elif",
                "        if",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "decision-of-another-version",
        "pool",
        "A decision about another version of the server holds",
        (
            Edit(
                "alacrity.pool.draft",
                "if command.version is not None and command.version != found.version:",
                "if False:",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "decision-takes-the-weight",
        "pool",
        "A new state ends the operator's weight",
        (
            Edit(
                "alacrity.pool.draft",
                "weight = before.weight if command.weight is unset else command.weight",
                "weight = None if command.weight is unset else command.weight",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "version-stays",
        "pool",
        "A change leaves the version as it was",
        (
            Edit(
                "alacrity.pool.draft",
                "changed = 0 if server.revision == self.index else self.index",
                "changed = known.changed if known else 0",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "version-without-a-change",
        "pool",
        "A command without effect raises the version",
        (Edit("alacrity.pool.draft", "if known is not None and server == known:", "if False:"),),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "last-one-expires",
        "pool",
        "The last eligible server expires",
        (
            Edit(
                "alacrity.pool.draft",
                "return server.eligible and not any(",
                "return False and not any(",
            ),
        ),
        seed=13,
        scenario="decisions",
    ),
    Mutant(
        "pending-never-expires",
        "pool",
        "A server that is not eligible is kept as the last one",
        (Edit("alacrity.pool.draft", "return server.eligible and not any(", "return not any("),),
    ),
    Mutant(
        "expiries-not-counted",
        "pool",
        "Expiries do not count for the guard",
        (
            Edit(
                "alacrity.pool.draft",
                "                return self._keep(found)\n            self._guard = self._guard.count()\n        expired",
                "                return self._keep(found)\n        expired",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "removals-not-counted",
        "pool",
        "Removals do not count for the guard",
        (
            Edit(
                "alacrity.pool.draft",
                "                return self._keep(found)\n            self._guard = self._guard.count()\n        del",
                "                return self._keep(found)\n        del",
            ),
        ),
    ),
    Mutant(
        "guard-not-spent",
        "pool",
        "A new leader's first window has an allowance",
        (
            Edit(
                "alacrity.pool.draft",
                "self._guard = spent_window(time, len(self._servers))",
                "pass",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "guard-freezes",
        "pool",
        "A window never ends",
        (Edit("alacrity.pool.guard", "if passed >= limits.window:", "if False:"),),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "guard-opens-early",
        "pool",
        "A window ends after half its length",
        (
            Edit(
                "alacrity.pool.guard",
                "if passed >= limits.window:",
                "if passed >= limits.window / 2:",
            ),
        ),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "guard-opens-at-once-back",
        "pool",
        "A clock that goes back opens the guard",
        (
            Edit(
                "alacrity.pool.guard",
                "        return spent_window(time, servers)\n\n    def count",
                "        return GuardWindow(time, servers)\n\n    def count",
            ),
        ),
    ),
    Mutant(
        "guard-waits-for-the-future",
        "pool",
        "A clock that was ahead closes the guard until then",
        (
            Edit(
                "alacrity.pool.guard",
                "        if passed >= -limits.window:\n            return self\n        return spent_window(time, servers)\n",
                "        return self\n",
            ),
        ),
        seed=3,
        scenario="decisions",
    ),
    Mutant(
        "sticky-key-drawn-anew",
        "pool",
        "The latest key of sticky cookies holds",
        (Edit("alacrity.pool.draft", "self._sticky_key or key", "key"),),
        seed=0,
        scenario="decisions",
    ),
    Mutant(
        "revived-for-ever-expired",
        "pool",
        "A renewed lease stays expired",
        (
            Edit(
                "alacrity.pool.draft",
                "                condition=UNKNOWN_CONDITION,\n            )\n        elif",
                "                condition=found.condition,\n            )\n        elif",
            ),
        ),
    ),
    Mutant(
        "renewal-without-proof",
        "leases",
        "A leader that may be deposed acknowledges renewals",
        (
            Edit(
                "alacrity.node.leases",
                "await self._replica.authority.prove(ACKNOWLEDGED_WITHIN, _PROOF)",
                "True",
            ),
        ),
    ),
    Mutant(
        "no-full-lease-for-all",
        "leases",
        "A new leader grants nobody a full lease",
        (
            Edit(
                "alacrity.health.leases",
                "            self._grant_fully(lease, now)\n        lease.server = server",
                "            self._extend(lease, now)\n        lease.server = server",
            ),
        ),
        seed=0,
        scenario="leases_cut",
    ),
    Mutant(
        "no-margin",
        "leases",
        "A new leader does not reckon with what a former one acknowledged lately",
        (Edit("alacrity.health.leases", "+ longest + self._margin", "+ longest"),),
        seed=4,
        scenario="leases_cut",
    ),
    Mutant(
        "stop-not-noticed",
        "leases",
        "A leader that was stopped takes the time for the servers'",
        (Edit("alacrity.health.lease_keeper", "if late > STOPPED:", "if late > 1e9:"),),
    ),
    Mutant(
        "kept-for-ever",
        "leases",
        "A lease that the guard has kept is not tried again",
        (
            Edit(
                "alacrity.health.lease_keeper",
                "self._book.try_again(lease, self._clock.seconds(), self._guard.opens_in())",
                "pass",
            ),
        ),
        seed=5,
        scenario="leases_cut",
    ),
    Mutant(
        "renewal-shortened",
        "leases",
        "A renewal extends the lease by half of what it grants",
        (
            Edit(
                "alacrity.health.leases",
                "now - self._stopped + granted)",
                "now - self._stopped + granted / 2)",
            ),
        ),
        seed=0,
        scenario="leases_cut",
    ),
    Mutant(
        "never-revived",
        "leases",
        "A server that renews after its lease expired stays down",
        (
            Edit(
                "alacrity.health.lease_keeper",
                "if lease.renewed and is_due and not lease.deciding:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "drain-forgets-the-removed",
        "pool",
        "Requests of servers that have left the pool are not counted",
        (
            Edit(
                "alacrity.node.drains",
                "in_flight.removed + (0 if applied else in_flight.present)",
                "0 if applied else in_flight.present",
            ),
        ),
        seed=0,
        scenario="drains",
    ),
    Mutant(
        "drain-before-applied",
        "pool",
        "A node that has not applied a removal counts as one that has",
        (
            Edit(
                "alacrity.node.drains", "applied = self._view.pool.index >= index", "applied = True"
            ),
        ),
        seed=25,
        scenario="drains",
    ),
    Mutant(
        "drain-without-the-silent",
        "pool",
        "A caller is told that a node that does not answer is done",
        (
            Edit(
                "alacrity.node.drains",
                "        return NodeDrain(name)\n    return NodeDrain(name, reports",
                "        return NodeDrain(name, 0, True)\n    return NodeDrain(name, reports",
            ),
        ),
        seed=1,
        scenario="drains",
    ),
    Mutant(
        "witness-always-passes",
        "sight",
        "A witness says that each server is reached",
        (
            Edit(
                "alacrity.health.witness",
                "return verdict.passed or verdict.stopping",
                "return True",
            ),
        ),
        seed=0,
        scenario="sight",
    ),
    Mutant(
        "witness-by-hearsay",
        "sight",
        "A witness tells the state in its pool, rather than check",
        (
            Edit(
                "alacrity.health.witness",
                "            verdict: Verdict = await maybeDeferred(self._checks.check, server, timeout)\n",
                '            return server.state.value == "up"\n            verdict: Verdict = await maybeDeferred(self._checks.check, server, timeout)\n',
            ),
        ),
        seed=0,
        scenario="sight",
    ),
    Mutant(
        "witness-of-another-registration",
        "sight",
        "A witness checks whatever is registered at the address",
        (
            Edit(
                "alacrity.health.witness",
                "server is None or server.revision != revision or not",
                "server is None or not",
            ),
        ),
    ),
    Mutant(
        "nobody-is-asked",
        "sight",
        "The leader takes servers down by itself",
        (
            Edit(
                "alacrity.node.witnesses",
                "if not self._are_asked or cluster.format < LEAST_FORMAT:",
                "if True:",
            ),
        ),
        seed=1,
        scenario="sight",
    ),
    Mutant(
        "contradiction-ignored",
        "sight",
        "A member that reaches a server is one more that does not",
        (
            Edit(
                "alacrity.health.opinions",
                "    if passed:\n        return Opinion.REACHED",
                "    if False:\n        return Opinion.REACHED",
            ),
        ),
        seed=0,
        scenario="sight",
    ),
    Mutant(
        "one-that-is-silent-counts",
        "sight",
        "Instead of a member that does not answer, no other is asked",
        (
            Edit(
                "alacrity.health.inquiry",
                "asked, names = names[:lacking], names[lacking:]",
                "asked, names = names[:lacking], []",
            ),
        ),
    ),
    Mutant(
        "follow-whatever",
        "sight",
        "Servers that were not asked about follow those that were, whatever was said of these",
        (Edit("alacrity.health.inquiry", "if len(opinions) == 1:", "if opinions:"),),
    ),
    Mutant(
        "no-return",
        "sight",
        "Servers that are down are asked about no more",
        (
            Edit(
                "alacrity.health.doubts",
                "now < self._return_due.setdefault(watch, now + RETURN_INTERVAL)",
                "True",
            ),
        ),
        seed=2,
        scenario="sight",
    ),
    Mutant(
        "return-by-a-minority",
        "sight",
        "A server comes back when any member reaches it",
        (Edit("alacrity.health.opinions", "if passed > members // 2:", "if passed > 0:"),),
    ),
    Mutant(
        "disputes-do-not-end",
        "sight",
        "A server stays disputed though it passes its checks",
        (
            Edit(
                "alacrity.health.proposer",
                "(server.condition.disputed and not watch.failed)",
                "False",
            ),
        ),
        seed=0,
        scenario="sight",
    ),
    Mutant(
        "down-though-it-passes",
        "sight",
        "A check that passes while others are asked does not count",
        (
            Edit(
                "alacrity.health.proposer",
                "conclusion is None or not watch.failed or watch.is_gone",
                "conclusion is None or watch.is_gone",
            ),
        ),
    ),
    Mutant(
        "no-leader-by-sight",
        "sight",
        "Leadership stays where it is",
        (Edit("alacrity.health.leader_choice", "        if confirmed:\n", "        if False:\n"),),
        seed=0,
        scenario="sight",
    ),
    Mutant(
        "own-sight-uncounted",
        "sight",
        "The servers that the leader alone reaches do not count",
        (
            Edit(
                "alacrity.health.opinions",
                "lost = passing * (here.asked - here.reached) / here.asked if passing else 0.0",
                "lost = 0.0",
            ),
        ),
        seed=0,
        scenario="sight",
    ),
    Mutant(
        "no-hold",
        "sight",
        "Leadership by sight moves whenever another member reaches more",
        (
            Edit(
                "alacrity.health.leader_choice",
                "return self._witnesses.settled_for >= self._least_between",
                "return True",
            ),
        ),
        seed=1,
        scenario="sight",
    ),
    Mutant(
        "hand-over-untold",
        "sight",
        "The next leader does not know that leadership has just moved",
        (
            Edit(
                "alacrity.node.witnesses",
                "self._cluster.notes.tell(each, HANDED_OVER_KIND, None)",
                "pass",
            ),
        ),
        seed=3,
        scenario="sight",
    ),
    Mutant(
        "unconfirmed",
        "sight",
        "One survey is enough to move leadership",
        (
            Edit(
                "alacrity.health.leader_choice",
                "confirmed = [name for name in better if name in self._better]",
                "confirmed = better",
            ),
        ),
    ),
)

CATALOGUE: Final = {each.name: each for each in _MUTANTS}
"""All mutants, by name."""

SAMPLE: Final = (
    "vote-forgotten",
    "figure-8",
    "late-reply",
    "verified-all",
    "vote-lost-by-compaction",
    "two-changes",
    "older-half-forgotten",
    "out-before-sync",
)
"""Those that tox runs, each by the seed that finds it."""
