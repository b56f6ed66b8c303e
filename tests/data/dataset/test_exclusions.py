"""Pictures that are left out: the list, what is then left, and what a training writes down of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.cli import main
from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.dataset import catalog, exclusions, scan
from ftlab.runs import run_store

OUT = ("amber/amber_1.jpg", "blue/blue_2.jpg")


def paths(found: catalog.Catalog) -> set[str]:
    return {item.path for items in found.splits.values() for item in items}


def split_folder(flat: Path) -> Path:
    """The same pictures with `train/` and `val/`: the last two of each class in `val/`."""
    for folder in [one for one in flat.iterdir() if one.is_dir()]:
        for index, picture in enumerate(sorted(folder.iterdir())):
            target = flat / ("val" if index > 5 else "train") / folder.name / picture.name
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.rename(target)
        folder.rmdir()
    return flat


def test_a_scan_leaves_out_what_it_is_told_and_says_so(tiny_folder: Path) -> None:
    every, found = scan.scan(tiny_folder), scan.scan(tiny_folder, exclude=OUT)
    assert paths(every) - paths(found) == set(OUT)
    assert found.excluded_paths == OUT
    assert found.compute_fingerprint() != every.compute_fingerprint()
    assert found.total_bytes < every.total_bytes


def test_the_command_leaves_out_what_a_list_names(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.txt").write_text("\n".join(OUT), encoding="utf-8")
    assert main.main(["scan", str(tiny_folder), "--exclude", str(tmp_path / "out.txt"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["excluded"] == list(OUT)
    assert sum(told["splits"].values()) == 22


def test_what_was_left_out_stands_in_split_json(tiny_folder: Path) -> None:
    found = scan.scan(tiny_folder, exclude=OUT)
    stored = json.loads(json.dumps(found.to_json()))
    assert stored["excluded"] == list(OUT)
    assert catalog.catalog_from_json(stored) == found
    del stored["excluded"]  # as runs of older versions have it
    assert catalog.catalog_from_json(stored).excluded_paths == ()


def test_a_path_that_is_not_there_is_named(tiny_folder: Path) -> None:
    found = scan.scan(tiny_folder, exclude=["amber/amber_1.jpg", "amber/nobody.jpg"])
    assert found.excluded_paths == ("amber/amber_1.jpg",)
    assert [(one.file, one.code) for one in found.problems] == [("amber/nobody.jpg", "exclude_gone")]


@pytest.mark.parametrize("layout", ["flat", "split"])
@pytest.mark.parametrize("whole_class", [False, True])
def test_leaving_out_later_gives_what_a_new_scan_gives(tiny_folder: Path, layout: str, *, whole_class: bool) -> None:
    if layout == "split":
        split_folder(tiny_folder)
    every = scan.scan(tiny_folder, val_share=0.3, test_share=0.2, seed=3)
    out = [one for one in sorted(paths(every)) if "blue" in one][: 99 if whole_class else 2]
    scanned = scan.scan(tiny_folder, val_share=0.3, test_share=0.2, seed=3, exclude=out)
    later = scan.resplit(exclusions.exclude_images(every, out), val_share=0.3, test_share=0.2, seed=3)
    assert later.classes == scanned.classes == (("amber", "green") if whole_class else ("amber", "blue", "green"))
    assert later.splits == scanned.splits
    assert (later.total_bytes, later.excluded_paths, later.compute_fingerprint()) == (
        scanned.total_bytes,
        scanned.excluded_paths,
        scanned.compute_fingerprint(),
    )


def test_two_classes_must_be_left(tiny_folder: Path) -> None:
    every = scan.scan(tiny_folder)
    out = [one for one in paths(every) if not one.startswith("amber")]
    with pytest.raises(DataError, match="fewer than two classes"):
        exclusions.exclude_images(every, out)


def test_a_list_has_a_path_a_line(tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    file.write_bytes("\ufeffants/a b.jpg\r\n\n\nbees/ü.jpg\nants/a b.jpg\n".encode())
    assert exclusions.read_exclusions(file) == ("ants/a b.jpg", "bees/ü.jpg")
    assert exclusions.read_exclusions("") == ()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "out.txt"
    if content:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"out\.txt"):
        exclusions.read_exclusions(file)


def test_a_list_that_is_kept_never_changes() -> None:
    one, other = exclusions.save_exclusions(["b.jpg", "a.jpg"]), exclusions.save_exclusions(["a.jpg"])
    assert one == exclusions.save_exclusions(["a.jpg", "b.jpg", "a.jpg"])
    assert one != other
    kept = [exclusions.find_exclusion_list(name) for name in (one, other)]
    assert [exclusions.read_exclusions(file) for file in kept if file] == [("a.jpg", "b.jpg"), ("a.jpg",)]
    assert exclusions.save_exclusions([]) == ""


@pytest.mark.parametrize("name", ["", "../x", "0" * 31, "0" * 32, "A" * 32])
def test_no_other_file_is_found_by_the_name_of_a_list(name: str) -> None:
    (user_dirs.get_ftlab_home() / "exclusions").mkdir(parents=True)
    (user_dirs.get_ftlab_home() / "x.txt").touch()
    assert exclusions.find_exclusion_list(name) is None


@pytest.mark.usefixtures("one_thread")
def test_a_training_leaves_out_what_the_list_names_and_a_resume_does_not_need_the_list(
    tiny_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.txt"
    file.write_text("\n".join(OUT), encoding="utf-8")
    said = ["train", "--data", str(tiny_folder), "--exclude", str(file), "--epochs", "1", "--runs", str(tmp_path)]
    assert main.main(said) == 0
    run = run_store.find_run(tmp_path, "latest")
    assert run.load_config().exclude == str(file)
    split = run.read_json("split.json")
    assert split["excluded"] == list(OUT)
    listed = {path for classes in split["splits"].values() for files in classes.values() for path in files}
    assert len(listed) == 22
    assert not listed & set(OUT)


def test_no_run_is_made_for_a_list_that_is_not_there(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["train", "--data", str(tiny_folder), "--exclude", str(tmp_path / "no.txt"), "--runs", str(tmp_path / "r")]
    assert main.main(said) == 2
    assert "no.txt" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
