"""Letters in figures: fonts of this machine for what matplotlib's own has not, and something readable where none has.

A class may be called 蚂蚁. Where a font of the system has these characters it draws them; where none has, the
class goes by its English or its folder's name, and a sentence by the English one, rather than by empty boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from ftlab.core import messages
from ftlab.data.dataset import class_names
from ftlab.data.dataset.class_names import Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN = "DejaVu Sans"
"""Comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic."""
WIDE = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti"),
    *("Microsoft YaHei", "SimHei", "DengXian", "SimSun", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR"),
    *("Yu Gothic", "Hiragino Sans", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS", "Unifont"),
)
"""Families with Chinese, Japanese or Korean letters on Linux, macOS and Windows, the likeliest first."""


def figure(width: float, height: float) -> Figure:
    """An empty figure, inches, with fonts for all letters that this machine can draw."""
    import matplotlib
    from matplotlib.figure import Figure

    # For the whole process: labels of axes are made when they are drawn, by whatever thread does.
    matplotlib.rcParams["font.family"] = list(families())
    return Figure(figsize=(width, height), layout="constrained")


@cache
def families() -> tuple[str, ...]:
    """The families to draw with: matplotlib's own, then those of `WIDE` that are here."""
    from matplotlib.font_manager import fontManager

    here = {font.name for font in fontManager.ttflist}
    return OWN, *(name for name in WIDE if name in here)


def drawable(text: str) -> bool:
    """Whether every character has a glyph here."""
    return all(ord(one) in _glyphs() for one in text if one != "\n")


def line(value: object) -> str:
    """A text as a figure takes it: in one line, what no font has written out (\\u8682), no dollar sign mathematics."""
    steady = messages.one_line(value)
    drawn = (one if drawable(one) else f"\\u{ord(one):04x}" for one in steady)
    return "".join(drawn).replace("$", r"\$")


def name(own: str, known: Names) -> str:
    """What a figure calls a class: as a person reads it if that can be drawn, else in English, else as its folder."""
    said = class_names.say(own, known)
    if drawable(said):
        return line(said)
    english = known.get(own, {}).get("en", "")
    return line(english if english and drawable(english) else own)


def namer(known: Names) -> Callable[[str], str]:
    """`name` with the names of a run."""
    return lambda own: name(own, known)


def text(key: str, /, **values: object) -> str:
    """A sentence of the words for a figure: in English where the page's language cannot be drawn."""
    said = messages.text(key, **values)
    english = messages.table("en")[key]
    return said if drawable(said) else line(english.format(**values) if values else english)


@cache
def _glyphs() -> frozenset[int]:
    """Code points that the families have glyphs for."""
    from matplotlib.font_manager import findfont, get_font

    found: set[int] = set()
    for family in families():
        font: Any = get_font(findfont(family, fallback_to_default=False))
        found.update(font.get_charmap())
    return frozenset(found)
