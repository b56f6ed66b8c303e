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
from ftlab.data.dataset.class_names import DisplayNames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_FAMILY = "DejaVu Sans"
"""Comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic."""
CJK_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti"),
    *("Microsoft YaHei", "SimHei", "DengXian", "SimSun", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR"),
    *("Yu Gothic", "Hiragino Sans", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS", "Unifont"),
)
"""Families with Chinese, Japanese or Korean letters on Linux, macOS and Windows, the likeliest first."""


def create_figure(width: float, height: float) -> Figure:
    """An empty figure, inches, with fonts for all letters that this machine can draw."""
    import matplotlib
    from matplotlib.figure import Figure

    # For the whole process: labels of axes are made when they are drawn, by whatever thread does.
    matplotlib.rcParams["font.family"] = list(list_font_families())
    return Figure(figsize=(width, height), layout="constrained")


@cache
def list_font_families() -> tuple[str, ...]:
    """The families to draw with: matplotlib's own, then those of `CJK_FAMILIES` that are here."""
    from matplotlib.font_manager import fontManager

    installed_names = {font.name for font in fontManager.ttflist}
    return DEFAULT_FAMILY, *(name for name in CJK_FAMILIES if name in installed_names)


def is_drawable(text: str) -> bool:
    """Whether every character has a glyph here."""
    return all(ord(character) in list_drawable_glyphs() for character in text if character != "\n")


def format_line(value: object) -> str:
    """A text as a figure takes it: in one line, what no font has written out (\\u8682), no dollar sign mathematics."""
    single_line = messages.escape_control_chars(value)
    escaped = (character if is_drawable(character) else f"\\u{ord(character):04x}" for character in single_line)
    return "".join(escaped).replace("$", r"\$")


def format_class_name(class_name: str, display_names: DisplayNames) -> str:
    """What a figure calls a class: as a person reads it if that can be drawn, else in English, else as its folder."""
    display_name = class_names.get_display_name(class_name, display_names)
    if is_drawable(display_name):
        return format_line(display_name)
    english_name = display_names.get(class_name, {}).get("en", "")
    return format_line(english_name if english_name and is_drawable(english_name) else class_name)


def make_class_formatter(display_names: DisplayNames) -> Callable[[str], str]:
    """`format_class_name` with the names of a run."""
    return lambda class_name: format_class_name(class_name, display_names)


def format_message(key: str, /, **values: object) -> str:
    """A sentence of the words for a figure: in English where the page's language cannot be drawn."""
    localized = messages.get_text(key, **values)
    english = messages.load_messages("en")[key]
    return localized if is_drawable(localized) else format_line(english.format(**values) if values else english)


@cache
def list_drawable_glyphs() -> frozenset[int]:
    """Code points that the families have glyphs for."""
    from matplotlib.font_manager import findfont, get_font

    code_points: set[int] = set()
    for family in list_font_families():
        font: Any = get_font(findfont(family, fallback_to_default=False))
        code_points.update(font.get_charmap())
    return frozenset(code_points)
