"""The profile of a server: what it may do, fixed at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.server.accounts.sign_in_settings import SignInSettings, read_sign_in_settings
from ftlab.server.people.rights import ProfileKind

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine reaches."""
SPACE_TIME_LIMIT_MINUTES = 10.0
"""Time limit of a training started by a visitor of a public Space, in minutes."""


@dataclass(frozen=True)
class ServerProfile:
    """Permissions of this server.

    Attributes:
        data_root: image folders are allowed below it; None: sample sets only, and no path field.
        runs_dir: folder of the runs.
        kind: whom the server is for.
        max_minutes: time limit of a training, in minutes; 0: none.
        hosts: host names that the server answers to besides IP addresses and its own name; `*`: any.
        sign_in: how people sign in with an account; None: they cannot.
        has_mcp: programs can call the server by the Model Context Protocol (MCP).
    """

    data_root: Path | None
    runs_dir: Path
    kind: ProfileKind = ProfileKind.LOCAL
    max_minutes: float = 0.0
    hosts: tuple[str, ...] = ()
    sign_in: SignInSettings | None = None
    has_mcp: bool = False

    @property
    def start_folder(self) -> Path | None:
        """The folder that a page lists first: the home folder where it is allowed, else `data_root`."""
        home = Path.home().resolve()
        # Of the whole file system, nobody's pictures are at the top.
        return home if self.data_root is not None and self.data_root == Path(home.anchor) else self.data_root

    @property
    def is_local(self) -> bool:
        """Return whether one person has the server for themselves."""
        return self.kind is ProfileKind.LOCAL

    @property
    def is_space(self) -> bool:
        """Return whether the server is a public Space."""
        return self.kind is ProfileKind.SPACE


def create_profile(
    *,
    host: str = "127.0.0.1",
    data_root: str | Path | None = None,
    runs_dir: str | Path = "runs",
    hosts: tuple[str, ...] = (),
    is_classroom: bool = False,
    has_mcp: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> ServerProfile:
    """Create the profile of a server from its settings.

    On a Space (`SPACE_ID` is set) no folder is allowed, whatever `data_root` is. A server for this machine only allows
    every folder that its user may read, one behind a proxy on this machine the home folder; a server for others allows
    no folder unless one is given.

    Args:
        host: address that the server listens on.
        data_root: folder below which images are allowed.
        runs_dir: folder of the runs.
        hosts: further host names that the server answers to.
        is_classroom: the server is for a class; ignored on a Space.
        has_mcp: see `ServerProfile`.
        environment: environment variables.

    Returns:
        The profile.

    Raises:
        DataError: `data_root` is not a folder.
    """
    if environment.get("SPACE_ID"):
        return ServerProfile(
            None,
            Path(runs_dir).absolute(),
            ProfileKind.SPACE,
            max_minutes=SPACE_TIME_LIMIT_MINUTES,
            hosts=("*",),
            sign_in=read_sign_in_settings(environment),
            has_mcp=has_mcp,
        )
    is_local = host in LOOPBACK_HOSTS and not hosts
    if data_root is None and is_local and not is_classroom:
        # Whoever starts ftlab for themselves may open what they may read: the root of the file system, or of the drive.
        root: Path | None = Path(Path.home().resolve().anchor)
    elif data_root is None:
        root = Path.home().resolve() if host in LOOPBACK_HOSTS and not is_classroom else None
    else:
        root = user_dirs.expand_home(data_root).resolve()
        if not root.is_dir():
            raise DataError("page.data_root", folder=data_root)
    kind = ProfileKind.CLASSROOM if is_classroom else ProfileKind.LOCAL if is_local else ProfileKind.NETWORK
    return ServerProfile(root, Path(runs_dir).absolute(), kind, hosts=hosts, has_mcp=has_mcp)
