"""Where the images of a data set lie in a repository, and what its card says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from ftlab.core.errors import DataError
from ftlab.data.dataset.scan import scan
from ftlab.export.hub import data_files
from tests.support.image_folders import CLASSES, make_folders, save_image


def test_splits_of_the_folder_are_splits_on_the_hub(tmp_path: Path) -> None:
    root = make_folders(tmp_path, *(f"{split}/{name}" for split in ("train", "val", "test") for name in CLASSES))
    files = data_files.list_data_files(scan(root))
    assert files.has_split_folders
    assert {path.rpartition("/")[0] for path in files.paths} == {
        f"{split}/{name}" for split in ("train", "validation", "test") for name in CLASSES
    }
    assert files.image_counts == {name: {"train": 2, "validation": 2, "test": 2} for name in CLASSES}
    assert all(path.is_file() for path in files.paths.values())
    assert files.total_bytes == sum(path.stat().st_size for path in files.paths.values())


def test_random_splits_are_none(tmp_path: Path) -> None:
    files = data_files.list_data_files(scan(make_folders(tmp_path, *CLASSES, count=9)))
    assert not files.has_split_folders
    assert set(files.paths) == {f"{name}/{number}.jpg" for name in CLASSES for number in range(9)}
    assert files.image_counts == {name: {"train": 9} for name in CLASSES}


def test_only_the_splits_of_the_folder_itself_are_kept(tmp_path: Path) -> None:
    root = make_folders(tmp_path, *(f"{split}/{name}" for split in ("train", "test") for name in CLASSES), count=8)
    files = data_files.list_data_files(scan(root))
    assert files.image_counts == {name: {"train": 8, "test": 8} for name in CLASSES}


def test_images_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    root = make_folders(tmp_path, "amber/one", "amber/two", "blue", count=1)
    (root / "list.csv").write_text("image,label\namber/one/0.jpg,amber\namber/two/0.jpg,amber\nblue/0.jpg,blue\n")
    files = data_files.list_data_files(scan(root / "list.csv"))
    assert {path: file.relative_to(root).as_posix() for path, file in files.paths.items()} == {
        "amber/0.jpg": "amber/one/0.jpg",
        "amber/0-2.jpg": "amber/two/0.jpg",
        "blue/0.jpg": "blue/0.jpg",
    }


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "what?", 'x"'])
def test_a_class_that_is_no_folder_everywhere_is_told(tmp_path: Path, name: str) -> None:
    root = make_folders(tmp_path, "images")
    rows = ["image,label", f'images/0.jpg,"{name.replace(chr(34), chr(34) * 2)}"', "images/1.jpg,blue"]
    (root / "list.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        data_files.list_data_files(scan(root / "list.csv"))


def test_the_card_has_counts_splits_and_no_license(tmp_path: Path) -> None:
    root = make_folders(tmp_path, *(f"{split}/{name}" for split in ("train", "val") for name in CLASSES))
    card = data_files.build_data_card(data_files.list_data_files(scan(root)), "two_colors", "me/colors")
    _, front_matter, text = card.split("---\n", 2)
    values = yaml.safe_load(front_matter)
    assert values["task_categories"] == ["image-classification"]
    assert values["size_categories"] == "n<1K"
    assert "license" not in values
    assert values["configs"][0]["data_files"] == [
        {"split": "train", "path": "train/*/*"},
        {"split": "validation", "path": "validation/*/*"},
    ]
    assert "# two\\_colors" in text
    assert "| class | train | validation |\n|---|---|---|\n| amber | 2 | 2 |\n| blue | 2 | 2 |" in text
    assert 'load_dataset("me/colors")' in text
    assert "No license is stated" in text


def test_images_that_say_where_they_were_taken_are_found(tmp_path: Path) -> None:
    there, elsewhere = save_image(tmp_path / "there.jpg", has_position=True), save_image(tmp_path / "elsewhere.jpg")
    assert data_files.find_located_images([elsewhere, there]) == [there]
