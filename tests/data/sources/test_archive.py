"""A stranger's zip becomes a folder of its pictures, or is refused whole with the entry named."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources import archive
from ftlab.data.sources.archive import unpack_archive
from ftlab.data.sources.archive_entries import ArchiveLimits, UnpackEntry
from ftlab.data.sources.zip_file import ZipArchive
from tests.support.small_archives import PICTURE, SMALL, below, pets, refused


def zipped(place: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED, name: str = "pets.zip") -> Path:
    """A zip with these entries; a name that ends with a slash is a folder."""
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place / name, "w", method) as out:
        for entry, content in files.items():
            info = zipfile.ZipInfo(entry)
            # What zipfile would change in a name, or cut off, stays.
            info.filename = info.orig_filename = entry
            info.compress_type = method
            out.writestr(info, content)
    return place / name


def told(found: Catalog) -> dict[str, str]:
    return {one.file: one.code for one in found.problems}


# --- what is unpacked


def test_a_zip_of_class_folders_is_scanned_like_the_folder(tmp_path: Path) -> None:
    found = scan(zipped(tmp_path, pets()))
    assert found.classes == ("ants", "bees")
    assert sum(len(found.splits[split]) for split in SPLITS) == 8
    assert found.root.name == "pets"
    assert found.root.is_relative_to(user_dirs.get_ftlab_home() / "archives")
    assert all(found.image_path(item).read_bytes() == PICTURE for item in found.splits["train"])
    assert not found.problems


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_is_unpacked_is_what_was_packed(tmp_path: Path, method: int) -> None:
    noise = random.Random(0).randbytes(3_000_000)
    place = unpack_archive(zipped(tmp_path, pets(**{"pets/ants/big.png": noise}), method), tmp_path / "home", SMALL)
    assert (place / "pets" / "ants" / "big.png").read_bytes() == noise
    assert (place / "pets" / "bees" / "0.png").read_bytes() == PICTURE


def test_a_zip_without_a_top_folder_goes_by_its_own_name(tmp_path: Path) -> None:
    found = scan(zipped(tmp_path, {f"{name}/{n}.png": PICTURE for name in "ab" for n in range(3)}, name="my pets.zip"))
    assert found.root.name == "my pets"
    assert found.classes == ("a", "b")


def test_what_systems_leave_behind_and_what_is_no_picture_is_not_written(tmp_path: Path) -> None:
    litter = {
        "__MACOSX/pets/ants/._0.png": PICTURE,
        "pets/.DS_Store": b"x",
        "pets/ants/.hidden.png": PICTURE,
        "pets/ants/Thumbs.db": b"x",
        "pets/ants/notes.txt": b"x",
        "pets/run.exe": b"x",
    }
    place = unpack_archive(zipped(tmp_path, pets(**litter)), tmp_path / "home", SMALL)
    assert below(place) == sorted(pets())


def test_what_is_left_out_is_named_by_every_scan(tmp_path: Path) -> None:
    file = zipped(
        tmp_path, pets(**{"pets/ants/7.heic": b"x", "pets/bees/more.zip": b"x", "pets/ants/what?.png": PICTURE})
    )
    expected = {"ants/7.heic": "format", "bees/more.zip": "archive_inside", "ants/what_.png": "renamed"}
    assert told(scan(file)) == expected
    assert told(scan(scan(file).root)) == expected


def test_a_picture_without_the_ending_of_one_is_unpacked_and_the_rest_is_counted(tmp_path: Path) -> None:
    more = {"pets/ants/photo": PICTURE, "pets/ants/8.heic": PICTURE, "pets/bees/notes": b"x", "pets/bees/1.mov": b"x"}
    found = scan(zipped(tmp_path, pets(**more)))
    assert {"ants/photo", "ants/8.heic"} <= {item.path for items in found.splits.values() for item in items}
    assert told(found) == {".": "other_files"}
    assert "2 (.mov 1, (no suffix) 1)" in found.problems[0].problem


def test_the_same_content_is_unpacked_once_whatever_the_zip_is_called(tmp_path: Path) -> None:
    first = archive.ensure_unpacked(zipped(tmp_path, pets()))
    (first / "pets" / "ants" / "0.png").unlink()
    (tmp_path / "pets.zip").rename(tmp_path / "other.zip")
    assert archive.ensure_unpacked(tmp_path / "other.zip") == first
    assert len(below(first)) == 7, "not unpacked again"
    other = archive.ensure_unpacked(zipped(tmp_path, pets(**{"pets/ants/9.png": PICTURE})))
    assert other != first
    assert len(below(other)) == 9


def test_progress_counts_the_files_that_are_written_or_opened(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    unpack_archive(zipped(tmp_path, pets(x=b"")), tmp_path / "home", SMALL, progress=lambda *one: heard.append(one))
    assert heard == [(done, 9) for done in range(1, 10)]


# --- names


def test_names_in_the_encodings_of_windows_and_macos_are_read(tmp_path: Path) -> None:
    def classes(raw: list[bytes]) -> tuple[str, ...]:
        """Of a zip whose names are these bytes, with no word on their encoding."""
        marks = [f"{'x' * len(name)}{number}" for number, name in enumerate(raw)]
        file = zipped(tmp_path, {f"{mark}/{n}.png": PICTURE for mark in marks for n in range(2)})
        data = file.read_bytes()
        for number, (mark, name) in enumerate(zip(marks, raw, strict=True)):
            data = data.replace(mark.encode(), name + str(number).encode())
        file.write_bytes(data)
        return scan(file).classes

    assert classes(["Käfer".encode("cp437"), "Vögel".encode("cp437")]) == ("Käfer0", "Vögel1")
    assert classes(["Ka\u0308fer".encode(), "Vo\u0308gel".encode()]) == ("Käfer0", "Vögel1")
    assert scan(zipped(tmp_path, {f"{a}/{n}.png": PICTURE for a in ("Käfer", "鳥") for n in "12"})).classes == (
        "Käfer",
        "鳥",
    )


def test_backslashes_part_folders(tmp_path: Path) -> None:
    found = scan(zipped(tmp_path, {f"pets\\{name}\\{n}.png": PICTURE for name in "ab" for n in range(3)}))
    assert found.classes == ("a", "b")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("CON/1.png", "_CON/1.png"),
        ("a/nul.png", "a/_nul.png"),
        ("com1.tar/1.png", "_com1.tar/1.png"),
        ("who?/1.png", "who_/1.png"),
        ("a/12:30.png", "a/12_30.png"),
        ("dots./1.png", "dots/1.png"),
        ("space /1.png", "space/1.png"),
        ("line\nbreak/\x1b[31m.png", "line_break/_[31m.png"),
        ("a/./b//1.png", "a/b/1.png"),
        ("Ka\u0308fer/1.png", "Käfer/1.png"),
        ("שלום/\u202e1.png", "שלום/\u202e1.png"),
    ],
)
def test_names_that_a_system_cannot_hold_are_changed_alike_on_all(tmp_path: Path, name: str, written: str) -> None:
    place = unpack_archive(zipped(tmp_path, {name: PICTURE}), tmp_path / "home", SMALL)
    assert below(place) == [written]


def test_a_zip_of_any_name_gets_a_folder(tmp_path: Path) -> None:
    for name in ("CON.zip", "...zip", ".zip", f"{'x' * 200}.zip", "a:b.zip", ".ftlab-archive.json.zip"):
        if os.name != "nt" or ":" not in name:
            home = tmp_path / f"home of {len(name)}{name[0]}"
            assert below(unpack_archive(zipped(tmp_path, {"a.png": PICTURE}, name=name), home, SMALL)) == ["a.png"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../evil.png", "traversal"),
        ("pets/../../evil.png", "traversal"),
        ("..\\evil.png", "traversal"),
        ("../../../../etc/cron.d/evil", "traversal"),
        ("__MACOSX/../../evil.png", "traversal"),
        ("/etc/evil.png", "absolute"),
        ("\\\\server\\share\\evil.png", "absolute"),
        ("C:\\evil.png", "absolute"),
        ("c:evil.png", "absolute"),
        ("evil.txt\0.png", "name"),
        (f"{'a/' * 40}evil.png", "deep"),
        (f"{'é' * 130}.png", "long"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str, code: str) -> None:
    line = refused(tmp_path, zipped(tmp_path, pets(**{name: PICTURE})), code)
    assert "evil" in line or code == "long"
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "twins",
    [
        ("a/1.png", "a/1.png"),
        ("a/1.png", "a/1.PNG"),
        ("a/1.png", "A/2.png"),
        ("a/é.png", "a/e\u0301.png"),
        ("a/x?.png", "a/x:.png"),
        ("a.png", "a.png/1.png"),
        ("a.png/1.png", "a.png"),
    ],
)
def test_two_entries_that_are_one_on_some_system_are_refused(tmp_path: Path, twins: tuple[str, str]) -> None:
    file = tmp_path / "pets.zip"
    with zipfile.ZipFile(file, "w") as out:
        for name in twins:
            if name in out.namelist():
                with pytest.warns(UserWarning, match="Duplicate"):
                    out.writestr(name, PICTURE)
            else:
                out.writestr(name, PICTURE)
    refused(tmp_path, file, "twice" if twins[0] == twins[1] else "twins")


# --- kinds of entries


@pytest.mark.parametrize(
    ("kind", "code"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "special"), (stat.S_IFCHR, "special")]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: int, code: str) -> None:
    file = tmp_path / "pets.zip"
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("ants/1.png", PICTURE)
        info = zipfile.ZipInfo("ants/evil.png")
        info.external_attr = (kind | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    refused(tmp_path, file, code, "ants/evil.png")


def patched(file: Path, name: str, **fields: int) -> Path:
    """The zip with fields of one entry overwritten, in its own header and in the zip's list alike."""
    places = {"flags": ("<H", 6, 8), "method": ("<H", 8, 10), "crc": ("<I", 14, 16), "stored": ("<I", 18, 20)}
    places |= {"size": ("<I", 22, 24), "offset": ("<I", -1, 42)}
    data = bytearray(file.read_bytes())
    listed = data.rindex(name.encode()) - 46
    own = struct.unpack_from("<I", data, listed + 42)[0]
    for field, value in fields.items():
        form, here, there = places[field]
        if here >= 0:
            struct.pack_into(form, data, own + here, value)
        struct.pack_into(form, data, listed + there, value)
    file.write_bytes(data)
    return file


def test_entries_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    last = "pets/bees/3.png"
    refused(tmp_path, patched(zipped(tmp_path, pets()), last, flags=1), "encrypted", last)
    refused(tmp_path, patched(zipped(tmp_path, pets()), last, method=9), "method", last)
    refused(tmp_path, patched(zipped(tmp_path, pets()), last, method=14), "method", last)
    refused(tmp_path, patched(zipped(tmp_path, pets()), last, crc=1), "entry", last, "CRC")
    refused(tmp_path, patched(zipped(tmp_path, pets(), zipfile.ZIP_DEFLATED), last, stored=9), "entry", last)
    damaged = zipped(tmp_path, pets())
    damaged.write_bytes(damaged.read_bytes().replace(PICTURE[20:40], bytes(20), 1))
    refused(tmp_path, damaged, "entry", "pets/ants/0.png")


@pytest.mark.parametrize("size", [5, len(PICTURE) + 1, 40_000_000])
def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path, size: int) -> None:
    file = patched(zipped(tmp_path, pets(), zipfile.ZIP_DEFLATED), "pets/bees/3.png", size=size)
    with pytest.raises(DataError) as caught:
        unpack_archive(file, tmp_path / "home" / "x", SMALL)
    assert caught.value.code in ("archive.entry", "archive.lies")
    assert "pets/bees/3.png" in str(caught.value)
    assert not list((tmp_path / "home").iterdir())


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    """As in a bomb that needs no zip inside the zip: all entries share the bytes of one."""
    file = zipped(tmp_path, {f"a/{n}.png": PICTURE for n in range(3)})
    first = "a/0.png"
    refused(tmp_path, patched(file, "a/2.png", offset=0), "overlap")
    refused(tmp_path, patched(zipped(tmp_path, {first: PICTURE, "b": b""}), first, stored=len(PICTURE) + 50), "overlap")


# --- limits


def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path) -> None:
    bomb = zipped(tmp_path, pets(**{"pets/ants/bomb.bmp": bytes(200_000_000)}), zipfile.ZIP_DEFLATED)
    refused(tmp_path, bomb, "large", "50 MB")
    refused(tmp_path, bomb, "bomb", "200 times", limits=ArchiveLimits(min_free_bytes=0))


def test_what_is_written_is_counted_whatever_the_zip_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "check_declared_size", lambda *_: None)
    bomb = zipped(tmp_path, pets(**{"pets/ants/bomb.bmp": bytes(200_000_000)}), zipfile.ZIP_DEFLATED)
    written: list[int] = []
    real = ZipArchive.iter_chunks

    def counted(self: ZipArchive, entry: UnpackEntry) -> Iterator[bytes]:
        for chunk in real(self, entry):
            written.append(len(chunk))
            yield chunk

    monkeypatch.setattr(ZipArchive, "iter_chunks", counted)
    refused(tmp_path, bomb, "large", "50 MB")
    assert sum(written) <= SMALL.max_bytes + (1 << 21)


def test_too_many_entries_are_refused_before_they_are_listed(tmp_path: Path) -> None:
    file = zipped(tmp_path, {f"a/{n}.txt": b"" for n in range(1001)})
    refused(tmp_path, file, "many", "1,000 entries")
    file = zipped(tmp_path, {f"{n % 2}/{n}.png": PICTURE for n in range(1000)})
    assert len(below(unpack_archive(file, tmp_path / "home", SMALL))) == 1000


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = zipped(tmp_path, pets())
    refused(tmp_path, file, "space", "FTLAB_HOME", limits=ArchiveLimits(min_free_bytes=1 << 60))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", full)
    monkeypatch.setattr(ZipArchive, "iter_chunks", full)
    refused(tmp_path, file, "space", "FTLAB_HOME")


# --- no zip at all


def cut_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:bz2") as out:
        info = tarfile.TarInfo("a/1.png")
        info.size = len(PICTURE)
        out.addfile(info, io.BytesIO(PICTURE))
    return stream.getvalue()[:-40]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(90), "cut"),
        (cut_tar(), "cut"),
        (b"not a zip", "damaged"),
        (bytes(5000), "damaged"),
        (b"PK\x05\x06" + bytes(18), "no_pictures"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1\n", "lfs"),
        (b"Rar!\x1a\x07\x01\0" + bytes(90), "format"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(90), "format"),
        (b"\xff\xd8\xff\xe0" + bytes(90), "no_archive"),
    ],
)
def test_what_is_no_zip_or_an_empty_one_is_named(tmp_path: Path, content: bytes, code: str) -> None:
    file = tmp_path / "pets.zip"
    file.write_bytes(content)
    refused(tmp_path, file, code)


@pytest.mark.parametrize(("name", "words"), [("x.rar", "RAR archive"), ("x.7z", "7-Zip"), ("pets", "ends with .zip")])
def test_an_archive_that_is_not_called_so_is_named(tmp_path: Path, name: str, words: str) -> None:
    heads = {"x.rar": b"Rar!\x1a\x07\x01\0", "x.7z": b"7z\xbc\xaf\x27\x1c", "pets": b"PK\x03\x04"}
    (tmp_path / name).write_bytes(heads[name] + bytes(90))
    with pytest.raises(DataError, match=words):
        scan(tmp_path / name)


def test_a_zip_of_zips_is_refused_and_messages_name_the_zip(tmp_path: Path) -> None:
    files = {"train.zip": b"PK", "test.zip": b"PK", "train.csv": b"id,label\n"}
    refused(tmp_path, zipped(tmp_path, files), "nested", "train.zip")
    with pytest.raises(DataError) as caught:
        scan(zipped(tmp_path, {"train/a/1.png": PICTURE, "train/a/2.png": PICTURE}))
    assert "pets.zip" in str(caught.value)
    assert "archives" not in str(caught.value)


def test_a_zip_without_pictures_is_named(tmp_path: Path) -> None:
    refused(tmp_path, zipped(tmp_path, {"a/": b"", "a/notes.txt": b"x", "__MACOSX/1.png": PICTURE}), "no_pictures")


def test_names_that_are_no_text_are_named(tmp_path: Path) -> None:
    file = zipped(tmp_path, {"Käfer/1.png": PICTURE})
    file.write_bytes(file.read_bytes().replace("Käfer".encode(), b"K\xff\xfefer"))
    refused(tmp_path, file, "names")


def test_a_zip_that_is_not_there_or_a_folder_called_so_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.zip"):
        scan(tmp_path / "none.zip")
    for name in "ab":
        (tmp_path / "folder.zip" / name).mkdir(parents=True)
        (tmp_path / "folder.zip" / name / "1.png").write_bytes(PICTURE)
    assert scan(tmp_path / "folder.zip").classes == ("a", "b")


def test_three_hundred_damaged_zips_are_unpacked_or_named_and_nothing_is_left(tmp_path: Path) -> None:
    chance = random.Random(0)
    whole = zipped(tmp_path, pets(**{"Käfer/1.png": PICTURE}), zipfile.ZIP_DEFLATED).read_bytes()
    unpacked, lines = 0, []
    for number in range(300):
        data = bytearray(whole)
        kind = number % 3
        if kind == 0:
            del data[chance.randrange(len(data)) :]
        elif kind == 1:
            for _ in range(chance.randrange(1, 8)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        else:
            start = chance.randrange(len(data))
            data[start : start + 40] = bytes(len(data[start : start + 40]))
        file = tmp_path / "damaged.zip"
        file.write_bytes(data)
        home = tmp_path / "home" / str(number)
        try:
            unpack_archive(file, home, SMALL)
            unpacked += 1
        except DataError as error:
            lines.append(str(error))
        assert not [one for one in (tmp_path / "home").glob("*") if one.name.startswith(".")]
    assert min(unpacked, len(lines)) > 5
    assert all(len(line.splitlines()) == 1 for line in lines)
    assert len(list((tmp_path / "home").glob("*"))) == unpacked


# --- a crash in the middle


def test_what_a_killed_process_left_is_cleared_away_later(tmp_path: Path) -> None:
    file = zipped(tmp_path, pets())
    code = (
        "import os, sys; from pathlib import Path; from ftlab.data.sources.archive import unpack_archive; "
        "unpack_archive(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda done, total: os._exit(9))"
    )
    home = tmp_path / "homes" / "x"
    assert subprocess.run([sys.executable, "-c", code, str(file), str(home)]).returncode == 9
    (left,) = home.parent.iterdir()
    assert left.name.endswith(".part")
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    unpack_archive(file, home)
    assert list(home.parent.iterdir()) == [home]


def test_of_two_that_unpack_the_same_zip_at_once_both_get_it(tmp_path: Path) -> None:
    file = zipped(tmp_path, pets())
    first: list[Path] = []

    def another(_done: int, _total: int) -> None:
        if not first:
            first.append(archive.ensure_unpacked(file))

    assert archive.ensure_unpacked(file, another) == first[0]
    assert len(below(first[0])) == 8
    assert len(list((user_dirs.get_ftlab_home() / "archives").iterdir())) == 1


def test_the_zip_is_only_read(tmp_path: Path) -> None:
    file = zipped(tmp_path, pets())
    before = (file.read_bytes(), file.stat().st_mtime_ns, sorted(tmp_path.iterdir()))
    scan(file)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before[:2]
