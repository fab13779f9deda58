"""
The user that a node runs as when root starts it with C{twistd --uid}, and the files that have
to belong to that user.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

_OURS: Final = ("lock", "pool.json", "raft.log")
"""Prefixes of the names of a node's files in its state directory."""


class OwnerError(Exception):
    """
    A user or group that the node cannot become. The message is one line, for an operator.
    """


class Owner(msgspec.Struct, frozen=True):
    """
    A user and its groups.

    @ivar effective: only the effective ids are to change (C{twistd --euid}).
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    effective: bool = False

    @contextmanager
    def acting(self) -> Iterator[None]:
        """
        Act as this user for the time of a C{with}.
        """
        uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
        os.setgroups(self.groups)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(uid)
            os.setegid(gid)
            os.setgroups(groups)

    def become(self) -> None:
        """
        Become this user for good.

        @raise OSError: that is not allowed.
        """
        os.setgroups(self.groups)
        (os.setegid if self.effective else os.setgid)(self.gid)
        (os.seteuid if self.effective else os.setuid)(self.uid)

    def give_file(self, descriptor: int) -> None:
        """
        Make this user the owner of an open file, if that is a regular one with a single link.
        """
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.fchown(descriptor, self.uid, self.gid)

    def give_socket(self, path: str) -> None:
        """
        Make this user the owner of a Unix socket, and of the link that is its lock.
        """
        for each in (path, f"{path}.lock"):
            try:
                os.chown(each, self.uid, self.gid, follow_symlinks=False)
            except FileNotFoundError:
                pass

    def give_directory(self, path: Path) -> None:
        """
        Create a directory with its missing parents for this user, or make it the owner of the
        present one with the node's files. A directory that has other files in it keeps its
        owner.

        @raise OSError: that failed.
        """
        for each in reversed((path, *path.parents)):
            try:
                each.mkdir(mode=0o700)
            except FileExistsError:
                continue
            os.chown(each, self.uid, self.gid, follow_symlinks=False)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            names = os.listdir(directory)
            ours = [name for name in names if name.startswith(_OURS)]
            for name in ours:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                try:
                    file = os.open(name, flags, dir_fd=directory)
                except OSError:
                    continue  # A link, or something else than a node's file.
                try:
                    self.give_file(file)
                finally:
                    os.close(file)
            if len(ours) == len(names):
                os.fchown(directory, self.uid, self.gid)
        finally:
            os.close(directory)


def owner_of(options: Mapping[str, Any]) -> Owner | None:
    """
    The user that C{twistd}'s options name.

    @param options: C{uid}, C{gid} and C{euid}.
    @return: L{None}: the process keeps its user.
    @raise OwnerError: the process cannot become that user.
    """
    uid, gid = options.get("uid"), options.get("gid")
    if uid is None and gid is None:
        return None
    me, mine = os.geteuid(), os.getegid()
    if me != 0:
        if uid in {None, me} and gid in {None, mine}:
            return None
        raise OwnerError(
            f"--uid, --gid: found {_shown(uid, gid)}; only root can become another user, and "
            f"this process is run by user {me}, group {mine}: start it as root, or as that user"
        )
    effective = bool(options.get("euid"))
    if uid is None:
        return Owner(me, int(gid or 0), tuple(os.getgroups()), effective)
    try:
        entry = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        if gid is None:
            raise OwnerError(
                f"--uid: found {uid}, which no user has; allowed: a user of this machine, or "
                "any number together with --gid"
            ) from None
        return Owner(uid, gid, (gid,), effective)
    group = entry.pw_gid if gid is None else gid
    return Owner(uid, group, tuple(os.getgrouplist(entry.pw_name, group)), effective)


def _shown(uid: int | None, gid: int | None) -> str:
    named = (("user", uid), ("group", gid))
    return ", ".join(f"{what} {number}" for what, number in named if number is not None)
