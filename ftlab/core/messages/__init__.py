"""Every sentence a person reads, one TOML file a language, by key.

`get_text("error.data.missing", folder=x)` looks up table `error`, then the key `data.missing`, and fills in the
values. Another language is another file with the same keys; a key that it lacks falls back to English.
"""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache
from pathlib import Path

_FALLBACK_LANGUAGE = "en"
_CONTROL_CHARS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Characters that steer the terminal or the page: controls, line ends, turns of the reading direction, halves."""


def list_languages() -> list[str]:
    """Codes of the languages there are, English first."""
    codes = sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))
    return [_FALLBACK_LANGUAGE, *(code for code in codes if code != _FALLBACK_LANGUAGE)]


def current_language() -> str:
    """The language in use: `FTLAB_LANGUAGE` where it names a file of words, else English."""
    requested_language = os.environ.get("FTLAB_LANGUAGE", _FALLBACK_LANGUAGE)
    return (
        requested_language
        if requested_language != _FALLBACK_LANGUAGE and requested_language in list_languages()
        else _FALLBACK_LANGUAGE
    )


@cache
def load_messages(language_code: str) -> dict[str, str]:
    """All sentences of one language, flat: `{"error.data.missing": "…", …}`."""
    with open(Path(__file__).parent / f"{language_code}.toml", "rb") as file:
        return dict(_flatten_table("", tomllib.load(file)))


def get_text(key: str, /, **values: object) -> str:
    """The sentence of that key with its values filled in.

    Raises:
        KeyError: no language has the key, or a value that the sentence names is missing: a bug.
    """
    sentences = load_messages(current_language())
    sentence = sentences[key] if key in sentences else load_messages(_FALLBACK_LANGUAGE)[key]
    return sentence.format(**values) if values else sentence


def format_percent(fraction: float) -> str:
    """A fraction in [0, 1] for people: never 0 % or 100 % where it is not."""
    if 0 < fraction < 0.001:
        return "< 0.1 %"
    if 0.999 < fraction < 1:
        return "> 99.9 %"
    return f"{100 * fraction:.1f} %"


def format_bytes(byte_count: int) -> str:
    """Bytes for people, in powers of ten: 17.3 MB, 1.2 GB."""
    return f"{byte_count / 1e6:,.1f} MB" if byte_count < 1e9 else f"{byte_count / 1e9:,.1f} GB"


def escape_control_chars(value: object) -> str:
    """A name or a message as text that stays in its line and in its place: what would steer the terminal, end the
    line or turn the reading direction is written out (a newline as \\x0a)."""
    return _CONTROL_CHARS.sub(
        lambda match: f"\\x{ord(match[0]):02x}" if ord(match[0]) < 256 else f"\\u{ord(match[0]):04x}", str(value)
    )


def _flatten_table(prefix: str, node: dict[str, object]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in node.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            rows += _flatten_table(key, value)
        else:
            rows.append((key, str(value).strip()))
    return rows
