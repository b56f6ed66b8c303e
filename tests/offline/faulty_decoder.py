"""Makes the decoder crash, hang or take all memory at files whose names say so, in the processes that a test starts.

An audit hook looks at the files that `decode` opens, in whatever process: so a test that goes on also shows that no
other process decodes them.
"""

from __future__ import annotations

import os
import sys
import time

VARIABLE = "FTLAB_TEST_FAULTS"
"""Environment variable: set for processes in which the decoder is faulty."""

_DECODER = "ftlab.data.images.decode"
_poisoned: list[str] = []
"""Files that have damaged the memory of this process."""
_hoard: list[bytes] = []
"""Memory that a file has taken."""


def fail(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook."""
    if event != "open" or not isinstance(arguments[0], (str, bytes)) or not _is_decoding():
        return
    name = os.path.basename(os.fsdecode(arguments[0]))  # noqa: PTH119 - as it comes
    if _poisoned or name.startswith("aborts"):
        os.abort()
    if name.startswith("poisons"):
        _poisoned.append(name)  # noticed only at the next file, as damage to memory is
    if name.startswith("hangs"):
        time.sleep(600)
    if name.startswith(("eats", "hoards")):
        # Kept: whoever looks now and then would miss what is given back at once.
        _hoard.extend(_take_memory(megabytes=1000 if name.startswith("eats") else 300))
        time.sleep(600)


def _is_decoding() -> bool:
    """Whether the decoder opens the file, and not somebody who copies or hashes it."""
    frame = sys._getframe(1).f_back  # none where the interpreter opens the program
    return frame is not None and frame.f_globals.get("__name__") == _DECODER


def _take_memory(megabytes: int) -> list[bytes]:
    return [b"x" * 10_000_000 for _ in range(megabytes // 10)]
