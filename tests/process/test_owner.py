"""
Tests for L{alacrity.process.owner}: what needs no root. The rest is in L{tests.system.test_node}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from alacrity.process.owner import Owner, OwnerError, owner_of

NOBODY = 2**31 - 7
"""An id that no user has."""


class OptionsTests(SynchronousTestCase):
    """
    The user that C{twistd}'s options ask for.
    """

    def as_user(self, uid: int, gid: int) -> None:
        """Be seen as a user."""
        self.patch(os, "geteuid", lambda: uid)
        self.patch(os, "getegid", lambda: gid)

    def test_nobody(self) -> None:
        """
        None is asked for, or the one that it is.
        """
        self.as_user(1000, 1001)
        for options in (
            {},
            {"uid": None, "gid": None},
            {"uid": 1000},
            {"uid": 1000, "gid": 1001},
            {"gid": 1001},
        ):
            self.assertIsNone(owner_of(options))

    def test_not_root(self) -> None:
        """
        Only root can become another.
        """
        self.as_user(1000, 1001)
        for options, found in (
            ({"uid": 0}, "user 0"),
            ({"uid": 1000, "gid": 7}, "user 1000, group 7"),
            ({"gid": 0}, "group 0"),
        ):
            with self.assertRaisesRegex(OwnerError, f"^--uid, --gid: found {found}; only root"):
                owner_of(options)

    def test_root(self) -> None:
        """
        Root can become any user there is, and any number with a group.
        """
        self.as_user(0, 0)
        own = owner_of({"uid": 0})
        assert own is not None
        self.assertEqual((own.uid, own.gid, own.effective), (0, 0, False))
        self.assertEqual(
            owner_of({"uid": NOBODY, "gid": 5, "euid": 1}), Owner(NOBODY, 5, (5,), effective=True)
        )
        group = owner_of({"gid": 5})
        assert group is not None
        self.assertEqual((group.uid, group.gid), (0, 5))
        with self.assertRaisesRegex(OwnerError, f"^--uid: found {NOBODY}, which no user has"):
            owner_of({"uid": NOBODY})


class GiveTests(SynchronousTestCase):
    """
    The files whose owner is changed.
    """

    def setUp(self) -> None:
        self.owner = Owner(1234, 1235)
        self.given: dict[str, tuple[int, int]] = {}
        self.directory = Path(self.mktemp()).absolute()

        def fchown(descriptor: int, uid: int, gid: int) -> None:
            self.given[Path(os.readlink(f"/proc/self/fd/{descriptor}")).name] = (uid, gid)

        def chown(path: Any, uid: int, gid: int, *, follow_symlinks: bool) -> None:
            self.assertFalse(follow_symlinks)
            self.given[Path(path).name] = (uid, gid)

        self.patch(os, "fchown", fchown)
        self.patch(os, "chown", chown)

    def test_new_directory(self) -> None:
        """
        A new one is, with those above it that were not there.
        """
        self.owner.give_directory(self.directory / "deep" / "state")
        self.assertEqual(
            self.given, dict.fromkeys((self.directory.name, "deep", "state"), (1234, 1235))
        )

    def test_used_directory(self) -> None:
        """
        One that root has used is, with the files in it, but no links and no others.
        """
        self.directory.mkdir()
        for name in ("lock", "raft.log", "raft.log.damaged-1"):
            (self.directory / name).touch()
        (self.directory / "pool.json").symlink_to("lock")
        os.link(self.directory / "raft.log", self.directory / "raft.log.new")
        self.owner.give_directory(self.directory)
        self.assertEqual(set(self.given), {"lock", "raft.log.damaged-1", self.directory.name})

    def test_other_directory(self) -> None:
        """
        One in which there are other files stays whose it is.
        """
        self.directory.mkdir()
        (self.directory / "passwd").touch()
        (self.directory / "lock").touch()
        self.owner.give_directory(self.directory)
        self.assertEqual(set(self.given), {"lock"})


class ActingTests(SynchronousTestCase):
    """
    Acting as the user for a while, and becoming it.
    """

    def setUp(self) -> None:
        self.done: list[tuple[str, Any]] = []
        for name in ("setgroups", "setegid", "seteuid", "setgid", "setuid"):
            self.patch(os, name, lambda value, name=name: self.done.append((name, value)))
        self.patch(os, "getgroups", lambda: [8])
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "getegid", lambda: 9)
        self.owner = Owner(1, 2, (2, 3))

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Expects a failure."""
        with self.assertRaises(ZeroDivisionError):
            yield

    def test_acting(self) -> None:
        """
        It is undone, also after a failure, in an order that is allowed.
        """
        with self.failing(), self.owner.acting():
            raise ZeroDivisionError
        self.assertEqual(
            self.done,
            [
                *(("setgroups", (2, 3)), ("setegid", 2), ("seteuid", 1)),
                *(("seteuid", 0), ("setegid", 9), ("setgroups", [8])),
            ],
        )

    def test_become(self) -> None:
        """
        The groups go first: the user may not change them.
        """
        self.owner.become()
        Owner(1, 2, (2,), effective=True).become()
        self.assertEqual(
            self.done,
            [
                *(("setgroups", (2, 3)), ("setgid", 2), ("setuid", 1)),
                *(("setgroups", (2,)), ("setegid", 2), ("seteuid", 1)),
            ],
        )
