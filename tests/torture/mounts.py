"""Real file systems in files: made, mounted, cut off from power, and always taken away again."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from workers import eventually

_SHUTDOWN = 0x8004587D
"""_IOR('X', 125, __u32): as of now nothing more reaches the disk."""
_NOLOGFLUSH = 2


def run(*words: str | Path) -> str:
    done = subprocess.run(list(words), capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.strip()


def needs(*programs: str) -> None:
    """Skip where this cannot be done, and say how it could."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("mounting needs root and loop devices: run `sudo make torture` on a machine")
    packages = {"mkfs.ext4": "e2fsprogs", "nbdkit": "nbdkit", "nbdfuse": "libnbd-bin"}
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: apt-get install {packages[program]}")


class Disk:
    """An ext4 in a device, mounted at `place` while entered."""

    def __init__(self, device: str, place: Path, *options: str) -> None:
        self.device = device
        self.place = place
        self._options = options
        place.mkdir()

    def mount(self) -> None:
        options = ["-o", ",".join(self._options)] if self._options else []
        run("mount", "-t", "ext4", *options, self.device, self.place)
        # Never fill or cut off anything but what was just mounted.
        run("mountpoint", "-q", self.place)
        self.place.chmod(0o700)

    def umount(self) -> None:
        run("umount", self.place)

    def remount(self, *options: str) -> None:
        run("mount", "-o", ",".join(("remount", *options)), self.place)

    def cut_power(self) -> None:
        """Whatever is not on the disk yet will never be."""
        run("mountpoint", "-q", self.place)
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(fd)

    @contextmanager
    def mounted(self) -> Iterator[Disk]:
        self.mount()
        try:
            yield self
        finally:
            if subprocess.run(["mountpoint", "-q", self.place]).returncode == 0:
                run("umount", "-l", self.place)


@contextmanager
def loop(file: Path) -> Iterator[str]:
    """A block device on a file."""
    device = run("losetup", "-f", "--show", file)
    try:
        yield device
    finally:
        run("losetup", "-d", device)


@contextmanager
def small_disk(root: Path, megabytes: int, *make: str) -> Iterator[Disk]:
    """A new ext4 of that size."""
    needs("mkfs.ext4")
    image = root / "image"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    run("mkfs.ext4", "-q", "-m", "0", *make, image)
    with loop(image) as device, Disk(device, root / "disk").mounted() as disk:
        yield disk


class FailingDisk(Disk):
    """An ext4 whose data, not whose journal, fails to be written while `failing`."""

    def __init__(self, device: str, place: Path, trigger: Path) -> None:
        super().__init__(device, place, "errors=continue")
        self._trigger = trigger

    def fail(self, failing: bool) -> None:
        if failing:
            self._trigger.touch()
        else:
            self._trigger.unlink(missing_ok=True)


@contextmanager
def failing_disk(root: Path) -> Iterator[FailingDisk]:
    """nbdkit's error filter, served as a file by nbdfuse, a loop device on that, ext4 on that."""
    needs("mkfs.ext4", "nbdkit", "nbdfuse")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("nbdfuse needs /dev/fuse: modprobe fuse")
    socket, trigger, served = root / "socket", root / "trigger", root / "served"
    journal = root / "journal"
    served.touch()
    with journal.open("wb") as file:
        file.truncate(8 << 20)
    with ExitStack() as stack:
        error = ["error=EIO", "error-pwrite-rate=100%", f"error-file={trigger}"]
        server = subprocess.Popen(
            ["nbdkit", "-f", "-U", socket, "--filter=error", "memory", "48M", *error],
            stderr=subprocess.DEVNULL,
        )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        eventually(socket.exists)
        fuse = subprocess.Popen(["nbdfuse", served, "--unix", socket], stderr=subprocess.DEVNULL)
        stack.callback(fuse.wait)
        stack.callback(run, "umount", "-l", served)
        eventually(lambda: served.stat().st_size)
        device = stack.enter_context(loop(served))
        journal_device = stack.enter_context(loop(journal))
        run("mkfs.ext4", "-q", "-b", "4096", "-O", "journal_dev", journal_device)
        outside = ["-J", f"device={journal_device}", "-E", "nodiscard,lazy_itable_init=0"]
        run("mkfs.ext4", "-q", "-m", "0", "-b", "4096", *outside, device)
        disk = FailingDisk(device, root / "disk", trigger)
        stack.enter_context(disk.mounted())
        # Before anything is taken down, what is left to be written must be writable.
        stack.callback(disk.fail, False)
        yield disk
