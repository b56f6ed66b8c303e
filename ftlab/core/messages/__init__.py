"""Messages for users: every sentence by key, one TOML file per language.

`get_text("error.data.missing", folder=x)` looks up table `error`, then the key `data.missing`, and fills in the
values. Another language is another file with the same keys; a key that it lacks falls back to English.

The language is that of the request or the event that is being handled (`use_language`), which one thread or task has
for itself; where none was chosen, as on the command line, that of `FTLAB_LANGUAGE`, else English.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

_FALLBACK_LANGUAGE = "en"
_CHOSEN_LANGUAGE: ContextVar[str] = ContextVar("ftlab_language", default="")
_CONTROL_CHARS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Characters that control the terminal or the page: control codes, line ends, reading direction, lone surrogates."""


def list_languages() -> list[str]:
    """Return the codes of the available languages, English first."""
    codes = sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))
    return [_FALLBACK_LANGUAGE, *(code for code in codes if code != _FALLBACK_LANGUAGE)]


def set_language(code: str) -> None:
    """Choose the language of the texts in the current context (thread or task).

    Args:
        code: one of `list_languages`; empty: as if none was chosen.
    """
    _CHOSEN_LANGUAGE.set(code)


@contextmanager
def use_language(code: str) -> Iterator[None]:
    """Choose the language of the texts in the current context until the end of a `with` block, see `set_language`."""
    token = _CHOSEN_LANGUAGE.set(code)
    try:
        yield
    finally:
        _CHOSEN_LANGUAGE.reset(token)


def requested_language() -> str:
    """Return the language that was chosen or that `FTLAB_LANGUAGE` asks for, with or without a message file for it."""
    return _CHOSEN_LANGUAGE.get() or os.environ.get("FTLAB_LANGUAGE") or _FALLBACK_LANGUAGE


def current_language() -> str:
    """Return the language in use: the requested one if there is a message file for it, else English."""
    if chosen_language := _CHOSEN_LANGUAGE.get():
        return chosen_language
    language = requested_language()
    return language if language != _FALLBACK_LANGUAGE and language in list_languages() else _FALLBACK_LANGUAGE


@cache
def load_messages(language_code: str) -> dict[str, str]:
    """Return all sentences of one language as a flat dict: `{"error.data.missing": "…", …}`."""
    with (Path(__file__).parent / f"{language_code}.toml").open("rb") as file:
        return dict(_flatten_table("", tomllib.load(file)))


def get_text(key: str, /, **values: object) -> str:
    """Return the sentence of a key with its values filled in.

    An unknown key, or a missing value that the sentence names, raises `KeyError`: a bug.

    Args:
        key: table and key, for example `error.data.missing`.
        **values: for the placeholders of the sentence.

    Returns:
        The sentence in the current language, else in English.
    """
    sentences = load_messages(current_language())
    sentence = sentences[key] if key in sentences else load_messages(_FALLBACK_LANGUAGE)[key]
    # A sentence without values may contain braces of its own (templates for the page's script).
    return sentence.format(**values) if values else sentence


def format_percent(fraction: float) -> str:
    """Return a fraction in [0, 1] as a percentage; 0 % and 100 % are written only for exactly 0 and 1."""
    if 0 < fraction < 0.001:
        return "< 0.1 %"
    if 0.999 < fraction < 1:
        return "> 99.9 %"
    return f"{100 * fraction:.1f} %"


def format_bytes(byte_count: int) -> str:
    """Return a number of bytes as text, in powers of ten: 17.3 MB, 1.2 GB."""
    return f"{byte_count / 1e6:,.1f} MB" if byte_count < 1e9 else f"{byte_count / 1e9:,.1f} GB"


def escape_control_chars(value: object) -> str:
    r"""Return a value as text of one line that cannot affect its surroundings.

    Characters that control the terminal, end the line or change the reading direction are written out (a newline as
    \x0a).
    """
    return _CONTROL_CHARS.sub(
        lambda match: f"\\x{ord(match[0]):02x}" if ord(match[0]) < 256 else f"\\u{ord(match[0]):04x}", str(value)
    )


def _flatten_table(prefix: str, node: dict[str, object]) -> list[tuple[str, str]]:
    """Return (dotted key, sentence) of all entries of a nested TOML table."""
    rows: list[tuple[str, str]] = []
    for name, value in node.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            rows += _flatten_table(key, value)
        else:
            rows.append((key, str(value).strip()))
    return rows
