"""Fonts for figures: those of this machine for characters that matplotlib's own font lacks, with a readable fallback.

A class may be called 蚂蚁. Where an installed font has these characters it draws them. Where none has, the class is
shown by its English or its folder's name, and a sentence in English, instead of empty boxes.
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
"""Font families with Chinese, Japanese or Korean characters on Linux, macOS and Windows, the likeliest first."""


def create_figure(width: float, height: float) -> Figure:
    """Create an empty figure with fonts for all characters that this machine can draw.

    Args:
        width: in inches.
        height: in inches.

    Returns:
        The figure, with constrained layout; a line at its bottom says so where the page's language cannot be drawn.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # For the whole process, not in an `rc_context`: tick labels are created when the figure is drawn, perhaps later
    # and in another thread.
    matplotlib.rcParams["font.family"] = list(list_font_families())
    figure = Figure(figsize=(width, height), layout="constrained")
    if not is_drawable(messages.get_text("page.language")):
        figure.text(0.004, 0.004, messages.load_messages("en")["curve.no_font"], fontsize=5, color="gray")
    return figure


@cache
def list_font_families() -> tuple[str, ...]:
    """Return the families to draw with: matplotlib's own, then those of `CJK_FAMILIES` that are installed."""
    from matplotlib.font_manager import fontManager

    installed_names = {font.name for font in fontManager.ttflist}
    return DEFAULT_FAMILY, *(name for name in CJK_FAMILIES if name in installed_names)


def is_drawable(text: str) -> bool:
    """Return whether the fonts of this machine have a glyph for every character."""
    return all(ord(character) in list_drawable_glyphs() for character in text if character != "\n")


def format_line(value: object) -> str:
    r"""Return a text as a figure can draw it.

    It is in one line, characters without a glyph are written as their code point (\u8682), and a dollar sign does not
    start matplotlib's math mode.
    """
    single_line = messages.escape_control_chars(value)
    escaped = (character if is_drawable(character) else f"\\u{ord(character):04x}" for character in single_line)
    return "".join(escaped).replace("$", r"\$")


def format_class_name(class_name: str, display_names: DisplayNames) -> str:
    """Return the name of a class for a figure.

    Args:
        class_name: name of the class, which is that of its folder.
        display_names: names for people, by class and language.

    Returns:
        The name for people if it can be drawn, else the English name, else that of the folder.
    """
    display_name = class_names.get_display_name(class_name, display_names)
    if is_drawable(display_name):
        return format_line(display_name)
    english_name = display_names.get(class_name, {}).get("en", "")
    return format_line(english_name if english_name and is_drawable(english_name) else class_name)


def make_class_formatter(display_names: DisplayNames) -> Callable[[str], str]:
    """Return `format_class_name` bound to the class names of a run."""
    return lambda class_name: format_class_name(class_name, display_names)


def format_message(key: str, /, **values: object) -> str:
    """Return a message for a figure; in English where the language of the page cannot be drawn.

    Args:
        key: key of the message.
        **values: values of its placeholders.

    Returns:
        The text.
    """
    localized = messages.get_text(key, **values)
    # English text can always be drawn, but its values may hold any characters: `format_line` escapes those.
    english = messages.load_messages("en")[key]
    return localized if is_drawable(localized) else format_line(english.format(**values) if values else english)


@cache
def list_drawable_glyphs() -> frozenset[int]:
    """Return the code points for which the font families have glyphs."""
    from matplotlib.font_manager import findfont, get_font

    code_points: set[int] = set()
    for family in list_font_families():
        # No fallback: findfont would silently return another font, whose glyphs must not count.
        font: Any = get_font(findfont(family, fallback_to_default=False))
        code_points.update(font.get_charmap())
    return frozenset(code_points)
