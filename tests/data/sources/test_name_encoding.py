"""Names in archives that do not say their encoding are read in the one that their language is written in."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.sources import archive
from ftlab.data.sources.name_encoding import detect_name_encoding
from tests.support import drawn_images

PICTURE = drawn_images.png()

LANGUAGES = {
    "gbk": ("zh", ["红茶", "绿豆", "水牛", "骆驼", "草莓"]),
    "big5": ("zh-Hant", ["紅茶", "綠豆", "水牛", "駱駝", "草莓"]),
    "cp932": ("ja", ["メロン", "いちご", "湯のみ", "茶碗", "らくだ"]),
    "cp949": ("ko", ["홍차", "녹두", "물소", "낙타", "딸기"]),
    "gb18030": ("zh", ["红茶", "㐀猫", "䶮", "草莓", "𠀀狗"]),
    "cp1258": ("vi", ["mèo", "cà_phê", "xe_đa\u0323p", "chó", "gà"]),
    "cp866": ("ru", ["чай", "клубника", "верблюд", "тарелка", "ложка"]),
    "cp852": ("pl", ["łyżka", "jeż", "źdźbło", "ćma", "wróżka"]),
    "cp850": ("fr", ["fraise", "méduse", "évier", "flèche", "chêne"]),
    "cp437": ("de", ["Löffel", "Kröte", "Büffel", "Bäckerei", "Möhre"]),
    "cp737": ("el", ["φράουλα", "καμήλα", "κουτάλι", "τσάι", "πιάτο"]),
    "cp857": ("tr", ["çay", "kaşık", "ılgın", "çöl_devesi", "ığdır"]),
    "cp1251": ("ru", ["чай", "клубника", "верблюд", "тарелка", "ложка"]),
    "utf-8": ("any", ["чай", "红茶", "fraise", "łyżka", "딸기"]),
}


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("encoding", LANGUAGES)
def test_a_few_short_names_tell_their_encoding(encoding: str, count: int) -> None:
    names = LANGUAGES[encoding][1][-count:]
    raw_names = [f"set/{name}/{number}.jpg".encode(encoding) for name in names for number in range(3)]
    guess = detect_name_encoding(raw_names)
    assert [raw.decode(guess) for raw in raw_names] == [raw.decode(encoding) for raw in raw_names]


def zipped(file: Path, raw_names: list[bytes], extra: dict[bytes, bytes] | None = None) -> Path:
    """A zip with a picture under each name, byte by byte as given and without the UTF-8 flag."""
    # `zipfile` writes no such names: others of the same length are replaced in its output.
    stand_ins = [f"{number:03d}".ljust(len(raw), "~") for number, raw in enumerate(raw_names)]
    with zipfile.ZipFile(file, "w") as out:
        for stand_in, raw in zip(stand_ins, raw_names, strict=True):
            info = zipfile.ZipInfo(stand_in)
            info.extra = (extra or {}).get(raw, b"")
            out.writestr(info, PICTURE)
    data = file.read_bytes()
    for stand_in, raw in zip(stand_ins, raw_names, strict=True):
        data = data.replace(stand_in.encode(), raw)
    file.write_bytes(data)
    return file


def unpacked(file: Path, place: Path, encoding: str = "") -> tuple[list[str], list[str]]:
    """Names of the unpacked folders, and the codes of the problems."""
    folder = archive.unpack_archive(file, place, name_encoding=encoding)
    return sorted(path.name for path in folder.iterdir()), [one.code for one in archive.read_unpack_problems(folder)]


def test_the_encoding_is_shown_and_can_be_changed(tmp_path: Path) -> None:
    # In Shift-JIS the second byte of ソ is a backslash, which is no folder separator then.
    names = ["ソース", "いちご"]
    file = zipped(tmp_path / "x.zip", [f"{name}/{n}.png".encode("cp932") for name in names for n in range(2)])
    assert unpacked(file, tmp_path / "detected") == (sorted(names), ["zip_names"])
    problem = archive.read_unpack_problems(tmp_path / "detected" / "x")[0]
    assert "cp932" in problem.problem
    assert unpacked(file, tmp_path / "given", "cp932") == (sorted(names), [])
    other = [name.encode("cp932").decode("cp866").replace("\\", "_") for name in names]
    assert len(unpacked(file, tmp_path / "other", "cp866")[0]) == len(other)
    with pytest.raises(DataError, match="utf-8"):
        unpacked(file, tmp_path / "wrong", "utf-8")


def test_the_unicode_path_field_and_the_flag_win_over_a_guess(tmp_path: Path) -> None:
    raw_names = ["кот/1.png".encode("cp866"), "кот/2.png".encode("cp866")]
    for name, checked in (("ёж", raw_names), ("кот", [b"renamed", b"renamed"])):
        extra = {
            raw: struct.pack("<HHBI", 0x7075, 5 + len(f"{name}/{n}.png".encode()), 1, zlib.crc32(old))
            + f"{name}/{n}.png".encode()
            for n, (raw, old) in enumerate(zip(raw_names, checked, strict=True))
        }
        folders, problems = unpacked(zipped(tmp_path / f"{name}.zip", raw_names, extra), tmp_path / f"to-{name}")
        assert folders == [name]
        # A field that belongs to another name is out of date.
        assert problems == ([] if name == "ёж" else ["zip_names"])


def test_each_encoding_is_unpacked_into_a_folder_of_its_own(tmp_path: Path) -> None:
    file = zipped(tmp_path / "x.zip", ["кот/1.png".encode("cp866"), "пёс/1.png".encode("cp866")])
    detected = archive.ensure_unpacked(file)
    chosen = archive.ensure_unpacked(file, name_encoding="cp1251")
    assert sorted(path.name for path in detected.iterdir()) == ["кот", "пёс"]
    assert sorted(path.name for path in chosen.iterdir()) != ["кот", "пёс"]
    assert archive.ensure_unpacked(file) == detected
    # A version that did not detect encodings left the names wrong, and said nothing about them.
    report = detected.parent / ".ftlab-archive.json"
    report.write_text(report.read_text().replace('"names": "cp866"', '"other": ""'))
    assert sorted(path.name for path in archive.ensure_unpacked(file).iterdir()) == ["кот", "пёс"]
    assert archive.ensure_unpacked(file) != detected


def test_names_in_a_tar_are_detected_too(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT, encoding="gbk") as out:
        for name in ("猫/1.png", "狗/1.png"):
            info = tarfile.TarInfo(name)
            info.size = len(PICTURE)
            out.addfile(info, io.BytesIO(PICTURE))
    assert unpacked(file, tmp_path / "home") == (["狗", "猫"], ["zip_names"])
