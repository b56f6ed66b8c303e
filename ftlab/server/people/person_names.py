"""Names of people, as somebody typed them: what is kept of one, and which look the same."""

from __future__ import annotations

import unicodedata

MAX_NAME_CHARS = 40
"""Characters of a name."""
_BLANK_CHARACTERS = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}.union(
        range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
    )
)
"""Letters, marks and signs that show nothing: fillers, selectors of variants, the empty pattern of Braille."""
_LOOKALIKES = str.maketrans("авекмнорстухіјѕһԁԛԝαβεζηικμνορτυχ", "abekmhopctyxijshdqwabezhikmnoptyx")
"""Small letters of other scripts, whose capital or small form looks like that of the Latin letter."""


def normalize_name(name: str) -> str:
    """Return a person's name on one line, without characters that cannot be seen, at most `MAX_NAME_CHARS` long.

    Args:
        name: as somebody typed it.

    Returns:
        The name; empty where nothing of it can be seen.
    """
    # Control and format characters could turn the text around them, and make two names look the same.
    visible_text = "".join(
        " " if character.isspace() else character for character in unicodedata.normalize("NFC", name)
    )
    kept_text = "".join(
        character
        for character in visible_text
        if unicodedata.category(character)[0] != "C" and ord(character) not in _BLANK_CHARACTERS
    )
    return " ".join(kept_text.split())[:MAX_NAME_CHARS].strip()


def fold_look(name: str) -> str:
    """Return a text that names have in common which people take for the same: by case, width or script."""
    return unicodedata.normalize("NFKC", name).casefold().translate(_LOOKALIKES)
