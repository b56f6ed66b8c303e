"""A folder becomes classes, splits and a list of what is in the way; the folder itself is never touched."""

from __future__ import annotations

import json
import os
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.core.errors import ConfigError, DataError
from ftlab.data.dataset import catalog, split
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.dataset.scan import scan
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources import listing
from tests.support.drawn_images import png as picture

PICTURE = picture()


def plant(root: Path, *paths: str, content: bytes = PICTURE) -> Path:
    """Put files (or, with a trailing slash, folders) below a root."""
    for path in paths:
        target = root / path
        (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            target.write_bytes(content)
    return root


def many(folder: str, count: int) -> list[str]:
    return [f"{folder}/{index}.png" for index in range(count)]


def told(found: Catalog) -> dict[str, str]:
    """Problems as file -> code."""
    return {one.file: one.code for one in found.problems}


def paths(found: Catalog, name: str) -> list[str]:
    return [item.path for item in found.splits[name]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


# Layouts


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val", "VALIDATION"])
@pytest.mark.parametrize("train", ["train", "Train", "training"])
def test_train_and_val_are_taken_as_they_are(place: Path, train: str, val: str) -> None:
    plant(place, f"{train}/ants/1.png", f"{train}/bees/1.png", f"{train}/bees/2.png")
    plant(place, f"{val}/ants/3.png", f"{val}/bees/4.png")
    found = scan(place)
    assert found.layout == "split"
    assert found.classes == ("ants", "bees")
    assert found.splits["train"] == (
        ImageItem(f"{train}/ants/1.png", 0, len(PICTURE)),
        ImageItem(f"{train}/bees/1.png", 1, len(PICTURE)),
        ImageItem(f"{train}/bees/2.png", 1, len(PICTURE)),
    )
    assert paths(found, "val") == [f"{val}/ants/3.png", f"{val}/bees/4.png"]
    assert found.splits["test"] == ()
    assert found.image_path(found.splits["val"][0]) == place / val / "ants" / "3.png"
    assert found.total_bytes == 5 * len(PICTURE)


def test_a_test_folder_beside_val_is_kept_for_the_test(place: Path) -> None:
    for name in ("train", "val", "test"):
        plant(place, *many(f"{name}/a", 2), *many(f"{name}/b", 3))
    assert scan(place).count_images() == {
        "a": {"train": 2, "val": 2, "test": 2},
        "b": {"train": 3, "val": 3, "test": 3},
    }


def test_without_val_some_training_pictures_validate(place: Path) -> None:
    plant(place, *many("train/a", 20), *many("train/b", 40), *many("test/a", 5), *many("test/b", 5))
    found = scan(place, val_share=0.25, test_share=0.5)
    assert found.layout == "train_test"
    assert found.count_images() == {"a": {"train": 15, "val": 5, "test": 5}, "b": {"train": 30, "val": 10, "test": 5}}
    assert all(path.startswith("train/") for path in paths(found, "val"))
    assert all(path.startswith("test/") for path in paths(found, "test"))


@pytest.mark.parametrize(
    ("val", "test", "counts"),
    [
        (0.15, 0.15, {"train": 70, "val": 15, "test": 15}),
        (0.25, 0.25, {"train": 50, "val": 25, "test": 25}),
        (0.2, 0.0, {"train": 80, "val": 20, "test": 0}),
    ],
)
def test_plain_class_folders_are_dealt_by_the_shares(
    place: Path, val: float, test: float, counts: dict[str, int]
) -> None:
    plant(place, *many("a", 100), *many("b", 100))
    found = scan(place, val_share=val, test_share=test, check=False)
    assert found.layout == "flat"
    assert found.count_images() == {"a": counts, "b": counts}
    everything = [path for name in SPLITS for path in paths(found, name)]
    assert sorted(everything) == sorted(many("a", 100) + many("b", 100))


def test_a_lone_train_folder_is_a_folder_of_classes(place: Path) -> None:
    plant(place, *many("train/a", 4), *many("train/b", 4))
    found = scan(place)
    assert (found.root, found.layout, found.classes) == (place / "train", "flat", ("a", "b"))


def test_the_wrapping_that_unzipping_makes_is_entered(place: Path) -> None:
    wrapped = plant(place, *many("data/set/a", 4), *many("data/set/b", 4), "__MACOSX/._a", "data/readme.txt")
    found = scan(wrapped)
    assert found.root == place / "data" / "set"
    assert found.classes == ("a", "b")
    assert not found.problems


def test_folders_inside_a_class_belong_to_it(place: Path) -> None:
    plant(place, "train/a/1.png", "train/a/deep/er/2.png", "train/b/1.png", "train/b/2.png", "val/a/x/3.png")
    plant(place, "val/b/4.png")
    found = scan(place)
    assert paths(found, "train")[:2] == ["train/a/1.png", "train/a/deep/er/2.png"]
    assert [item.label for item in found.splits["train"]] == [0, 0, 1, 1]
    assert paths(found, "val")[0] == "val/a/x/3.png"


def test_classes_and_files_stand_in_the_order_a_person_expects(place: Path) -> None:
    for name in ("class10", "class2", "Beta", "alpha"):
        plant(place, *(f"{where}/{name}/{n}.png" for where in ("train", "val") for n in (10, 9, 1)))
    found = scan(place)
    assert found.classes == ("alpha", "Beta", "class2", "class10")
    assert paths(found, "val")[:3] == [f"val/alpha/{n}.png" for n in (1, 9, 10)]


def test_a_class_is_the_same_in_train_and_val_however_its_accents_are_stored(place: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    plant(place, *many(f"train/{composed}", 3), *many("train/b", 3), *many(f"val/{apart}", 2), *many("val/b", 2))
    found = scan(place)
    assert found.classes == ("b", composed)
    assert found.count_images()[composed] == {"train": 3, "val": 2, "test": 0}
    assert not found.problems
    assert all(found.image_path(item).is_file() for item in found.splits["val"])


def test_classes_that_some_systems_take_for_one_are_named(place: Path) -> None:
    names = ["ants", "Ants", "bees", *(unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))]
    for name in names:
        plant(place, *many(name, 4))
    if sorted(made.name for made in place.iterdir()) != sorted(names):
        pytest.skip("this system takes them for one")
    found = scan(place)
    assert sorted(found.classes) == sorted(names)
    assert [one.code for one in found.problems] == ["alike", "alike"]
    assert "from that of the class Ants" in found.problems[0].problem


@pytest.mark.skipif(os.name == "nt", reason="there are no such names on Windows")
def test_a_name_that_would_break_a_line_or_turn_it_around_is_written_out(place: Path) -> None:
    plant(place, *many("a", 3), *many("b", 3))
    plant(place, "a/new\nline.png", "a/\x1b[31mred.png", "a/\u202egnp.exe.png", content=b"")
    found = scan(place)
    assert {one.location for one in found.problems} == {
        "a/new\\x0aline.png",
        "a/\\x1b[31mred.png",
        "a/\\u202egnp.exe.png",
    }


# What is held out


def test_test_pictures_validate_where_that_is_wanted_and_all_of_train_is_learnt_from(place: Path) -> None:
    plant(place, *many("train/ants", 8), *many("train/bees", 8), *many("test/ants", 3), *many("test/bees", 2))
    found = scan(place, holdout="test_as_val")
    assert found.layout == "test_as_val"
    assert {split: len(items) for split, items in found.splits.items()} == {"train": 16, "val": 5, "test": 0}
    assert paths(found, "val") == [*many("test/ants", 3), *many("test/bees", 2)]
    assert found.random_splits == (), "no share decides anything"
    assert catalog.catalog_from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_share_of_validation_is_set_aside_as_test(place: Path) -> None:
    plant(place, *many("train/ants", 4), *many("train/bees", 4), *many("val/ants", 10), *many("val/bees", 5))
    found = scan(place, holdout="test_from_val", test_share=0.2)
    assert found.count_images() == {
        "ants": {"train": 4, "val": 8, "test": 2},
        "bees": {"train": 4, "val": 4, "test": 1},
    }
    assert sorted(paths(found, "val") + paths(found, "test")) == sorted(many("val/ants", 10) + many("val/bees", 5))
    assert paths(scan(place, holdout="test_from_val", test_share=0.2, seed=1), "test") != paths(found, "test")


@pytest.mark.parametrize("how", ["test_as_val", "test_from_val"])
def test_what_a_folder_has_no_use_for_leaves_it(place: Path, how: str) -> None:
    both = plant(place / "both", *(f"{split}/{name}/1.png" for split in SPLITS for name in ("ants", "bees")))
    flat = plant(place / "flat", *many("ants", 9), *many("bees", 9))
    for folder in (both, flat):
        assert scan(folder, holdout=how) == scan(folder)


def test_a_list_can_validate_on_test_too(place: Path) -> None:
    plant(place, "a.png", "b.png", "c.png", "d.png")
    rows = ["path,label,split", "a.png,ants,train", "b.png,bees,train", "c.png,ants,test", "d.png,bees,test"]
    (place / "all.csv").write_text("\n".join(rows), encoding="utf-8")
    found = scan(place / "all.csv", holdout="test_as_val")
    assert [paths(found, one) for one in SPLITS] == [["a.png", "b.png"], ["c.png", "d.png"], []]


# Dealing


def hand(count: int, val: float, test: float, seed: int = 0) -> dict[str, list[str]]:
    return split.stratified_split(many("a", count), val_share=val, test_share=test, seed=seed)


@pytest.mark.parametrize(
    ("count", "val", "test", "expected"),
    [
        (0, 0.15, 0.15, (0, 0, 0)),
        (1, 0.15, 0.15, (1, 0, 0)),
        (1, 0.6, 0.3, (1, 0, 0)),
        (2, 0.15, 0.15, (1, 1, 0)),
        (2, 0.0, 0.15, (2, 0, 0)),
        (3, 0.15, 0.15, (1, 1, 1)),
        (3, 0.45, 0.45, (1, 1, 1)),
        (3, 0.0, 0.15, (2, 0, 1)),
        (4, 0.15, 0.0, (3, 1, 0)),
        (10, 0.15, 0.15, (7, 2, 1)),
        (20, 0.15, 0.15, (14, 3, 3)),
        (1000, 0.15, 0.15, (700, 150, 150)),
        (5, 0.9, 0.05, (1, 3, 1)),
    ],
)
def test_every_split_gets_its_share_and_small_classes_at_least_one(
    count: int, val: float, test: float, expected: tuple[int, int, int]
) -> None:
    hands = hand(count, val, test)
    assert tuple(len(hands[name]) for name in SPLITS) == expected
    assert sorted(path for name in SPLITS for path in hands[name]) == sorted(many("a", count))


def test_the_hand_is_fixed_for_all_time() -> None:
    assert hand(8, 0.25, 0.25)["val"] == ["a/0.png", "a/6.png"]
    assert hand(8, 0.25, 0.25)["test"] == ["a/1.png", "a/4.png"]


def test_another_seed_deals_another_hand() -> None:
    hands = {tuple(hand(50, 0.2, 0.2, seed)["val"]) for seed in range(5)}
    assert len(hands) == 5


def test_the_order_of_the_listing_does_not_matter() -> None:
    names = many("a", 50)
    one = split.stratified_split(names, val_share=0.2, test_share=0.2, seed=1)
    other = split.stratified_split(reversed(names), val_share=0.2, test_share=0.2, seed=1)
    assert {name: set(one[name]) for name in SPLITS} == {name: set(other[name]) for name in SPLITS}


def test_a_new_picture_moves_no_other_class_and_hardly_its_own(place: Path) -> None:
    plant(place, *many("a", 40), *many("b", 40))
    before = {item.path: name for name, items in scan(place).splits.items() for item in items}
    plant(place, "a/new.png", *many("c", 10))
    after = {item.path: name for name, items in scan(place).splits.items() for item in items}
    moved = [path for path in before if before[path] != after[path]]
    assert all(path.startswith("a/") for path in moved)
    assert len(moved) <= 2


def test_shares_that_leave_nothing_to_train_on_are_refused(place: Path) -> None:
    plant(place, *many("a", 4), *many("b", 4))
    with pytest.raises(ConfigError):
        scan(place, val_share=0.5, test_share=0.5)


# What is in the way


def test_damaged_files_are_named_and_left_out(place: Path) -> None:
    plant(place, *many("a", 6), *many("b", 6))
    plant(place, "a/text.jpg", content=b"not a picture at all")
    plant(place, "a/empty.png", content=b"")
    plant(place, "b/cut.png", content=picture(400, 300)[:-40])
    plant(place, "b/photo.HEIC", content=b"whatever")
    found = scan(place)
    assert found.problems[0].to_json() == {
        "file": "a/empty.png",
        "problem": "The file is empty.",
        "remedy": "Copy or download it again.",
    }
    assert told(found) == {
        "a/empty.png": "empty",
        "a/text.jpg": "not_a_picture",
        "b/cut.png": "truncated",
        "b/photo.HEIC": "format",
    }
    assert sum(len(items) for items in found.splits.values()) == 12


def test_what_the_system_leaves_behind_and_documents_are_passed_over_in_silence(place: Path) -> None:
    plant(place, *many("a", 3), *many("b", 3))
    plant(place, "a/.DS_Store", "a/Thumbs.db", "a/desktop.ini", "a/._1.png", "a/.hidden/2.png", content=b"x")
    plant(place, "__MACOSX/a/1.png", ".git/x.png", "a/README.txt", "labels.csv", "b/train.py", content=b"x")
    found = scan(place)
    assert found.classes == ("a", "b")
    assert not found.problems


def test_without_the_check_no_file_is_opened(place: Path) -> None:
    plant(place, *many("a", 3), *many("b", 3), content=b"nonsense")
    found = scan(place, check=False)
    assert sum(len(items) for items in found.splits.values()) == 6
    assert found.image_sizes is None
    assert not found.problems


def test_classes_that_cannot_be_learnt_are_named(place: Path) -> None:
    plant(place, *many("train/a", 3), *many("train/b", 3), "train/single/1.png", "train/hollow/")
    plant(place, "train/broken/1.png", content=b"x")
    plant(place, *many("val/a", 2), *many("val/stray", 2), "val/b/")
    found = scan(place)
    assert found.classes == ("a", "b", "single")
    assert told(found) == {
        "train/broken/1.png": "not_a_picture",
        "train/broken": "empty_class",
        "train/hollow": "empty_class",
        "train/single": "few",
        "val/b": "not_in_val",
        "val/single": "not_in_val",
        "val/stray": "not_in_train",
    }
    assert all("stray" not in path for path in paths(found, "val"))


def test_pictures_outside_the_class_folders_are_counted_once_a_folder(place: Path) -> None:
    plant(place, "1.png", *many("train/a", 2), *many("train/b", 2), *many("train", 3), "val/a/1.png", "val/b/1.png")
    plant(place, "extra/a/1.png", "annotations/1.xml")
    found = scan(place)
    assert told(found) == {".": "loose", "extra": "beside", "train": "loose"}
    assert [one.problem for one in found.problems if one.file == "train"] == ["Pictures outside any class folder: 3."]


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_links_do_not_lead_out_on_a_shared_server_and_loops_do_no_harm(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_REFUSE_LINKS", "1")
    plant(place, "elsewhere/secret.png", "elsewhere/more/1.png")
    root = plant(place / "set", *many("a", 3), *many("b", 3), "readme.txt")
    (root / "a" / "same.png").symlink_to("0.png")
    (root / "a" / "out.png").symlink_to(place / "elsewhere" / "secret.png")
    (root / "a" / "dots.png").symlink_to("../../elsewhere/secret.png")
    (root / "a" / "nothing.png").symlink_to("nowhere.png")
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "a" / "itself.png").symlink_to("itself.png")
    (root / "b" / "out").symlink_to(place / "elsewhere", target_is_directory=True)
    (root / "c").symlink_to("a", target_is_directory=True)
    found = scan(root)
    assert found.classes == ("a", "b")
    assert told(found) == {
        "a/dots.png": "link_out",
        "a/itself.png": "link_broken",
        "a/loop": "link_folder",
        "a/nothing.png": "link_broken",
        "a/out.png": "link_out",
        "b/out": "link_out",
        "c": "link_folder",
    }
    assert sum(counts[name] for counts in found.count_images().values() for name in SPLITS) == 7


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_links_to_pictures_and_class_folders_elsewhere_are_followed_on_ones_own_machine(place: Path) -> None:
    plant(place / "blobs", "0f", "1f", "2f")
    plant(place / "all", *many("cats", 3), *many("dogs/old", 2))
    (place / "all" / "dogs" / "round").symlink_to(place / "all" / "dogs", target_is_directory=True)
    root = plant(place / "set", *many("owls", 2))
    for name in ("0f", "1f", "2f"):
        (root / "owls" / f"{name}.png").symlink_to(f"../../blobs/{name}")
    for name in ("cats", "dogs"):
        (root / name).symlink_to(place / "all" / name, target_is_directory=True)
    (root / "owls" / "up").symlink_to(place, target_is_directory=True)
    found = scan(root)
    assert {name: sum(counts.values()) for name, counts in found.count_images().items()} == {
        "cats": 3,
        "dogs": 2,
        "owls": 5,
    }
    assert told(found) == {"dogs/round": "link_loop", "owls/up": "link_loop"}
    assert b"".join(found.image_path(item).read_bytes() for item in found.splits["train"])


def test_a_picture_without_the_ending_of_one_is_read_by_its_content(place: Path) -> None:
    plant(place, *many("a", 2), "a/photo", "a/photo.jpg_large", "a/phone.heic", *many("b", 3))
    found = scan(place)
    assert sum(found.count_images()["a"].values()) == 5
    assert not found.problems


def test_files_that_are_not_used_are_counted_in_one_line(place: Path) -> None:
    plant(place, *many("a", 3), *many("b", 3))
    for name in ("a/1.mov", "a/2.mov", "b/3.npy", "b/notes", "a/readme.md", "LICENSE", "b/Makefile"):
        (place / name).write_bytes(b"no picture at all")
    (place / "a" / "raw.cr3").write_bytes(b"\0\0\0\x18ftypcrx ")
    found = scan(place)
    assert told(found) == {".": "other_files", "a/raw.cr3": "format"}
    lines = [one.problem for one in found.problems if one.code == "other_files"]
    assert lines == ["Other files, which are not used: 4 (.mov 2, .npy 1, (no suffix) 1)."]


@pytest.mark.skipif(os.name == "nt", reason="there are none on Windows")
def test_a_pipe_is_not_waited_for(place: Path) -> None:
    plant(place, *many("a", 3), *many("b", 3))
    os.mkfifo(place / "a" / "pipe.png")
    assert told(scan(place)) == {"a/pipe.png": "not_a_picture"}


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname == "Darwin", reason="such names exist on Linux only")
def test_a_name_that_is_no_text_is_named_as_well_as_can_be(place: Path) -> None:
    plant(place, *many("a", 3), *many("b", 3))
    (place / "a" / os.fsdecode(b"caf\xe9.png")).write_bytes(PICTURE)
    found = scan(place)
    assert told(found) == {"a/caf\ufffd.png": "name"}
    json.dumps(found.to_json()).encode()


def test_a_folder_that_may_not_be_read_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(place, *many("a", 3), *many("b", 3), "b/locked/1.png")
    real = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert told(scan(place)) == {"b/locked": "folder_permission"}


# What cannot be used at all


def refused(folder: Path | str) -> DataError:
    with pytest.raises(DataError) as caught:
        scan(folder)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_folder_that_cannot_be_used_is_refused_with_what_to_mend(place: Path) -> None:
    missing = refused(place / "none")
    assert missing.code == "data.missing"
    assert str(place / "none") in str(missing)

    assert refused("\0").code == "data.missing"
    assert refused(plant(place, "file.png") / "file.png").code == "data.not_a_folder"
    assert refused(plant(place / "empty", "a/", "b/readme.txt")).code == "data.no_pictures"
    others = refused(plant(place / "others", "a/1.npy", "b/2.npy", "b/notes.txt", content=b"x"))
    assert others.code == "data.only_other_files"
    assert "3 (.npy 2, .txt 1)" in str(others)

    loose = refused(plant(place / "loose", *many(".", 7)))
    assert loose.code == "data.loose"
    assert "7 pictures" in str(loose)

    one = refused(plant(place / "one", *many("cats", 3), "dogs/"))
    assert one.code == "data.one_class"
    assert "cats" in str(one)
    assert refused(plant(place / "alone", *many("cats", 3))).code == "data.one_class"

    bad = refused(plant(place / "bad", "a/1.jpg", "b/2.jpg", content=b"<html>404"))
    assert bad.code == "data.all_bad"
    assert "a/1.jpg: The content is a web page" in str(bad)
    assert refused(plant(place / "heic", "a/1.heic", "b/2.heic", content=b"x")).code == "data.all_bad"


def test_train_without_classes_and_val_without_theirs_are_refused(place: Path) -> None:
    assert refused(plant(place / "x", "train/", *many("val/a", 2), *many("val/b", 2))).code == "data.no_train"
    error = refused(plant(place / "y", *many("train/a", 2), *many("train/b", 2), "val/c/1.png"))
    assert error.code == "data.no_val"
    assert str(place / "y" / "val") in str(error)


# What is known afterwards


def test_sizes_are_those_of_the_smallest_the_median_and_the_largest(place: Path) -> None:
    plant(place, *many("a", 3), *many("b", 3), content=picture(20, 10))
    plant(place, "a/small.png", content=picture(5, 6))
    plant(place, "b/large.png", content=picture(70, 90))
    found = scan(place)
    assert found.image_sizes == catalog.ImageSizes(smallest=(5, 6), median=(20, 10), largest=(70, 90))


def test_progress_counts_every_file_once_in_the_callers_thread(place: Path) -> None:
    plant(place, *many("a", 300), *many("b", 4))
    heard: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        heard.append((done, total))
        threads.add(threading.current_thread())

    scan(place, workers=3, progress=progress)
    assert heard == [(done, 304) for done in range(1, 305)]
    assert threads == {threading.current_thread()}


def test_a_catalog_survives_its_file(place: Path) -> None:
    plant(place, *many("a", 9), *many("bé", 9))
    plant(place, "a/bad.png", content=b"x")
    found = scan(place)
    stored = json.loads(json.dumps(found.to_json()))
    assert catalog.catalog_from_json(stored) == found
    assert catalog.catalog_from_json(stored).compute_fingerprint() == stored["manifest"] == found.compute_fingerprint()
    assert stored["problems"][0]["remedy"]


def test_the_manifest_tells_when_pictures_or_their_use_have_changed(place: Path) -> None:
    plant(place, *many("a", 9), *many("b", 9))
    first = scan(place, check=False).compute_fingerprint()
    assert first == scan(place, check=True).compute_fingerprint()
    assert first != scan(place, seed=1).compute_fingerprint()
    plant(place, "a/3.png", content=picture(99, 99))
    second = scan(place).compute_fingerprint()
    assert second != first
    (place / "a" / "3.png").rename(place / "a" / "4b.png")
    assert scan(place).compute_fingerprint() not in (first, second)


def test_the_folder_is_never_written_to(place: Path) -> None:
    plant(place, *many("a", 5), *many("b", 5))
    plant(place, "a/bad.png", content=b"x")

    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in place.rglob("*")}

    before = state()
    scan(place)
    assert state() == before


def test_natural_order_puts_numbers_by_value() -> None:
    names = ["b", "A", "a10", "a9", "a", "10", "9", "a09"]
    assert sorted(names, key=listing.natural_key) == ["9", "10", "A", "a", "a09", "a9", "a10", "b"]


# Real photographs


def test_ants_and_bees(shared_data: Path) -> None:
    found = scan(shared_data / "data" / "hymenoptera")
    assert found.layout == "split"
    assert found.count_images() == {
        "ants": {"train": 124, "val": 70, "test": 0},
        "bees": {"train": 121, "val": 83, "test": 0},
    }
    # The placeholder among the ants is a sound GIF that says so in letters: a picture, as far as a decoder can tell.
    assert "train/ants/imageNotFound.gif" in paths(found, "train")
    assert not found.problems
    assert found.image_sizes is not None
    assert found.image_sizes.median == (500, 374)
