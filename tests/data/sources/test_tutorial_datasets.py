"""Data sets of tutorials: fetched whatever the network does, checked, whole or not there."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftlab.cli import main
from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.dataset.scan import scan
from ftlab.data.sources import download, tutorial_datasets
from ftlab.data.sources.tutorial_datasets import TutorialDataset
from tests.support.loopback_server import Server, serving
from tests.support.tutorial_server import CONTENT, PICTURE, packed


def failed(pets_offer: TutorialDataset, code: str) -> str:
    with pytest.raises(DataError) as caught:
        tutorial_datasets.fetch_dataset(pets_offer)
    assert caught.value.code == code, caught.value
    assert len(str(caught.value).splitlines()) == 1
    assert tutorial_datasets.find_image_folder(pets_offer) is None
    return str(caught.value)


def whole(folder: Path) -> bool:
    found = scan(folder)
    return found.classes == ("ants", "bees") and sum(map(len, found.splits.values())) == 16 and not found.problems


# --- a good network


def test_a_set_is_fetched_checked_and_unpacked_once(pets_offer: TutorialDataset, pets_server: Server) -> None:
    told: list[tuple[str, int, int]] = []
    folder = tutorial_datasets.fetch_dataset(pets_offer, progress=lambda *one: told.append(one))
    assert (
        folder
        == tutorial_datasets.find_image_folder(pets_offer)
        == user_dirs.get_ftlab_home() / "data" / "pets" / "pets"
    )
    assert whole(folder)
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["fetch", "check", "unpack"]
    for stage in ("fetch", "check", "unpack"):
        counts = [(done, total) for one, done, total in told if one == stage]
        assert counts == sorted(counts)
        assert counts[-1][0] == counts[-1][1]
    assert tutorial_datasets.fetch_dataset(pets_offer) == folder
    assert pets_server.asked == [None]
    assert not tutorial_datasets.get_download_path(pets_offer).exists(), "the download is not kept beside its contents"


def test_it_goes_to_the_folder_that_is_named(pets_offer: TutorialDataset, tmp_path: Path) -> None:
    folder = tutorial_datasets.fetch_dataset(pets_offer, tmp_path / "here")
    assert folder.parent == tmp_path / "here" / "pets"
    assert whole(folder)
    assert tutorial_datasets.find_image_folder(pets_offer) is None
    assert tutorial_datasets.find_image_folder(pets_offer, tmp_path / "here") == folder


def test_what_is_named_to_be_skipped_is_not_there(pets_offer: TutorialDataset) -> None:
    folder = tutorial_datasets.fetch_dataset(dataclasses.replace(pets_offer, skip=("bees", "0.png")))
    assert not list(folder.rglob("bees"))
    assert len(list(folder.rglob("*.png"))) == 6


def test_an_archive_in_the_archive_is_unpacked(pets_offer: TutorialDataset) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as out:
        for name in ("ant", "bee", "junk"):
            for number in range(5):
                info = tarfile.TarInfo(f"things/{name}/{number}.png")
                info.size = len(PICTURE)
                out.addfile(info, io.BytesIO(PICTURE))
    content = packed(("outer/things.tar.gz", inner.getvalue()))
    with serving(content) as other:
        nested = dataclasses.replace(
            pets_offer, url=other.url, inside="outer/things.tar.gz", skip=("junk",), bytes=0, sha1=""
        )
        nested = dataclasses.replace(nested, md5=hashlib.md5(content).hexdigest())
        found = scan(tutorial_datasets.fetch_dataset(nested))
    assert found.classes == ("ant", "bee")
    assert [
        one.name
        for one in tutorial_datasets.get_download_path(pets_offer).parent.iterdir()
        if not one.name.endswith(".lock")
    ] == []


# --- a bad one


def test_a_download_that_breaks_off_goes_on_where_it_was(pets_offer: TutorialDataset, pets_server: Server) -> None:
    pets_server.cut = [100_000, 50_000, 7]
    assert whole(tutorial_datasets.fetch_dataset(pets_offer))
    assert pets_server.asked == [None, "bytes=100000-", "bytes=150000-", "bytes=150007-"]


def test_what_came_is_kept_for_the_next_call(
    pets_offer: TutorialDataset, pets_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_ATTEMPTS", 1)
    pets_server.cut = [100_000, 0]
    said = failed(pets_offer, "fetch.failed")
    assert pets_offer.url in said
    assert str(tutorial_datasets.get_download_path(pets_offer)) in said
    assert tutorial_datasets.get_download_path(pets_offer).with_name("pets.zip.part").stat().st_size == 100_000
    assert whole(tutorial_datasets.fetch_dataset(pets_offer))
    assert pets_server.asked[-1] == "bytes=100000-"


def test_half_of_another_file_is_begun_again(
    pets_offer: TutorialDataset, pets_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_ATTEMPTS", 1)
    pets_server.content, pets_server.cut = random.Random(2).randbytes(len(CONTENT)), [100_000, 0]
    failed(pets_offer, "fetch.failed")
    pets_server.content = CONTENT
    assert whole(tutorial_datasets.fetch_dataset(pets_offer))


def test_a_server_that_knows_no_ranges_gives_all_again(pets_offer: TutorialDataset, pets_server: Server) -> None:
    pets_server.cut, pets_server.ignores_ranges = [100_000, 200_000], True
    assert whole(tutorial_datasets.fetch_dataset(pets_offer))
    assert pets_server.asked[-1] == "bytes=200000-"


def test_a_server_that_says_no_length_is_held_to_the_known_one(
    pets_offer: TutorialDataset, pets_server: Server
) -> None:
    pets_server.says_no_length, pets_server.cut = True, [100_000]
    assert whole(tutorial_datasets.fetch_dataset(pets_offer))


def test_a_redirection_is_followed(pets_offer: TutorialDataset, pets_server: Server) -> None:
    pets_server.redirect = pets_server.url
    assert whole(
        tutorial_datasets.fetch_dataset(dataclasses.replace(pets_offer, url=pets_server.url.replace("file.zip", "old")))
    )


def test_a_server_that_is_busy_is_asked_again(pets_offer: TutorialDataset, pets_server: Server) -> None:
    pets_server.statuses = [503, 429, 500]
    assert whole(tutorial_datasets.fetch_dataset(pets_offer))


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there_is_asked_for_once(
    pets_offer: TutorialDataset, pets_server: Server, status: int
) -> None:
    pets_server.statuses = [status] * 9
    assert f"HTTP {status}" in failed(pets_offer, "fetch.failed")
    assert len(pets_server.asked) == 1


def test_a_server_that_stalls_is_given_up(
    pets_offer: TutorialDataset, pets_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(download, "MAX_ATTEMPTS", 2)
    pets_server.stall = 30.0
    assert "nothing came" in failed(pets_offer, "fetch.failed")


@pytest.mark.usefixtures("network_attempts")
def test_where_there_is_no_network_one_line_says_what_to_do(
    pets_offer: TutorialDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_ATTEMPTS", 2)
    said = failed(dataclasses.replace(pets_offer, url="http://nowhere.invalid/pets.zip"), "fetch.failed")
    assert "http://nowhere.invalid/pets.zip" in said
    assert str(user_dirs.get_ftlab_home() / "downloads" / "pets.zip") in said
    assert "1 MB" in said


def test_another_file_is_refused_and_removed(pets_offer: TutorialDataset, pets_server: Server) -> None:
    for content in (bytes(len(CONTENT)), CONTENT[:-1] + b"\1"):
        pets_server.content = content
        assert "SHA1" in failed(pets_offer, "fetch.other")
        assert not tutorial_datasets.get_download_path(pets_offer).exists()
    pets_server.content = CONTENT
    assert whole(tutorial_datasets.fetch_dataset(pets_offer)), "the next try begins anew"


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(
    pets_offer: TutorialDataset, pets_server: Server
) -> None:
    bare = dataclasses.replace(pets_offer, sha1="")
    pets_server.content = CONTENT + b"more"
    assert f"{len(CONTENT) + 4:,} bytes" in failed(bare, "fetch.failed")
    assert len(pets_server.asked) == 1


def test_a_right_file_that_is_no_archive_leaves_nothing(pets_offer: TutorialDataset, pets_server: Server) -> None:
    pets_server.content = bytes(1000)
    failed(dataclasses.replace(pets_offer, sha1="", bytes=1000), "archive.damaged")
    assert not tutorial_datasets.get_unpack_folder(pets_offer).exists()
    assert not list(user_dirs.get_ftlab_home().glob("data/*"))


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    pets_offer: TutorialDataset, pets_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    assert "FTLAB_HOME" in failed(pets_offer, "fetch.room")
    assert pets_server.asked == []


# --- by hand


def test_a_file_that_was_put_there_by_hand_is_taken_and_stays(pets_offer: TutorialDataset, pets_server: Server) -> None:
    tutorial_datasets.get_download_path(pets_offer).parent.mkdir(parents=True)
    tutorial_datasets.get_download_path(pets_offer).write_bytes(CONTENT)
    assert whole(tutorial_datasets.fetch_dataset(pets_offer))
    assert pets_server.asked == []
    assert tutorial_datasets.get_download_path(pets_offer).read_bytes() == CONTENT


def test_a_wrong_file_that_was_put_there_is_named_and_stays(pets_offer: TutorialDataset, pets_server: Server) -> None:
    tutorial_datasets.get_download_path(pets_offer).parent.mkdir(parents=True)
    tutorial_datasets.get_download_path(pets_offer).write_bytes(CONTENT[:-5])
    said = failed(pets_offer, "fetch.other_by_hand")
    assert str(tutorial_datasets.get_download_path(pets_offer)) in said
    assert tutorial_datasets.get_download_path(pets_offer).exists()
    assert pets_server.asked == []


# --- the table and the command


def test_each_row_says_where_from_how_large_and_on_what_terms() -> None:
    assert list(tutorial_datasets.DATASETS) == ["hotdog", "hymenoptera", "caltech101", "cats_and_dogs", "flowers"]
    for row in tutorial_datasets.DATASETS.values():
        assert row.url.startswith(("https://", "http://"))
        assert row.page.startswith("https://")
        assert row.terms
        assert row.bytes or row.sha1 or row.md5, "nothing would tell a false file"
        assert not row.bytes or abs(row.bytes / 1e6 - row.megabytes) < 1
        assert row.url.rpartition("/")[2] == row.file


def test_the_command_lists_and_fetches(
    pets_offer: TutorialDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        status = main.main(["fetch", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    status, out, _ = run()
    assert status == 0
    assert all(name in out for name in tutorial_datasets.DATASETS)
    status, out, err = run("pets", "--to", str(tmp_path / "here"))
    assert status == 0
    assert str(tmp_path / "here" / "pets" / "pets") in out
    assert "none" in err, "the terms come first"
    status, out, _ = run("pets", "--json")
    assert json.loads(out)["folder"] == str(tutorial_datasets.find_image_folder(pets_offer))
    rows: list[dict[str, Any]] = [json.loads(line) for line in run("--json")[1].splitlines()]
    assert {one["name"]: bool(one["folder"]) for one in rows} == {
        name: name == "pets" for name in tutorial_datasets.DATASETS
    }
    status, _, err = run("petz")
    assert status == 2
    assert "pets" in err
