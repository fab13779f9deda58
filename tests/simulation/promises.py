"""
The invariants of Raft, by name.
"""

from __future__ import annotations

from typing import Final

INVARIANTS: Final = {
    "one vote a term": "a node, with its files, votes for one candidate in a term, itself included",
    "term on disk": "the term that a message tells is on the sender's disk",
    "vote on disk": "a vote is on the voter's disk when it leaves, and when its own count begins",
    "match on disk": "what a follower confirms is on its disk, and equal to the leader's log",
    "disk keeps": "no file that takes another's place forgets a vote, a term or a committed entry",
    "restart keeps": "a node that starts knows the latest term and vote on its disk",
    "votes of a majority": "who leads has the votes of a majority of the members by its log",
    "pre-votes of a majority": "who stands was told so by a majority, or by the leader",
    "one leader a term": "a term has one leader",
    "leader completeness": "who leads has all that was committed in earlier terms",
    "commit of a majority": "a committed entry is on the disks of a majority of the members",
    "commit of its term": "a leader commits an entry of its own term, and with it those before",
    "state machine safety": "an index is committed once: all nodes commit the same entry there",
    "log matching": "entries of one index and term are equal, and so are those before them",
    "committed stays": "a committed entry is not truncated",
    "commit told": "no message tells of a commit that did not happen",
    "snapshot of commits": "a snapshot's last entry is committed, and so are its members",
    "members by the log": "the members that a node counts are those at the end of its log",
    "seen on disk": "what is applied and seen outside is on this node's disk",
    "one change at a time": "the members change when the change before is committed",
    "change after commit": "the members change once the leader has committed in its term",
    "caught up": "a new member has the log before it counts",
    "removed are told": "who is removed is sent the news",
    "incarnations told": "an entry about the members says which files they have",
    "met is kept": "under which files a member was met first is kept",
    "nothing known": "a new leader takes nothing for confirmed",
    "own connection": "a message leaves on the connection for which it was made, or not at all",
    "read index": "a consistent read shows all that was committed when it was asked for",
    "nothing back": "term, commit and what is applied never go back; a vote stays for its term",
    "leader appends": "a leader never truncates its own log",
    "vote up to date": "a vote goes to whose log is not behind, from a member",
    "pre-vote in silence": "pre-votes are asked for and granted while none leads, to logs not behind",
    "reply of this term": "a reply to an earlier leadership, or of a stranger, changes nothing",
    "reply of this attempt": "an answer to an attempt that was given up says nothing of the next",
    "version told": "a leader goes by the versions that it was told since it leads and is connected",
    "message of this term": "a leader of an earlier term changes nothing",
    "confirmed what came": "a follower confirms, and commits, no more than a message has proved",
    "leader heard": "a leader that no majority has answered lately, while it ran, steps down",
    "later term": "a message of a later term takes a node there",
    "whole log handed over": "a leader hands over to a member that has its whole log",
    "leads once applied": "a node says that it leads once it has applied what was committed before",
    "lost files are silent": "a node without its files neither stands nor votes before it has a log",
    "one cluster id": "a list of members that was led under an id is led under no other, nor none",
    "bounded": "proposals that wait, entries that are open or under way, and logs have their limits",
}
"""What must hold, by name."""
