"""What the tests of archives pack, and what a refused archive must look like."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.sources.archive import unpack_archive
from ftlab.data.sources.archive_entries import ArchiveLimits
from tests.support import drawn_images

PICTURE = drawn_images.png()
SMALL = ArchiveLimits(max_entries=1000, max_bytes=50_000_000, min_free_bytes=0)


def pets(**more: bytes) -> dict[str, bytes]:
    return {f"pets/{name}/{n}.png": PICTURE for name in ("ants", "bees") for n in range(4)} | more


def write_legacy_zip(file: Path, contents: dict[bytes, bytes]) -> Path:
    """A zip whose names are bytes in an encoding that it does not say, as programs of Windows write them."""
    placeholders = {raw_name: f"{number:0{len(raw_name)}d}" for number, raw_name in enumerate(contents)}
    with zipfile.ZipFile(file, "w") as out:
        for raw_name, content in contents.items():
            out.writestr(placeholders[raw_name], content)
    data = file.read_bytes()
    for raw_name, placeholder in placeholders.items():
        data = data.replace(placeholder.encode(), raw_name)
    file.write_bytes(data)
    return file


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refused(place: Path, file: Path, code: str, *said: str, limits: ArchiveLimits = SMALL) -> str:
    """The line of the refusal; nothing may be left behind of it."""
    with pytest.raises(DataError) as caught:
        unpack_archive(file, place / "home" / "x", limits)
    line = str(caught.value)
    assert caught.value.code == f"archive.{code}", line
    assert len(line.splitlines()) == 1
    assert file.name in line
    assert all(one in line for one in said), line
    assert not (place / "home").exists() or not list((place / "home").iterdir())
    return line
