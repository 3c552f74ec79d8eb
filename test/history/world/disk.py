# world/disk.py: disks that can be full.
# SPDX-License-Identifier: PostgreSQL
"""Two tmpfs, one for the data directory and one for pg_wal, in a mount
namespace of our own, so that they go when we go."""

import ctypes
import os
import subprocess

CLONE_NEWNS = 0x00020000
SIZE = {"data": 12 << 30, "wal": 2 << 30}
ROOM = 256 << 10                # left when it is full


def enter():
    """A mount namespace for this process and its children; None or why not.
    To be called before there is a second thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        return "unshare: " + os.strerror(ctypes.get_errno())
    done = subprocess.run(["mount", "--make-rprivate", "/"], text=True,
                          stderr=subprocess.PIPE, check=False)
    return done.stderr.strip() or None


class Disk:
    """One of them."""

    def __init__(self, path, what):
        self.path = path
        self.size = SIZE[what]
        os.makedirs(path)
        self.mount(f"size={self.size},mode=0700", "-t", "tmpfs", "tmpfs")

    def mount(self, options, *more):
        done = subprocess.run(["mount", "-o", options, *more, self.path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode:
            raise OSError(f"mount: {done.stdout.strip()}")

    def fill(self):
        """Next to nothing is left: the disk shrinks to what is on it."""
        room = ROOM
        while True:
            stat = os.statvfs(self.path)
            used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
            try:
                self.mount(f"remount,size={used + room}")
                return
            except OSError:
                # somebody has written meanwhile
                room *= 2
                if room > ROOM << 6:
                    raise

    def heal(self):
        self.mount(f"remount,size={self.size}")

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False)
