"""Decide which links in a data set are followed: all on one's own machine, none that lead out on a shared server.

Data sets are often made of links: snapshots of the Hugging Face cache, DVC, a selection of class folders. On a server
for others, a link could show visitors what lies outside the folder that they may read. No torch.
"""

from __future__ import annotations

import os
from pathlib import Path

_REFUSE_VARIABLE = "FTLAB_REFUSE_LINKS"
"""Environment variable that a shared server sets, so that the trainings and audits that it starts inherit it."""


def refuse_outside_links() -> None:
    """Follow no link that leads out of a data set from now on, in this process and in those that it starts."""
    os.environ[_REFUSE_VARIABLE] = "1"


def are_outside_links_refused() -> bool:
    """Return whether links that lead out of a data set are refused."""
    return os.environ.get(_REFUSE_VARIABLE, "") not in ("", "0")


def find_link_problem(root: Path, path: str, *, is_folder: bool) -> str:
    """Return why a link is not followed.

    Args:
        root: folder of the data set, links resolved.
        path: absolute path of the link, which is not broken.
        is_folder: whether it leads to a folder.

    Returns:
        Key of the message `problem.<key>`; "" for a link that is followed.
    """
    target = Path(os.path.realpath(path))
    if target.is_relative_to(root):
        # What it leads to is listed where it is; a link to a folder would list it twice, or for ever.
        return "link_folder" if is_folder else ""
    if are_outside_links_refused():
        return "link_out"
    is_loop = is_folder and Path(os.path.realpath(os.path.dirname(path))).is_relative_to(target)  # noqa: PTH120
    return "link_loop" if is_loop else ""
