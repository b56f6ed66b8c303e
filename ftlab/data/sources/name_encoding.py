"""Detect the encoding of file names in archives that do not say it, from all names together. No torch.

Each encoding that programs write zips with is tried together with the languages that are written in it. The cost of a
reading is the number of bits that its characters would take in a text of that language: letters that the language
often uses cost few, line-drawing characters, symbols and capitals within a word many. The cheapest reading wins.
A general detector needs longer texts: a data set may have two class names of three letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ftlab.config import common_characters
from ftlab.config.name_encodings import NAME_ENCODINGS
from ftlab.data.sources.archive_entries import ArchiveError

STANDARD_ENCODING = "cp437"
"""Encoding of names without a mark, by the standard of zip files."""

_MAX_SAMPLE_BYTES = 20_000
"""Bytes of names that are looked at: more decide nothing."""
_ASCII_BITS, _SYMBOL_BITS, _FOREIGN_LETTER_BITS, _CASE_BITS = 5.0, 17.0, 14.0, 6.0
_MIXED_SCRIPT_BITS = 7.0
_ODD_SCRIPTS = frozenset(("letter", "symbol", "ascii_letter"))
"""Scripts that hardly stand within a word of Chinese, Japanese or Korean."""
_FIRST_STANDARD_BYTE = 0xA1
"""Both bytes of a character of a national standard are at least this."""
_RARE_ENCODING_BITS = {
    "koi8-r": 12.0, "cp1251": 3.0, "cp1250": 4.0, "cp1252": 2.0, "cp1253": 3.0, "cp1254": 4.0,
    "cp1258": 6.0, "gb18030": 6.0,
}  # fmt: skip
"""Bits against encodings that zip programs write by mistake only: Windows' own use the DOS code page."""
_IDEOGRAM_BITS = {"common": 9.0, "first": 13.0, "second": 17.5, "other": 20.0}
_FOUR_BYTE_BITS = 20.0
"""Bits of a character other than an ideogram that GB 18030 writes in four bytes: two letters and two digits, mostly."""
_VIETNAMESE_SYLLABLE = re.compile(
    r"(?:ngh(?=[eêi])|ng|nh|ch|gh(?=[eêi])|gi|kh|ph|qu|th|tr|k(?=[eêiy])|c(?![eêiy])|[bdđghlmnprstvx])?"
    r"(?:(?:[iy]ê|uô|ươ|o[aăe]|u[âêy]|uyê|oo|[aăâeêioôơuưy])(?:ch|ng|nh|[cmnpt])"
    r"|o?a[iy]|uâ?y|[iy]?êu|u?ôi|ươ?[iu]|oe?o|a[ou]|â[uy]|eo|iu|[oơu]i|uy[au]|[iuư]a|o[ae]|uê|uơ|[aeêioôơuưy])"
)
"""A word of Vietnamese without its tone mark."""
_TONE_MARKS = re.compile("[\u0300\u0301\u0303\u0309\u0323]")
_BROKEN_SYLLABLE_BITS = 20.0
_KANA_BITS, _COMMON_HANGUL_BITS, _HANGUL_BITS, _RARE_HANGUL_BITS, _HALF_KANA_BITS = 6.5, 7.5, 11.5, 18.0, 14.0


@dataclass(frozen=True)
class _Alphabet:
    """Letters of a language that are not ASCII.

    Attributes:
        letters: lower case, the most frequent ones first.
        encodings: that hold them.
        base_bits: cost of the most frequent letter.
        is_latin: the language also uses ASCII letters in the same words.
    """

    letters: str
    encodings: tuple[str, ...]
    base_bits: float
    is_latin: bool = False


_CYRILLIC, _GREEK = ("cp866", "cp1251", "koi8-r"), ("cp737", "cp1253")
_WEST, _CENTRAL, _TURKISH = ("cp437", "cp850", "cp1252"), ("cp852", "cp1250"), ("cp857", "cp1254")
_ALPHABETS = (
    _Alphabet("оаеинтрслвкпмудяыьзбгйчжхшюцщэфъё", _CYRILLIC, 3.5),
    _Alphabet("оаинетрсвлкпдмузьбяігйчхшїжцюєщґф'", ("cp866", "cp1251"), 4.2),
    _Alphabet("αοιετσνηυρπκμλςάίόέήώγδβχθφωύξζψϊϋ", _GREEK, 3.5),
    _Alphabet("יהולאתרמשבנדקםפחעטגסכזןצךףץ", ("cp862", "cp1255"), 3.5),
    _Alphabet("المينرةبودتعسفحكقهجصشطأخزضىغثذظءئؤإآ", ("cp720", "cp1256"), 3.5),
    _Alphabet("านรอกเงมยลวดทสะปตบหแจพชขใคโไธผซถฟศษณญภฉฝฮฐฬ่้ัีิ์ืุู็ึ๊๋ำ", ("cp874",), 4.0),
    _Alphabet("éèàêâçôîûùïëœü", _WEST, 5.5, is_latin=True),
    _Alphabet("äüöß", _WEST, 5.5, is_latin=True),
    _Alphabet("óíáéñúü", _WEST, 5.5, is_latin=True),
    _Alphabet("ãçáéóíêõâúà", _WEST, 6.0, is_latin=True),
    _Alphabet("àèòùìé", _WEST, 6.0, is_latin=True),
    _Alphabet("åäö", _WEST, 6.0, is_latin=True),
    _Alphabet("åøæ", ("cp850", "cp1252"), 6.0, is_latin=True),
    _Alphabet("áíðóþæöéúý", ("cp850", "cp1252"), 6.5, is_latin=True),
    _Alphabet("łóąężśćńź", _CENTRAL, 5.5, is_latin=True),
    _Alphabet("áíéěřčýžšůúňťďó", _CENTRAL, 5.5, is_latin=True),
    _Alphabet("áéöőüóíűú", _CENTRAL, 5.5, is_latin=True),
    _Alphabet("ăîâşţ", _CENTRAL, 6.0, is_latin=True),
    _Alphabet("čžšćđ", _CENTRAL, 6.0, is_latin=True),
    _Alphabet("đ\u0301\u0323\u0300ưôâêơáàăóèéíúùãũ\u0309\u0303", ("cp1258",), 4.5, is_latin=True),
    _Alphabet("ıüşçöğ", _TURKISH, 5.5, is_latin=True),
)


def decode_names(raw_names: Mapping[int, bytes], encoding: str = "") -> tuple[dict[int, str], str]:
    """Decode the names of an archive whose encoding it does not say.

    Args:
        raw_names: names as they are stored, by the position of their entry.
        encoding: one of `NAME_ENCODINGS`; empty: it is detected over all names together.

    Returns:
        The names, and the encoding if it was guessed and makes a difference, else "".

    Raises:
        ArchiveError: the names are not in the given encoding.
    """
    used_encoding = encoding or detect_name_encoding([*raw_names.values()])
    names = {}
    for index, raw_name in raw_names.items():
        try:
            names[index] = raw_name.decode(used_encoding)
        except UnicodeDecodeError as cause:
            entry = raw_name.decode(STANDARD_ENCODING)
            raise ArchiveError("name_encoding", entry=entry, encoding=used_encoding) from cause
    is_standard = used_encoding == "utf-8" or all(
        raw_name.decode(STANDARD_ENCODING) == names[index] for index, raw_name in raw_names.items()
    )
    return names, "" if encoding or is_standard else used_encoding


def detect_name_encoding(raw_names: Sequence[bytes], candidates: Sequence[str] = NAME_ENCODINGS) -> str:
    """Return the most likely encoding of names.

    Args:
        raw_names: paths as they are stored, without those whose encoding is known.
        candidates: encodings that are tried after UTF-8.

    Returns:
        UTF-8 where all names are valid in it, else the cheapest reading; the standard encoding where there is none.
    """
    raw_parts = sorted({part for name in raw_names for part in name.split(b"/") if not part.isascii()})
    if all(map(_is_utf8, raw_names)):
        return "utf-8"
    # Spread over all of them, so that every class has a say.
    sample = raw_parts[:: 1 + sum(map(len, raw_parts)) // _MAX_SAMPLE_BYTES]
    costs = {encoding: _compute_cost(sample, encoding) for encoding in candidates if encoding != "utf-8"}
    encoding = min(costs, key=lambda name: costs[name])
    return encoding if costs[encoding] < float("inf") else STANDARD_ENCODING


def _is_utf8(raw_name: bytes) -> bool:
    """Return whether a name is valid UTF-8."""
    try:
        raw_name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _compute_cost(raw_parts: list[bytes], encoding: str) -> float:
    """Return the bits that names take in the language of an encoding that fits best; infinite if they are not in it."""
    try:
        texts = [part.decode(encoding) for part in raw_parts]
    except UnicodeDecodeError:
        return float("inf")
    extra_bits = _RARE_ENCODING_BITS.get(encoding, 0.0)
    if encoding == "cp1258":
        extra_bits += _BROKEN_SYLLABLE_BITS * sum(map(_count_broken_syllables, texts))
    if encoding in ("gbk", "gb18030", "big5", "cp932", "cp949"):
        return extra_bits + sum(_compute_ideogram_cost(text, encoding) for text in texts)
    alphabets = [alphabet for alphabet in _ALPHABETS if encoding in alphabet.encodings]
    return extra_bits + min(sum(_compute_letter_cost(text, alphabet) for text in texts) for alphabet in alphabets)


def _compute_letter_cost(text: str, alphabet: _Alphabet) -> float:
    """Return the bits of a name in a language with an alphabet."""
    bits, previous = 0.0, ""
    for character in text:
        if character.isascii():
            bits += _ASCII_BITS
            # Within a word of another script, an ASCII letter is what is left of a broken one.
            if not alphabet.is_latin and character.isalpha() and previous.isalpha() and not previous.isascii():
                bits += _MIXED_SCRIPT_BITS
        else:
            position = alphabet.letters.find(character.lower())
            if position >= 0:
                bits += alphabet.base_bits + 5.0 * position / len(alphabet.letters)
            else:
                bits += _FOREIGN_LETTER_BITS if character.isalpha() else _SYMBOL_BITS
            if not alphabet.is_latin and previous.isascii() and previous.isalpha():
                bits += _MIXED_SCRIPT_BITS
        if character.isupper() and previous.islower():
            bits += _CASE_BITS
        previous = character
    return bits


def _count_broken_syllables(text: str) -> int:
    """Return the number of words with letters that are not ASCII, but are no syllable of Vietnamese with one tone."""
    broken_count = 0
    for word in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", text.lower())):
        bare_word, tone_count = _TONE_MARKS.subn("", unicodedata.normalize("NFD", word))
        is_syllable = _VIETNAMESE_SYLLABLE.fullmatch(unicodedata.normalize("NFC", bare_word)) and tone_count <= 1
        broken_count += not word.isascii() and not is_syllable
    return broken_count


def _compute_ideogram_cost(text: str, encoding: str) -> float:
    """Return the bits of a name in Chinese, Japanese or Korean."""
    bits, previous_script = 0.0, ""
    for character in text:
        script = _get_script(character)
        bits += _ASCII_BITS if character.isascii() else _compute_character_cost(character, script, encoding)
        # Koreans hardly write Chinese characters, and nobody writes a letter within a word of the others.
        scripts = {script, previous_script}
        if scripts == {"hangul", "ideogram"} or (scripts & _ODD_SCRIPTS and previous_script != script):
            bits += _MIXED_SCRIPT_BITS
        previous_script = script
    return bits


def _compute_character_cost(character: str, script: str, encoding: str) -> float:
    """Return the bits of one character that is not ASCII, in Chinese, Japanese or Korean."""
    if encoding == "gb18030" and script != "ideogram" and not _is_encodable(character, "gbk"):
        return _FOUR_BYTE_BITS
    if script == "hangul":
        if encoding != "cp949":
            return _SYMBOL_BITS
        if character in common_characters.HANGUL:
            return _COMMON_HANGUL_BITS
        # The syllables of the national standard; the others were added by Windows and hardly occur.
        return _HANGUL_BITS if min(character.encode("cp949")) >= _FIRST_STANDARD_BYTE else _RARE_HANGUL_BITS
    if script == "kana":
        return _KANA_BITS if encoding == "cp932" else _FOREIGN_LETTER_BITS
    if script == "half_kana":
        return _HALF_KANA_BITS
    if script == "ideogram":
        return _IDEOGRAM_BITS[_rank_ideogram(character, encoding)]
    return _FOREIGN_LETTER_BITS if script == "letter" else _SYMBOL_BITS


def _rank_ideogram(character: str, encoding: str) -> str:
    """Return how common a Chinese character is in a language: `common`, or by its level in the national standard."""
    common, standard, first_level = {
        "gbk": (common_characters.SIMPLIFIED, "gb2312", (0xB0, 0xD7)),
        "gb18030": (common_characters.SIMPLIFIED, "gb2312", (0xB0, 0xD7)),
        "big5": (common_characters.TRADITIONAL, "big5", (0xA4, 0xC6)),
        "cp932": (common_characters.KANJI, "shift_jis", (0x88, 0x97)),
        "cp949": ("", "euc-kr", (0x00, 0x00)),
    }[encoding]
    if character in common:
        return "common"
    if not _is_encodable(character, standard):
        return "other"
    lead_byte = character.encode(standard)[0]
    return "first" if first_level[0] <= lead_byte <= first_level[1] else "second"


@cache
def _is_encodable(character: str, encoding: str) -> bool:
    """Return whether an encoding has a character."""
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _get_script(character: str) -> str:
    """Return the script of a character: `ideogram`, `hangul`, `kana`, `half_kana`, `letter`, `symbol` or `ascii…`."""
    if character.isascii():
        return "ascii_letter" if character.isalpha() else "ascii"
    if "\uac00" <= character <= "\ud7a3":
        return "hangul"
    if "\u3041" <= character <= "\u30ff":
        return "kana"
    if "\uff61" <= character <= "\uff9f":
        return "half_kana"
    if "\u4e00" <= character <= "\u9fff" or "\u3400" <= character <= "\u4dbf" or character >= "\U00020000":
        return "ideogram"
    return "letter" if unicodedata.category(character).startswith("L") else "symbol"
