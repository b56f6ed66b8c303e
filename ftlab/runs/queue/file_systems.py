"""Network file systems: SQLite's locks do not hold there, so no queue may have its database on one."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

_NETWORK_TYPES = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "afpfs", "ceph", "davfs", "gpfs"),
        *("lustre", "beegfs", "glusterfs", "ncpfs", "ocfs2", "pvfs2", "webdav"),
    )
)  # fmt: skip
"""Types of network file systems on Linux and macOS."""
_NETWORK_FUSE_PATTERN = re.compile(
    r"(?:fuse|osxfuse|macfuse)\.(?:.*(?:sshfs|s3fs|rclone|gcsfuse|davfs|smb|ceph|gluster|juicefs|goofys|blobfuse).*)"
)
"""Types of network file systems that programs provide (FUSE)."""
_WINDOWS_DRIVE_REMOTE = 4
"""What `GetDriveTypeW` returns for a network drive."""
_OCTAL_ESCAPE_PATTERN = re.compile(r"\\([0-7]{3})")
_MOUNT_OUTPUT_PATTERN = re.compile(r"^.* on (?P<point>/.*) \((?P<type>[^,)]+)[^()]*\)$")
"""A line of the output of `mount` on macOS: `//host/share on /Volumes/share (smbfs, nodev)`."""


def find_network_type(folder: Path, mounts: list[tuple[str, str]] | None = None) -> str:
    """Return the type of the network file system that holds a folder.

    Args:
        folder: the folder, which need not exist yet.
        mounts: mount point and type of each file system, later ones cover earlier ones; None: those of this machine.

    Returns:
        The type, such as `nfs4`; empty for a local file system, and where the system does not say.
    """
    path = folder.resolve()
    if mounts is None and sys.platform == "win32":
        # The root with its final backslash, as the function wants it: `C:\` or `\\host\share\`.
        is_remote = ctypes.windll.kernel32.GetDriveTypeW(path.anchor) == _WINDOWS_DRIVE_REMOTE
        return "network drive" if is_remote else ""
    file_system, longest = "", -1
    for mount_point, mount_type in _read_mounts() if mounts is None else mounts:
        point = Path(mount_point)
        # Not below: of two file systems at one point, the later one is visible.
        if (path == point or point in path.parents) and len(point.parts) >= longest:
            file_system, longest = mount_type, len(point.parts)
    is_network = file_system in _NETWORK_TYPES or _NETWORK_FUSE_PATTERN.fullmatch(file_system)
    return file_system if is_network else ""


def parse_mountinfo(text: str) -> list[tuple[str, str]]:
    """Return mount point and type of each file system in the text of `/proc/self/mountinfo`."""
    mounts = []
    for line in text.splitlines():
        fields, _, type_fields = line.partition(" - ")
        columns, types = fields.split(" "), type_fields.split(" ")
        if len(columns) > 4 and types[0]:
            point = _OCTAL_ESCAPE_PATTERN.sub(lambda match: chr(int(match[1], 8)), columns[4])
            mounts.append((point, types[0]))
    return mounts


def parse_mount_output(text: str) -> list[tuple[str, str]]:
    """Return mount point and type of each file system in the output of the command `mount` on macOS."""
    return [
        (match["point"], match["type"]) for line in text.splitlines() if (match := _MOUNT_OUTPUT_PATTERN.match(line))
    ]


def _read_mounts() -> list[tuple[str, str]]:
    """Return the mounts of this machine; none where the system does not tell them."""
    try:
        if sys.platform == "darwin":
            done = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=10, check=False)
            return parse_mount_output(done.stdout)
        return parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, subprocess.TimeoutExpired):
        return []
