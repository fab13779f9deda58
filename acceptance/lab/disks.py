"""
Disks that fail when they are told to. They need root, and loop devices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from acceptance.lab.processes import run


@contextlib.contextmanager
def tmpfs(path: Path) -> Iterator[None]:
    """
    A disk of 1 MiB, mounted at a path.
    """
    path.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], 10)
    try:
        yield
    finally:
        run(["umount", "--lazy", path], 10)


class Disk:
    """
    An ext4 file system that becomes read-only after an error, until it is repaired.
    """

    def __init__(self, path: Path, device: Path) -> None:
        """
        @param path: where it is to be mounted.
        """
        self._path = path
        self._device = device
        self._mount()

    def _mount(self) -> None:
        run(["mount", "-o", "errors=remount-ro", self._device, self._path], 10)

    def fail(self) -> None:
        """
        Have an error.
        """
        Path("/sys/fs/ext4", self._device.name, "trigger_fs_error").write_text("by hand")

    def repair(self) -> None:
        """
        Unmount it, repair it and mount it again, as an operator does once nobody uses it.
        """
        run(["umount", self._path], 10)
        # 1: there was something to repair.
        run(["sh", "-c", 'e2fsck -p "$0" || [ $? = 1 ]', self._device], 20)
        self._mount()

    def allow(self, *, writes: bool) -> None:
        """
        Let nobody change its files, not even those that are open; or let them again.
        """
        everything = [self._path, *self._path.glob("raft.log*")]
        run(["chattr", "-i" if writes else "+i", *everything], 10)

    def unmount(self) -> None:
        """
        Unmount it, also while it is in use.
        """
        run(["umount", "--lazy", self._path], 10)


@contextlib.contextmanager
def ext4(path: Path) -> Iterator[Disk]:
    """
    A disk of 16 MiB, mounted at a path.
    """
    path.mkdir(parents=True, exist_ok=True)
    image = path.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(16 << 20)
    run(["mkfs.ext4", "-q", image], 20)
    device = Path(run(["losetup", "--find", "--show", image], 10).strip())
    try:
        disk = Disk(path, device)
        try:
            yield disk
        finally:
            disk.unmount()
    finally:
        run(["losetup", "--detach", device], 10)


def fill(directory: Path) -> Path:
    """
    Fill up a disk.

    @return: the file to remove, for space.
    """
    filler = directory / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    return filler
