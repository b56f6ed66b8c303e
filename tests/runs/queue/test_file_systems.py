"""Which folders are on a network file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import RunError
from ftlab.runs.queue import database, file_systems
from ftlab.runs.queue.database import QueueDatabase
from ftlab.runs.queue.file_systems import find_network_type, parse_mount_output, parse_mountinfo

LINUX = """\
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:35 / /home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
41 40 259:2 / /home/ann/fast rw shared:3 - xfs /dev/sdb rw
42 22 0:36 / /mnt/two\\040words rw - cifs //server/share rw
43 22 0:37 / /mnt/ssh rw - fuse.sshfs ann@host: rw
44 22 0:38 / /mnt/local rw - fuse.ntfs-3g /dev/sdc rw
45 22 0:39 / /covered rw - nfs server:/x rw
46 22 0:40 / /covered rw - tmpfs tmpfs rw
47 22 0:41 / /mnt/c rw - 9p C: rw
"""
MAC = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//ann@server/runs on /Volumes/runs (on the server) (smbfs, nodev, nosuid, mounted by ann)
server:/x on /Volumes/nfs (nfs)
"""


@pytest.mark.parametrize(
    ("folder", "network_type"),
    [
        ("/data/runs", ""),
        ("/home/ann/runs", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/runs", ""),
        ("/home/ann/fast/runs", ""),
        ("/mnt/two words/runs", "cifs"),
        ("/mnt/ssh/runs", "fuse.sshfs"),
        ("/mnt/local/runs", ""),
        ("/covered/runs", ""),
        ("/mnt/c/runs", "9p"),
    ],
)
def test_the_innermost_mount_of_linux_decides(folder: str, network_type: str) -> None:
    assert find_network_type(Path(folder), parse_mountinfo(LINUX)) == network_type


def test_the_mounts_of_macos_are_read_from_the_command() -> None:
    mounts = parse_mount_output(MAC)
    assert find_network_type(Path("/Volumes/runs/a"), mounts) == ""  # its name has brackets: told apart by the last
    assert find_network_type(Path("/Volumes/runs (on the server)/a"), mounts) == "smbfs"
    assert find_network_type(Path("/Volumes/nfs"), mounts) == "nfs"
    assert find_network_type(Path("/Users/ann/runs"), mounts) == ""


def test_a_disk_of_this_machine_is_none(tmp_path: Path) -> None:
    assert find_network_type(tmp_path / "not" / "yet") == ""


def test_a_queue_on_one_is_refused_with_the_remedy_and_a_local_folder_is_taken_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, disk = tmp_path / "share", tmp_path / "disk"
    mounts = [("/", "ext4"), (str(share), "nfs4")]
    monkeypatch.setattr(file_systems, "_read_mounts", lambda: mounts)
    with (
        pytest.raises(RunError, match=r"network file system \(nfs4\).*--queue-dir.*FTLAB_QUEUE_DIR"),
        QueueDatabase(share).lock(),
    ):
        pytest.fail("the lock of a network file system keeps nobody out")
    monkeypatch.setenv("FTLAB_QUEUE_DIR", "")  # restored afterwards
    database.declare_queue_folder(str(disk))
    with QueueDatabase(share).lock() as turns:
        turns["ann"] = 3.0
    assert QueueDatabase(share).read_turns() == {"ann": 3.0}
    assert QueueDatabase(tmp_path / "other").read_turns() == {}, "each runs folder has a database of its own there"
    assert list(share.iterdir()) == []
    assert list(disk.glob("queue-*.sqlite3")) != []
