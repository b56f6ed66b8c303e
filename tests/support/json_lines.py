"""What a command prints with `--json`."""

from __future__ import annotations

import json
from typing import Any


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
