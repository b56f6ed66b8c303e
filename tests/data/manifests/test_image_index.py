"""A list whose names are a part of those of the files is read where it is clear which files are meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.manifests.image_index import ImageIndex, NameAffix

NAMES = [f"{split}_{number:05d}" for split in ("train", "test") for number in range(1, 13)]
"""Names of a list, of which every third one has the same label."""


def write_images(root: Path, pattern: str, names: list[str] = NAMES) -> None:
    """Files that are never opened; `pattern` is filled with each name."""
    for name in names:
        file = root / pattern.format(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def write_list(root: Path, row: str = "{name}.jpg {label}", file: str = "list_patition_label.txt") -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    rows = [row.format(name=name, label=index % 3 + 1) for index, name in enumerate(NAMES)]
    (root / file).write_text("\n".join(["id,label", *rows] if file.endswith(".csv") else rows))


def read(source: Path) -> Catalog:
    return scan(source, check=False)


def codes(catalog: Catalog) -> set[str]:
    return {problem.code for problem in catalog.problems}


@pytest.mark.parametrize(
    ("pattern", "row"),
    [
        ("Image/aligned/{}_aligned.jpg", "{name}.jpg {label}"),
        ("aligned/{}_aligned.jpg", "{name} {label}"),
        ("images/IMG-{}.jpg", "{name}.jpg {label}"),
        ("images/raf_{}_224x224.jpg", "{name}.jpg {label}"),
        ("images/{}.png", "{name}.jpg {label}"),
        ("images/{}_Aligned.PNG", "C:\\faces\\{name}.jpg {label}"),
    ],
)
def test_files_with_one_affix_more_than_the_names_of_the_list_are_found(tmp_path: Path, pattern: str, row: str) -> None:
    write_images(tmp_path, pattern)
    write_list(tmp_path, row, "EmoLabel/list_patition_label.txt")
    catalog = read(tmp_path)
    assert catalog.classes == ("1", "2", "3")
    assert sum(map(len, catalog.splits.values())) == len(NAMES)
    assert len(catalog.splits["test"]) == 12, "the names tell the splits"
    note = next(problem for problem in catalog.problems if problem.code == "list_affix")
    file_name = pattern.rpartition("/")[2].format(NAMES[0])
    assert f"{NAMES[0]}{'.jpg' if '.jpg' in row else ''} is {file_name}" in note.problem


def test_ids_of_a_table_are_the_column_of_images_with_an_affix_too(tmp_path: Path) -> None:
    write_images(tmp_path, "images/{}_aligned.jpg")
    write_list(tmp_path, "{name},{label}", "labels.csv")
    assert len(read(tmp_path).classes) == 3


def test_names_as_written_come_before_those_with_an_affix(tmp_path: Path) -> None:
    write_images(tmp_path, "aligned/{}_aligned.jpg")
    write_images(tmp_path, "original/{}.jpg")
    write_list(tmp_path)
    catalog = read(tmp_path)
    assert catalog.classes == ("1", "2", "3"), "the folders hold variants of the same pictures, not classes"
    assert {item.path.split("/")[0] for items in catalog.splits.values() for item in items} == {"original"}
    assert "list_affix" not in codes(catalog)


def test_folders_of_variants_are_classes_without_a_list_or_with_unlike_numbers_of_pictures(tmp_path: Path) -> None:
    write_images(tmp_path, "aligned/{}.jpg")
    write_images(tmp_path, "original/{}.jpg", NAMES[1:])
    assert read(tmp_path).classes == ("aligned", "original")
    write_list(tmp_path)
    assert read(tmp_path).classes == ("aligned", "original")


def test_a_list_whose_names_fit_several_kinds_of_files_is_refused_with_both(tmp_path: Path) -> None:
    write_images(tmp_path, "images/{}_aligned.jpg")
    write_images(tmp_path, "images/{}_gray.jpg")
    write_list(tmp_path)
    for source in (tmp_path, tmp_path / "list_patition_label.txt"):
        with pytest.raises(DataError) as refusal:
            read(source)
        for part in ("train_00001_aligned.jpg", "train_00001_gray.jpg", "Move away"):
            assert part in str(refusal.value)
        assert len(str(refusal.value).splitlines()) == 1


def test_masks_are_not_mistaken_for_the_pictures_of_a_list(tmp_path: Path) -> None:
    write_images(tmp_path, "images/{}_mask.jpg")
    write_list(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path)


def test_a_part_of_the_pictures_is_enough_and_the_others_are_named(tmp_path: Path) -> None:
    write_images(tmp_path, "images/{}_aligned.jpg", NAMES[:4] + NAMES[12:14])
    write_list(tmp_path)
    catalog = read(tmp_path)
    assert sum(map(len, catalog.splits.values())) == 6
    assert len([problem for problem in catalog.problems if problem.code == "missing"]) == len(NAMES) - 6


@pytest.mark.parametrize(
    ("images", "names", "affixes"),
    [
        (["a_1.jpg", "b_1.jpg"], ["a", "b"], [NameAffix("", "_1")]),
        (["a_1.jpg", "b_1.jpg", "a_2.jpg", "b_2.jpg"], ["a", "b"], [NameAffix("", "_1"), NameAffix("", "_2")]),
        (["10.jpg", "20.jpg"], ["1", "2"], []),
        (["cats.jpg", "dogs.jpg"], ["cat", "dog"], []),
        (["a_x.jpg", "b_y.jpg", "c_z.jpg"], ["a", "b", "c"], []),
        (["a_x.jpg"], ["a"], []),
        ([], ["a", "b"], []),
    ],
)
def test_an_affix_begins_at_a_whole_word_or_number_and_is_that_of_most_names(
    tmp_path: Path, images: list[str], names: list[str], affixes: list[NameAffix]
) -> None:
    write_images(tmp_path, "{}", images)
    found = ImageIndex(tmp_path.resolve()).find_affixes(names)
    assert sorted(found, key=str) == affixes
