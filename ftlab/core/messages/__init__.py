"""Every sentence a person reads, one TOML file a language, by key.

`text("error.data.missing", folder=x)` looks up table `error`, then the key `data.missing`, and fills in the
values. Another language is another file with the same keys; a key that it lacks falls back to English.
"""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache
from pathlib import Path

_FALLBACK = "en"
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Characters that steer the terminal or the page: controls, line ends, turns of the reading direction, halves."""


def languages() -> list[str]:
    """Codes of the languages there are, English first."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))
    return [_FALLBACK, *(code for code in found if code != _FALLBACK)]


def language() -> str:
    """The language in use: `FTLAB_LANGUAGE` where it names a file of words, else English."""
    wanted = os.environ.get("FTLAB_LANGUAGE", _FALLBACK)
    return wanted if wanted != _FALLBACK and wanted in languages() else _FALLBACK


@cache
def table(code: str) -> dict[str, str]:
    """All sentences of one language, flat: `{"error.data.missing": "…", …}`."""
    with open(Path(__file__).parent / f"{code}.toml", "rb") as file:
        return dict(_flatten("", tomllib.load(file)))


def text(key: str, /, **values: object) -> str:
    """The sentence of that key with its values filled in.

    Raises:
        KeyError: no language has the key, or a value that the sentence names is missing: a bug.
    """
    own = table(language())
    sentence = own[key] if key in own else table(_FALLBACK)[key]
    return sentence.format(**values) if values else sentence


def percent(share: float) -> str:
    """A fraction in [0, 1] for people: never 0 % or 100 % where it is not."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def size(count: int) -> str:
    """Bytes for people, in powers of ten: 17.3 MB, 1.2 GB."""
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def one_line(value: object) -> str:
    """A name or a message as text that stays in its line and in its place: what would steer the terminal, end the
    line or turn the reading direction is written out (a newline as \\x0a)."""
    return _UNSEEN.sub(
        lambda one: f"\\x{ord(one[0]):02x}" if ord(one[0]) < 256 else f"\\u{ord(one[0]):04x}", str(value)
    )


def _flatten(prefix: str, node: dict[str, object]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in node.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            rows += _flatten(key, value)
        else:
            rows.append((key, str(value).strip()))
    return rows
