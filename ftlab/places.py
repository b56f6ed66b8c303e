"""Where ftlab keeps what belongs to no run: rendered sample sets, measured speeds, uploads."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder `FTLAB_HOME` names, else `.ftlab` in the person's home folder."""
    return Path(os.environ.get("FTLAB_HOME") or Path.home() / ".ftlab").absolute()
