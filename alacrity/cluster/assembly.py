"""
The construction of a node's part in the cluster, from its configuration and its files.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

import msgspec
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from alacrity.cluster.log.entries import MEMBERSHIP, REGULAR
from alacrity.cluster.log.errors import StateError
from alacrity.cluster.log.files import DirectoryFiles, Files
from alacrity.cluster.log.formats import NAMING_FORMAT
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import NAME, DamagedLog, FirstLog, Storage
from alacrity.cluster.log.takeover import FORMER_POOL_FILE
from alacrity.cluster.naming import new_cluster_id
from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.raft.membership import (
    FIRST_INDEX,
    Members,
    bootstrap,
    first_snapshot,
    make_alone,
    members_of,
)
from alacrity.cluster.replica import Replica
from alacrity.cluster.settings import NodeSettings
from alacrity.cluster.state import Envelope, NameCluster, Replicated, encode_envelope, encode_state
from alacrity.cluster.wire.admission import PeerAdmission
from alacrity.cluster.wire.greeting import Greeting
from alacrity.cluster.wire.handshake import Identity
from alacrity.cluster.wire.introductions import Manners
from alacrity.cluster.wire.openings import versions_at
from alacrity.cluster.wire.transport import PeerTransport
from alacrity.net.connecting import host_endpoint
from alacrity.net.listening import server_endpoint
from alacrity.pool import PoolView

_log: Final = Logger()

_WAS_ALONE: Final = (
    "that of a standalone node, and cannot begin a cluster of several nodes. Leave "
    "cluster.members out, start this node, and let the others join it with --join and empty "
    "state directories"
)


TURN: Final = 65536
"""Bytes that are read at most from one node's connection in one turn of the event loop."""


class ClusterNode:
    """
    This node's part in the cluster: its connections and its copy of the pool.

    @ivar me: this node.
    @ivar transport: the connections with the other nodes.
    @ivar replica: the copy of the pool.
    """

    def __init__(
        self,
        reactor: Any,
        settings: NodeSettings,
        directory: Path,
        view: PoolView,
        secrets: tuple[bytes, ...],
        *,
        join: bool = False,
        force: bool = False,
    ) -> None:
        """
        Read the state directory, or begin with an empty one.

        @param directory: the state directory.
        @param view: receives the pool.
        @param secrets: see L{PeerTransport}.
        @param join: begin without a log, and wait to be added to a cluster.
        @param force: continue as the only member, whichever the other members were.
        @raise StateError: the directory, or a file in it, cannot be used.
        """
        self.me = me = settings.me
        alone = not join and set(settings.members) <= {me}
        self._files = DirectoryFiles(directory)
        try:
            if not alone and not join:
                _refuse_pool_of_one(self._files)
            storage = _open(
                self._files,
                fsync=settings.fsync,
                first=partial(_first, me) if alone else None,
                # A standalone node has voted for no other, so it may begin with a new log.
                set_aside=not settings.listen,
            )
            _settle(storage, me, settings.members, join=join, force=force)
            self._belonged = me.name in _ever_members(storage)
            rng = Random()
            admission = PeerAdmission(
                self._known,
                storage,
                lambda: self.replica.format,
                self._greeting,
                lambda name: name not in self.replica.member_names,
            )
            self.transport = PeerTransport(
                me,
                self._identity,
                secrets,
                admission,
                [
                    server_endpoint(
                        reactor,
                        description,
                        turn=TURN,
                        ipv6_only=description in settings.ipv6_only,
                    )
                    for description in settings.listen
                ],
                partial(host_endpoint, reactor),
                reactor,
                rng,
                versions=lambda: versions_at(self.replica.format),
                manners=Manners(self._greeting, admission.greeted),
                # If many have moved, nobody can tell the others by the log.
                elsewhere={each.name: each.address for each in settings.members},
            )
            run: Callable[..., Any] = partial(deferToThreadPool, reactor, reactor.getThreadPool())
            try:
                self.replica = Replica(me, storage, self.transport, view, reactor, run, rng)
            except CannotApply as error:
                raise StateError(f"{directory}: {error}") from error
        except BaseException:
            self._files.close()
            raise

    def _known(self, name: str) -> Member | None:
        return self.replica.known(name)

    def _identity(self) -> Identity:
        return self.replica.identity

    def _greeting(self) -> Greeting:
        return self.replica.greeting

    @property
    def waiting(self) -> bool:
        """
        Whether this node waits to be added to a cluster, even if it has received the log
        already, and the entry that adds it; but not after it was removed. Until that entry is
        committed, the next leader may be one that does not have it, and does not know this node.
        """
        return not (self._belonged or self.replica.status().is_settled_member)

    async def stop(self) -> None:
        """
        Stop the replica, and unlock the directory.
        """
        await self.replica.stop()
        self._files.close()


def _open(files: Files, *, fsync: bool, first: FirstLog | None, set_aside: bool) -> Storage:
    """
    Open the log.

    @param set_aside: whether to rename a damaged log, and begin with an empty one.
    @raise StateError: the log cannot be used.
    """
    try:
        return Storage.open(files, fsync=fsync, first=first)
    except DamagedLog as damage:
        if not set_aside:
            raise
        aside = f"{NAME}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        number = 1
        while files.read(aside) is not None:
            number += 1
            aside = f"{aside.partition('Z')[0]}Z-{number}"
        try:
            files.rename(NAME, aside)
            files.sync_names()
        except OSError as error:
            raise StateError(f"{files.directory}/{NAME} cannot be renamed: {error}") from damage
        _log.error(
            "{directory}/{name} cannot be used: {fault}. It is set aside as {aside}; no servers "
            "are known",
            directory=files.directory,
            name=NAME,
            fault=str(damage.__cause__),
            aside=aside,
        )
        return Storage.open(files, fsync=fsync, first=first)


def _refuse_pool_of_one(files: DirectoryFiles) -> None:
    """
    Refuse to begin a cluster of several nodes if this node has the pool of a standalone node.
    """
    if files.read(NAME) is None and files.read(FORMER_POOL_FILE) is not None:
        raise StateError(f"{files.directory}/{FORMER_POOL_FILE} is {_WAS_ALONE}")


def _ever_members(storage: Storage) -> set[str]:
    """
    The names of all present and former members in the log.
    """
    kept = [] if storage.snapshot is None else list(storage.snapshot.members)
    for command, _, _ in storage[:]:
        if command[:1] == MEMBERSHIP:
            kept += msgspec.msgpack.decode(command[1:], type=Members).members
    return {member.name for member in kept}


def _first(me: Member, pool: Any) -> Any:
    return first_snapshot((me,), encode_state(Replicated(pool)))


def _new_name() -> bytes:
    """
    The envelope of a command that gives the cluster another id.
    """
    id = new_cluster_id(SystemRandom())
    return encode_envelope(Envelope(NAMING_FORMAT, f"name {id}", 0, NameCluster(id, anew=True)))


def _settle(
    storage: Storage, me: Member, members: tuple[Member, ...], *, join: bool, force: bool
) -> None:
    """
    Determine the members: by the log, or if the log is empty, by the configuration.

    @param members: the members of a new cluster; empty: this node alone.
    @raise StateError: the log belongs to another node.
    """
    if not len(storage):
        if not join:
            bootstrap(storage, members or (me,), encode_state(Replicated()))
        return
    kept = members_of(storage)
    if not kept:
        return  # This node still waits to be added.
    names = ", ".join(f"{member.name} at {member.address or 'no address'}" for member in kept)
    if force:
        _log.warn(
            "--force-new-cluster: this node is now the only member of the cluster; its members "
            "were {names}",
            names=names,
        )
        # Nodes of the former cluster are others' from now on.
        _go_on_alone(storage, me, REGULAR + _new_name())
    elif _is_alone(storage, kept):
        _settle_alone(storage, kept[0], me, members)
    elif not (join or _has_begun(storage)):
        _begin_again(storage, kept, members or (me,))
    else:
        _settle_member(kept, me, members, names)


def _go_on_alone(storage: Storage, me: Member, *commands: bytes) -> None:
    make_alone(storage, me, *commands)
    # The former members may come back with new files, and cannot be removed first.
    for name in storage.peers:
        storage.forget_peer(name)


def _is_alone(storage: Storage, kept: tuple[Member, ...]) -> bool:
    """
    Whether this node is the only member by its log. (Where it was removed, or is to be added,
    another one is.)
    """
    if len(kept) != 1:
        return False
    (only,) = kept
    if only.incarnation:
        return only.incarnation == storage.incarnation
    # It began the cluster alone, and has elected itself.
    return storage.getVotedForNodeId() == only.name or not _has_begun(storage)


def _has_begun(storage: Storage) -> bool:
    """
    Whether the cluster has had a leader, as far as this node knows.
    """
    return storage[-1][1] > FIRST_INDEX or storage.getCurrentTerm() > 0


def _settle_alone(storage: Storage, kept: Member, me: Member, members: tuple[Member, ...]) -> None:
    """
    Go on as the only member: of a cluster, or without one.

    @raise StateError: the log belongs to another node.
    """
    if me.contact == kept.contact:
        return
    if not kept.address and set(members) > {me}:
        raise StateError(f"the state is {_WAS_ALONE}")
    if kept.address and me.address and me.name != kept.name:
        raise StateError(
            f"the state is that of a cluster of {kept.name} at {kept.address}; this node is "
            f"{me.name} at {me.address}. Give it its name back with cluster.name; its address may "
            f"change"
        )
    # Nobody else knows this node. So it may change its name and its address, become the first
    # member of a cluster, or a standalone node again.
    if kept.address:
        _log.info(
            "this node was the only member of its cluster, {name} at {address}; it is now {now}",
            name=kept.name,
            address=kept.address,
            now=f"{me.name} at {me.address}" if me.address else "a standalone node",
        )
    _go_on_alone(storage, me)


def _begin_again(storage: Storage, kept: tuple[Member, ...], members: tuple[Member, ...]) -> None:
    """
    Take the members from the configuration again, as they may have been corrected: the cluster
    has not begun.
    """
    if {each.contact for each in kept} == {each.contact for each in members}:
        return
    _log.info(
        "cluster.members was changed before the cluster has begun; the members are {names}",
        names=", ".join(map(str, members)),
    )
    bootstrap(storage, members, encode_state(Replicated()))
    for name in storage.peers:
        storage.forget_peer(name)


def _settle_member(
    kept: tuple[Member, ...], me: Member, members: tuple[Member, ...], names: str
) -> None:
    """
    Go on as a member of a cluster of several nodes.

    @raise StateError: this node has no address for the others.
    """
    contacts = {member.contact for member in kept}
    before = next((member for member in kept if member.name == me.name), None)
    if not me.address:
        raise StateError(
            f"the state is that of a cluster of {names}, and cluster.listen is missing. To go on "
            f"without the others, remove them first (DELETE /cluster/nodes/NAME); or if they are "
            f"lost, start this node once with --force-new-cluster"
        )
    if before is None:
        _log.warn(
            "this node, {name}, is not among the members: {names}. If its address has changed, and "
            "with it its name, give it its name back with cluster.name",
            name=me.name,
            names=names,
        )
    elif before.address != me.address:
        _log.info(
            "the address of this node is now {now}; it was {before}. The leader is told",
            now=me.address,
            before=before.address,
        )
    elif members and {member.contact for member in members} != contacts:
        _log.info(
            "cluster.members is ignored: it counts only when a cluster begins; the members are "
            "{names}",
            names=names,
        )
