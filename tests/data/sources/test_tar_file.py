"""A tar file is unpacked under the same laws as a zip."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset.scan import scan
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources.archive import unpack_archive
from ftlab.data.sources.archive_entries import ArchiveLimits
from tests.support.small_archives import PICTURE, SMALL, below, pets, refused


def tarred(
    place: Path, files: dict[str, bytes], *more: tarfile.TarInfo, name: str = "pets.tar.gz", kind: str = "w:gz"
) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place / name, kind) as out:  # type: ignore[call-overload]
        for entry, content in files.items():
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
        for one in more:
            out.addfile(one)
    return place / name


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pets.tar", "w"),
        ("pets.tar.gz", "w:gz"),
        ("pets.tgz", "w:gz"),
        ("PETS.TGZ", "w:gz"),
        ("pets.tar.bz2", "w:bz2"),
        ("pets.txz", "w:xz"),
        ("pets.tgz", "w"),
    ],
)
def test_a_tar_file_is_scanned_like_the_folder_whatever_its_compression(tmp_path: Path, name: str, kind: str) -> None:
    found = scan(tarred(tmp_path, pets(), special("pets/cats", tarfile.DIRTYPE), name=name, kind=kind))
    assert found.classes == ("ants", "bees")
    assert sum(len(found.splits[split]) for split in SPLITS) == 8
    assert found.root.name == "pets"
    assert all(found.image_path(item).read_bytes() == PICTURE for item in found.splits["train"])


def test_the_folder_of_pictures_goes_by_the_archives_name(tmp_path: Path) -> None:
    loose = {f"{name}/{n}.png": PICTURE for name in "ab" for n in range(3)}
    assert scan(tarred(tmp_path, loose, name="my.pets.tar.gz")).root.name == "my.pets"


def test_what_is_no_picture_hidden_or_unwanted_is_not_written(tmp_path: Path) -> None:
    litter = {"pets/LICENSE.txt": b"x", "pets/ants/._0.png": PICTURE, "pets/noise/0.png": PICTURE, "pets/run.sh": b"x"}
    place = unpack_archive(tarred(tmp_path, pets(**litter)), tmp_path / "home", SMALL, skip_names=("noise",))
    assert below(place) == sorted(pets())


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (special("pets/ants/x.png", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special("pets/ants/x.png", tarfile.LNKTYPE, "pets/ants/0.png"), "link"),
        (special("pets/ants/x.png", tarfile.CHRTYPE), "special"),
        (special("pets/ants/x.png", tarfile.FIFOTYPE), "special"),
        (tarfile.TarInfo("/etc/x.png"), "absolute"),
        (tarfile.TarInfo("pets/../../x.png"), "traversal"),
        (tarfile.TarInfo("C:/x.png"), "absolute"),
        (tarfile.TarInfo("pets/ants/0.png"), "twice"),
        (tarfile.TarInfo("pets/ANTS/9.png"), "twins"),
        (tarfile.TarInfo("/".join("a" * 40) + "/x.png"), "deep"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.name[:20],
)
def test_what_must_not_be_unpacked_is_named_and_nothing_is(tmp_path: Path, entry: tarfile.TarInfo, code: str) -> None:
    refused(tmp_path, tarred(tmp_path, pets(), entry), code)


def test_what_would_fill_the_disk_is_given_up(tmp_path: Path) -> None:
    bomb = tarred(tmp_path, pets(**{"pets/ants/bomb.bmp": bytes(200_000_000)}))
    refused(tmp_path, bomb, "bomb", "times its size")
    refused(
        tmp_path,
        tarred(tmp_path, pets(), name="many.tar.gz"),
        "many",
        limits=ArchiveLimits(max_entries=5, min_free_bytes=0),
    )
    refused(
        tmp_path, tarred(tmp_path, pets(), name="full.tar.gz"), "space", limits=ArchiveLimits(min_free_bytes=1 << 60)
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_file_cut_short_is_refused_whole(tmp_path: Path, kind: str, share: float) -> None:
    noise = {f"pets/{name}/{n}.png": bytes(range(256)) * 400 for name in ("ants", "bees") for n in range(3)}
    file = tarred(tmp_path, noise, name="pets.tar", kind=kind)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content) * 0.9)])
    with pytest.raises(DataError) as caught:
        unpack_archive(file, tmp_path / "home" / "x", SMALL)
    assert caught.value.code == ("archive.cut" if share else "archive.empty")
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "home").iterdir()) if (tmp_path / "home").exists() else True


def test_what_is_no_tar_file_is_said_to_be_none(tmp_path: Path) -> None:
    for content in (b"", b"<html>", bytes(5000), b"\x1f\x8bnothing", b"BZhnothing"):
        (tmp_path / "x.tar.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.tar\.gz"):
            unpack_archive(tmp_path / "x.tar.gz", tmp_path / "home" / "x", SMALL)
